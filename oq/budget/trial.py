"""One trial of a search, and how trials are compared."""

from collections.abc import Iterable
from dataclasses import dataclass

SLACK = 1e-9
"""Points: tolerance for rounding in differences of percentages."""


@dataclass(frozen=True, slots=True)
class Trial:
    """The layers ``keep`` in float, all others quantized, and the measurements.

    ``drop``: points lost.  ``int8_share``: percentage of the multiply-accumulates that run in
    integers. ``sqnr_db``, ``agreement``: of the outputs on held-out calibration samples, in the
    literal mode (None: not measured).  ``refined``: the refinement steps that were kept.
    ``seconds``: wall time.
    """

    keep: tuple[str, ...]
    drop: float
    int8_share: float
    sqnr_db: float | None = None
    agreement: float | None = None
    refined: tuple[str, ...] = ()
    seconds: float = 0.0

    def meets(self, max_drop: float) -> bool:
        """Whether the drop is at most ``max_drop``."""
        return self.drop <= max_drop + SLACK


def best_trial(trials: Iterable[Trial], max_drop: float) -> Trial:
    """The trial with most int8 among those that meet the budget; if none does, the one with the
    least drop.  The first of equals."""

    def standing(trial: Trial) -> tuple[bool, float, float, int]:
        met, few = trial.meets(max_drop), -len(trial.keep)
        if met:
            return met, trial.int8_share, -trial.drop, few
        return met, -trial.drop, trial.int8_share, few

    return max(trials, key=standing)
