"""One configuration that was tried, and which of two is better."""

from collections.abc import Iterable
from dataclasses import dataclass

SLACK = 1e-9
"""Points: differences of percentages are not exact in floating point."""


@dataclass(frozen=True, slots=True)
class Trial:
    """The layers ``keep`` in float, all others quantized, and what came of it.

    ``drop``: what is lost, in points.  ``int8_share``: percent of the multiply-accumulates that run
    in integers.  ``sqnr_db``, ``agreement``: of the outputs on held-back calibration samples, as
    the ONNX specification reads (None: no such figure).  ``refined``: the steps of refinement that
    helped.  ``seconds``: what it took to try.
    """

    keep: tuple[str, ...]
    drop: float
    int8_share: float
    sqnr_db: float | None = None
    agreement: float | None = None
    refined: tuple[str, ...] = ()
    seconds: float = 0.0

    def meets(self, max_drop: float) -> bool:
        """Whether no more than ``max_drop`` points are lost."""
        return self.drop <= max_drop + SLACK


def best_trial(trials: Iterable[Trial], max_drop: float) -> Trial:
    """Of those that meet the budget the one with most int8; where none does, the least drop.  The
    first of equals."""

    def standing(trial: Trial) -> tuple[bool, float, float, int]:
        met, few = trial.meets(max_drop), -len(trial.keep)
        if met:
            return met, trial.int8_share, -trial.drop, few
        return met, -trial.drop, trial.int8_share, few

    return max(trials, key=standing)
