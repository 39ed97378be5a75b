"""What a refinement step is: a pure function from a subject to constants that replace its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from oq.grid import Grid
from oq.refine.subject import Subject
from oq.spec import Array, Range, SiteKey


@dataclass(frozen=True, slots=True)
class Change:
    """New values for constants of the float model, by name, and a remark for the report.

    ``grids`` are those of biases that may have outgrown theirs.  Of an early step: ``ranges`` are
    those it knows better than any calibrator, ``sized`` the tensors whose channels it has settled,
    ``moved`` those whose values are others now (None: any may be).
    """

    constants: Mapping[str, Array]
    note: str = ""
    grids: Mapping[SiteKey, Grid] = field(default_factory=dict)
    ranges: Mapping[str, Range] = field(default_factory=dict)
    sized: frozenset[str] = frozenset()
    moved: frozenset[str] | None = None


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
