"""``[-m, m]`` with ``m = max |x|``: symmetric, nothing is clipped."""

from dataclasses import dataclass
from typing import ClassVar

from oq.numerics.calibrator import ErrorGains, covering
from oq.numerics.statistics import Need, Statistics
from oq.numerics.values import QType, Range


@dataclass(frozen=True, slots=True)
class Max:
    """The largest magnitude, on both sides (TensorRT's "max").

    >>> from oq.numerics.values import INT8
    >>> found = Max().range(Statistics(count=3, nonfinite=0, lo=-1.0, hi=2.0), INT8)
    >>> float(found.lo), float(found.hi)
    (-2.0, 2.0)
    """

    needs: ClassVar[frozenset[Need]] = frozenset()

    def range(
        self, statistics: Statistics, qtype: QType, readers: ErrorGains | None = None
    ) -> Range:
        """``hi = max(|min x|, |max x|)``, ``lo = -hi``."""
        seen = covering(statistics.lo, statistics.hi)
        reach = max(-float(seen.lo), float(seen.hi))
        return covering(-reach, reach)


CALIBRATOR = Max
