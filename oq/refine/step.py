"""The type of refinement steps: a pure function from a subject to replaced constants."""

from collections.abc import Callable
from dataclasses import dataclass

from oq.model.view import GraphView
from oq.planning.spec import Plan
from oq.refine.subject import Change, Subject


@dataclass(frozen=True, slots=True)
class Step:
    """A row of the table of steps.

    An ``early`` step does not change the float function and comes before calibration: ranges are
    measured again after it.  Late steps use the grids.  ``calibrator`` is used by an early step in
    place of the run's.  ``instead`` names steps whose work this one includes.  ``fewest`` is the
    minimum number of calibration samples.  ``may_move``: whether an early step without a calibrator
    can change values of tensors in a model, as far as its graph and plan tell.
    """

    summary: str
    apply: Callable[[Subject], Change]
    early: bool = False
    calibrator: str | None = None
    instead: tuple[str, ...] = ()
    fewest: int = 0
    may_move: Callable[[GraphView, Plan], bool] = lambda _view, _plan: True
