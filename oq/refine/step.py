"""What a refinement step is: a pure function from a subject to constants that replace its own."""

from collections.abc import Callable
from dataclasses import dataclass

from oq.refine.subject import Change, Subject


@dataclass(frozen=True, slots=True)
class Step:
    """A row of the table of steps.

    An ``early`` step leaves the float function as it is and comes before calibration: ranges are
    measured anew behind it.  The others are given the grids.  ``calibrator`` is one that an early
    step measures with instead of the run's.  ``instead`` names steps whose work this one does too.
    ``fewest`` is how many calibration samples it takes to learn from them.
    """

    summary: str
    apply: Callable[[Subject], Change]
    early: bool = False
    calibrator: str | None = None
    instead: tuple[str, ...] = ()
    fewest: int = 0
