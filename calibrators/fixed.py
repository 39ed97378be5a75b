"""``[lo, hi]`` as given: for tensors whose range is known, such as pixels in [0, 1]."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from oq.numerics.calibrator import ErrorGains, covering
from oq.numerics.statistics import Need, Statistics
from oq.numerics.values import QType, Range


@dataclass(frozen=True, slots=True)
class FixedRange:
    """A known range, independent of data: [0, 1] gives uint8 the scale 1/255.

    ``lo <= 0 <= hi`` as real values.  Softmax and Sigmoid outputs lie in [0, 1], Tanh in [-1, 1].
    """

    lo: float = 0.0
    hi: float = 1.0
    needs: ClassVar[frozenset[Need]] = frozenset()

    def __post_init__(self) -> None:
        if not -inf < self.lo <= 0 <= self.hi < inf or self.lo == self.hi:
            raise ValueError(f"range {self.lo}..{self.hi} must be finite, hold 0 and more than 0")

    def range(
        self, statistics: Statistics, qtype: QType, readers: ErrorGains | None = None
    ) -> Range:
        """``[lo, hi]``."""
        return covering(self.lo, self.hi)


CALIBRATOR = FixedRange
