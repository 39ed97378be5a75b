"""``[min x, max x]`` over all values: nothing is clipped; outliers increase the scale."""

from dataclasses import dataclass
from typing import ClassVar

from oq.numerics.calibrator import ErrorGains, covering
from oq.numerics.statistics import Need, Statistics
from oq.numerics.values import QType, Range


@dataclass(frozen=True, slots=True)
class MinMax:
    """Minimum and maximum: exact, nothing clipped (Jacob et al. 2018).

    >>> from oq.numerics.values import UINT8
    >>> seen = Statistics(count=3, nonfinite=0, lo=-1.0, hi=2.0)
    >>> found = MinMax().range(seen, UINT8)
    >>> float(found.lo), float(found.hi)
    (-1.0, 2.0)
    """

    needs: ClassVar[frozenset[Need]] = frozenset()

    def range(
        self, statistics: Statistics, qtype: QType, readers: ErrorGains | None = None
    ) -> Range:
        """``lo = min(min x, 0)``, ``hi = max(max x, 0)``."""
        return covering(statistics.lo, statistics.hi)


CALIBRATOR = MinMax
