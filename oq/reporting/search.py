"""The result of a search within an accuracy budget (``--max-drop``), for the report."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Searched:
    """The file that was written, compared with ``max_drop`` and with everything in int8
    (``plain``).

    ``judged``: how the drop is measured, and on which samples.  ``kept``: the layers kept in float.
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


def describe_drop(points: float) -> str:
    """``1.00 points lost``, or ``0.25 points gained`` for a negative drop."""
    return f"{abs(points):.2f} points {'lost' if points >= 0 else 'gained'}"
