"""The result of a search within an accuracy budget (``--max-drop``), for the report."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Searched:
    """The file that was written, compared with ``max_drop`` and with everything in int8
    (``plain``).

    ``metric``: what the drop is of, "top-1" or "agreement with float" in points.
    ``judged``: how it is measured, and on which samples.  ``kept``: the layers kept in float.
    Shares are percent of multiply-accumulates in integers.  ``tried``: configurations evaluated,
    including those of earlier runs (``resumed``).  ``stopped``: why the search ended early, or "".
    """

    max_drop: float
    met: bool
    judged: str
    drop: float
    plain_drop: float
    kept: tuple[str, ...]
    int8_share: float
    plain_share: float
    tried: int
    resumed: int
    stopped: str
    journal: str
    metric: str = "top-1"
