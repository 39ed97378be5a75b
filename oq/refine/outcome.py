"""What became of a step, for the report."""

from dataclasses import dataclass
from math import isnan


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a step: whether it was kept, the output SQNR without and with it in dB."""

    step: str
    kept: bool
    before_db: float
    after_db: float
    seconds: float
    note: str = ""

    @property
    def verdict(self) -> str:
        """``kept``, ``dropped`` or ``not tried``."""
        return "not tried" if isnan(self.after_db) else "kept" if self.kept else "dropped"
