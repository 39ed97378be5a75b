"""``m <- m + c (batch extreme - m)``: a single unusual batch changes the range only a little."""

from dataclasses import dataclass
from typing import ClassVar

from oq.numerics.calibrator import ErrorGains, covering
from oq.numerics.statistics import Need, Statistics
from oq.numerics.values import QType, Range


@dataclass(frozen=True, slots=True)
class MovingAverage:
    """Exponential moving average of the extremes of each batch, in order.

    The first batch initializes it (PyTorch's MovingAverageMinMaxObserver; Jacob et al. 2018,
    section 3.1).  ``averaging_constant`` c is the weight of a new batch, in (0, 1].
    """

    averaging_constant: float = 0.01
    needs: ClassVar[frozenset[Need]] = frozenset({Need.BATCHES})

    def __post_init__(self) -> None:
        if not 0 < self.averaging_constant <= 1:
            raise ValueError(f"averaging_constant is {self.averaging_constant}, not in (0, 1]")

    def range(
        self, statistics: Statistics, qtype: QType, readers: ErrorGains | None = None
    ) -> Range:
        """The averages of both extremes after the last batch."""
        if statistics.batches is None:
            return covering(statistics.lo, statistics.hi)
        _, lo, hi = (float(v) for v in statistics.batches[0])
        for _, low, high in statistics.batches[1:]:
            lo += self.averaging_constant * (float(low) - lo)
            hi += self.averaging_constant * (float(high) - hi)
        return covering(lo, hi)


CALIBRATOR = MovingAverage
