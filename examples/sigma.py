"""A custom calibrator: mean +- k standard deviations, but never beyond the extremes.

    oq --plugin sigma.py quantize model.onnx --target trt --data calib.npz \
        --calibrator sigma --set k=6
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from oq.plugin import ErrorGains, Need, QType, Range, Statistics, covering, to_histogram


@dataclass(frozen=True, slots=True)
class Sigma:
    """The mean and ``k`` standard deviations on both sides.

    The fields are the settings of ``--set``.  ``needs`` are the statistics it needs beyond counts
    and extremes: here a histogram.
    """

    k: float = 4.0
    needs: ClassVar[frozenset[Need]] = frozenset({Need.HISTOGRAM})

    def __post_init__(self) -> None:
        if self.k <= 0:
            raise ValueError(f"k is {self.k}, not above 0")

    def range(
        self, statistics: Statistics, qtype: QType, readers: ErrorGains | None = None
    ) -> Range:
        """``[max(lo, mean - k std), min(hi, mean + k std)]`` over the histogram's buckets."""
        if statistics.count == 0:
            return covering(0.0, 0.0)
        values = to_histogram(statistics)
        middle = (values.low + values.high) / 2
        mean = float(np.average(middle, weights=values.counts))
        deviation = float(np.sqrt(np.average((middle - mean) ** 2, weights=values.counts)))
        low = max(float(statistics.lo), mean - self.k * deviation)
        high = min(float(statistics.hi), mean + self.k * deviation)
        return covering(low, high)


CALIBRATOR = Sigma
