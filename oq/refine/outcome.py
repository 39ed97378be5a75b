"""The result of a refinement step, for the report."""

from dataclasses import dataclass
from math import isnan

from oq.wording import db


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

    def __str__(self) -> str:
        """``bias: kept, output SQNR 35.1 -> 35.6 dB in 0.1 s``, and its note."""
        if isnan(self.after_db):
            return f"{self.step}: {self.verdict}, {self.note}"
        gain = f"{db(self.before_db)} -> {db(self.after_db)} dB in {self.seconds:.1f} s"
        note = f"; {self.note}" if self.note else ""
        return f"{self.step}: {self.verdict}, {self.measure} {gain}{note}"

    @property
    def verdict(self) -> str:
        """``kept``, ``dropped`` or ``not tried``."""
        return "not tried" if isnan(self.after_db) else "kept" if self.kept else "dropped"
