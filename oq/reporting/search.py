"""What a search found, for the report."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Searched:
    """The file that was written against ``max_drop``, and against everything in int8 (``plain``).

    ``judged``: what a drop is, and on which samples.  ``kept``: the layers kept in float.  Shares
    are percent of the multiply-accumulates in integers.  ``tried``: configurations evaluated, with
    those of earlier runs (``resumed``).  ``stopped``: why the search ended early, or nothing.
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
