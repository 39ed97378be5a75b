"""A histogram as (low, high, count) of its occupied buckets, and errors computed on it.

Values are taken as spread evenly over their bucket.  Buckets are cut to the exact extremes, so a
pile of equal values at an end (the 6 of a ReLU6) is a bucket of no width, and exact.
"""

from dataclasses import dataclass

import numpy as np

from oq.grid import Grid
from oq.spec import Array
from oq.statistics import Statistics, bucket_edges, sorted_histogram


@dataclass(frozen=True, slots=True)
class Tally:
    """Occupied buckets in ascending order; ``low``, ``high`` (bucket,) in real units, ``counts``
    (bucket,)."""

    low: Array
    high: Array
    counts: Array


def tally(statistics: Statistics) -> Tally:
    """The occupied buckets of a histogram.

    Raises:
        ValueError: the statistics hold no histogram.
    """
    counts = sorted_histogram(statistics)
    low, high = bucket_edges()
    occupied = np.flatnonzero(counts)
    return Tally(
        np.clip(low[occupied], statistics.lo, statistics.hi),
        np.clip(high[occupied], statistics.lo, statistics.hi),
        counts[occupied].astype(np.float64),
    )


def coarsen(values: Tally, finest: float) -> Tally:
    """``values`` with all buckets inside ``(-finest, finest)`` joined into one per sign.

    The histogram has as many buckets per octave near zero as far from it; a search for a grid needs
    none of those much narrower than its steps.
    """
    tiny = (values.low > -finest) & (values.high < finest)
    signs = [tiny & (values.high <= 0), tiny & (values.high > 0)]
    kept = ~tiny
    joined = [
        (values.low[s].min(), values.high[s].max(), values.counts[s].sum())
        for s in signs
        if s.any()
    ]
    low, high, counts = (np.array([row[i] for row in joined]) for i in range(3))
    return Tally(
        np.concatenate([values.low[kept], low]),
        np.concatenate([values.high[kept], high]),
        np.concatenate([values.counts[kept], counts]),
    )


def magnitudes(values: Tally) -> Tally:
    """The tally of |x|: negative buckets folded onto the positive side."""
    flip = values.high <= 0
    low = np.where(flip, -values.high, np.maximum(values.low, 0.0))
    high = np.where(flip, -values.low, values.high)
    order = np.argsort(low, kind="stable")
    return Tally(low[order], high[order], values.counts[order])


@dataclass(frozen=True, slots=True)
class ErrorMoments:
    """Mean of ``x - quantized(x)`` and of its square, in real units."""

    mean: float
    square: float

    @property
    def variance(self) -> float:
        """``E[e^2] - E[e]^2``, never below 0."""
        return max(self.square - self.mean**2, 0.0)


def quantization_error(values: Tally, grid: Grid) -> ErrorMoments:
    """The error that ``grid`` (per tensor) makes on ``values``, integrated over every bucket.

    With u = x / scale and r = u - rint(u), rounding contributes over [a, b]

        integral of r    = (r(b)^2 - r(a)^2) / 2
        integral of r^2  = (rint(b) - rint(a)) / 12 + (r(b)^3 - r(a)^3) / 3

    and clipping at the outermost code c contributes the moments of x - c.
    """
    total = float(values.counts.sum())
    if total == 0:
        return ErrorMoments(0.0, 0.0)
    step, zero = float(grid.scale), int(grid.zero_point)
    first, last = float(grid.qtype.qmin - zero), float(grid.qtype.qmax - zero)
    a, b = values.low / step, values.high / step
    width = b - a
    wide = width > 1e-9 * np.maximum(np.abs(a), np.abs(b))
    inner = (np.clip(a, first, last), np.clip(b, first, last))
    sums = [_rounding(*inner), _clipping(a, b, first, below=True)]
    sums.append(_clipping(a, b, last, below=False))
    spread = np.where(wide, width, 1.0)
    means = [sum(s[i] for s in sums) / spread for i in (0, 1)]
    point = a - np.clip(np.rint(a), first, last)
    mean = np.where(wide, means[0], point)
    square = np.where(wide, means[1], point**2)
    return ErrorMoments(
        float(values.counts @ mean) * step / total,
        float(values.counts @ square) * step**2 / total,
    )


def _rounding(a: Array, b: Array) -> tuple[Array, Array]:
    """Integrals of r and r^2 over [a, b]."""
    ra, rb = a - np.rint(a), b - np.rint(b)
    return (rb**2 - ra**2) / 2, (np.rint(b) - np.rint(a)) / 12 + (rb**3 - ra**3) / 3


def _clipping(a: Array, b: Array, end: float, below: bool) -> tuple[Array, Array]:
    """Integrals of (u - end) and its square over the part of [a, b] beyond ``end``."""
    far, near = (
        (np.minimum(a, end), np.minimum(b, end))
        if below
        else (
            np.maximum(a, end),
            np.maximum(b, end),
        )
    )
    x, y = far - end, near - end
    return (y**2 - x**2) / 2, (y**3 - x**3) / 3
