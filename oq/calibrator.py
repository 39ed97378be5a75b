"""What a calibrator is: a pure function from Statistics to a Range, with its settings as fields."""

from typing import Protocol

import numpy as np

from oq.spec import QType, Range
from oq.statistics import Statistics


class Calibrator(Protocol):
    """A frozen dataclass in ``calibrators/<name>.py``, exported there as ``CALIBRATOR``.

    Its fields are its settings (``--set name=value``), checked in ``__post_init__``.  The first
    line of its docstring is its line in ``oq calibrators``.
    """

    def range(self, statistics: Statistics, qtype: QType) -> Range:
        """The real values that a grid of ``qtype`` should cover.

        Law: equal statistics give an equal range; nothing else is looked at.
        """
        ...


def covering(lo: float, hi: float) -> Range:
    """The range ``[min(lo, 0), max(hi, 0)]``; that of no values (inf, -inf) is ``[0, 0]``."""
    low = min(lo, 0.0) if np.isfinite(lo) else 0.0
    high = max(hi, 0.0) if np.isfinite(hi) else 0.0
    return Range(np.asarray(low), np.asarray(high))
