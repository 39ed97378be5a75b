"""The result of a refinement step, for the report."""

from dataclasses import dataclass
from math import isnan


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a step: whether it was kept, and the SQNR before and after in dB (NaN if it was
    not tried); ``measure``: of what it is (:attr:`~oq.refine.judge.Judge.measure`)."""

    step: str
    kept: bool
    before_db: float
    after_db: float
    seconds: float
    note: str = ""
    measure: str = "output SQNR"

    @property
    def verdict(self) -> str:
        """``kept``, ``dropped`` or ``not tried``."""
        return "not tried" if isnan(self.after_db) else "kept" if self.kept else "dropped"
