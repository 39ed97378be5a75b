"""The range with the least squared quantization error."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from oq.numerics.calibrator import ErrorGains, covering
from oq.numerics.grid import fit
from oq.numerics.histogram import merge_small_buckets, quantization_error, to_histogram
from oq.numerics.statistics import Need, Statistics
from oq.numerics.values import QType, Range


@dataclass(frozen=True, slots=True)
class Mse:
    """The least squared quantization error, for the target's data type and scales.

    ``argmin E[(x - quantized(x))^2]`` on the tensor's histogram.

    Shrinks both ends of the full range together, by factors from 1 to ``smallest`` in ``steps``
    steps and once more, finer, around the best; for affine quantization of values on both sides of
    zero, each end is then varied alone.  The error is integrated exactly (oq.numerics.histogram),
    for the scale that the target really uses.  (Sung et al. 2015, arXiv:1511.06488; Banner et al.
    2019, "ACIQ".)
    """

    steps: int = 16
    smallest: float = 0.1
    needs: ClassVar[frozenset[Need]] = frozenset({Need.HISTOGRAM})

    def __post_init__(self) -> None:
        if self.steps < 2 or not 0 < self.smallest < 1:
            raise ValueError("steps must be 2 or more and smallest in (0, 1)")

    def range(
        self, statistics: Statistics, qtype: QType, readers: ErrorGains | None = None
    ) -> Range:
        """The candidate with the least error; the widest of equals."""
        full = covering(statistics.lo, statistics.hi)
        low, high = float(full.lo), float(full.hi)
        if low == high or not qtype.uniform:  # a relative error gains nothing from clipping
            return full
        reach = max(-low, high)
        values = merge_small_buckets(to_histogram(statistics), reach * FINEST)

        known: dict[tuple[float, int], float] = {}  # powers of two are few

        def error(lo: float, hi: float) -> float:
            grid = fit(covering(lo, hi), qtype)
            name = float(grid.scale), int(grid.zero_point)
            if name not in known:
                known[name] = quantization_error(values, grid).square
            return known[name]

        if qtype.symmetric:
            best = self._search(lambda s: error(-s * reach, s * reach)) * reach
            return covering(max(-best, low), min(best, high))
        share = self._search(lambda s: error(s * low, s * high))
        lo, hi = share * low, share * high
        if lo < 0 < hi:
            lo = low * self._search(lambda s: error(s * low, hi))
            hi = high * self._search(lambda s: error(lo, s * high))
        return covering(lo, hi)

    def _search(self, error: Callable[[float], float]) -> float:
        """The share of the full range with the least error."""
        coarse = np.linspace(1.0, self.smallest, self.steps)
        best = float(min(coarse, key=error))
        step = float(coarse[0] - coarse[1])
        fine = np.linspace(min(best + step, 1.0), max(best - step, self.smallest), self.steps)
        return float(min((best, *fine), key=error))


FINEST = 2.0**-12
"""Buckets below this fraction of the range are merged: 1/16 of its 8-bit step or less."""


CALIBRATOR = Mse
