"""The range that contains ``percentile`` percent of the values: outliers are clipped."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from oq.numerics.calibrator import ErrorGains, covering
from oq.numerics.histogram import Histogram, magnitudes, to_histogram
from oq.numerics.statistics import Need, Statistics
from oq.numerics.values import QType, Range


@dataclass(frozen=True, slots=True)
class Percentile:
    """The range that contains 99.99 percent of the values; tails are clipped.

    (McKinstry et al. 2018; Wu et al. 2020, arXiv:2004.09602, section 5.)

    Symmetric: contains ``percentile`` percent of the magnitudes |x|.  Affine: half of the remaining
    values are clipped on each side; ``lower`` and ``upper`` set the percentage of values kept for
    each side separately.  All in percent, in (50, 100]; 100 clips nothing.
    """

    percentile: float = 99.99
    lower: float | None = None
    upper: float | None = None
    needs: ClassVar[frozenset[Need]] = frozenset({Need.HISTOGRAM})

    def __post_init__(self) -> None:
        for name in ("percentile", "lower", "upper"):
            value = getattr(self, name)
            if value is not None and not 50 < value <= 100:
                raise ValueError(f"{name} is {value}, not in percent in (50, 100]")

    def range(
        self, statistics: Statistics, qtype: QType, readers: ErrorGains | None = None
    ) -> Range:
        """The quantiles, interpolated within a histogram bucket."""
        if statistics.count == 0:
            return covering(0.0, 0.0)
        values = to_histogram(statistics)
        if qtype.symmetric and self.lower is None and self.upper is None:
            reach = quantile(magnitudes(values), self.percentile)
            return covering(max(-reach, statistics.lo), min(reach, statistics.hi))
        side = 50 + self.percentile / 2
        lower = side if self.lower is None else self.lower
        upper = side if self.upper is None else self.upper
        return covering(quantile(values, 100 - lower), quantile(values, upper))


def quantile(values: Histogram, percent: float) -> float:
    """The real value below which ``percent`` percent of ``values`` lie."""
    wanted = values.counts.sum() * percent / 100
    below = np.cumsum(values.counts)
    i = min(int(np.searchsorted(below, wanted)), len(below) - 1)
    inside = (wanted - (below[i] - values.counts[i])) / values.counts[i]
    return float(values.low[i] + np.clip(inside, 0, 1) * (values.high[i] - values.low[i]))


CALIBRATOR = Percentile
