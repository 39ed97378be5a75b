"""A histogram as (low, high, count) of its occupied buckets, and quantization errors computed from
it.

Values are assumed to be uniformly distributed within a bucket.  Buckets are clipped to the exact
extremes, so many equal values at an end (the 6 of a ReLU6) form a bucket of zero width, which is
exact.
"""

from dataclasses import dataclass

import numpy as np

from oq.numerics.grid import Grid
from oq.numerics.statistics import FINITE_BUCKETS, Statistics, bucket_edges, sorted_histogram
from oq.numerics.values import Array

ZERO = FINITE_BUCKETS
"""The place of the bucket of 0 among all, which come in ascending order."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Occupied buckets in ascending order; ``low``, ``high`` (bucket,) are real bounds, ``counts``
    (bucket,)."""

    low: Array
    high: Array
    counts: Array


def to_histogram(statistics: Statistics) -> Histogram:
    """The occupied buckets of the histogram in ``statistics``.

    Raises:
        ValueError: the statistics hold no histogram.
    """
    counts = sorted_histogram(statistics)
    low, high = bucket_edges()
    occupied = np.flatnonzero(counts)
    starts = low[occupied]
    starts[occupied == ZERO] = -high[ZERO]  # what the bucket of -0 would hold is counted there
    return Histogram(
        np.clip(starts, statistics.lo, statistics.hi),
        np.clip(high[occupied], statistics.lo, statistics.hi),
        counts[occupied].astype(np.float64),
    )


def merge_small_buckets(values: Histogram, finest: float) -> Histogram:
    """``values`` with all buckets inside ``(-finest, finest)`` merged into one per sign.

    The histogram has as many buckets per octave near zero as far from it; a search for a range does
    not need buckets much narrower than the scale.
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
    return Histogram(
        np.concatenate([values.low[kept], low]),
        np.concatenate([values.high[kept], high]),
        np.concatenate([values.counts[kept], counts]),
    )


def magnitudes(values: Histogram) -> Histogram:
    """The histogram of |x|: negative buckets mirrored to the positive side."""
    flip = values.high <= 0
    low = np.where(flip, -values.high, np.maximum(values.low, 0.0))
    high = np.where(flip, -values.low, values.high)
    order = np.argsort(low, kind="stable")
    return Histogram(low[order], high[order], values.counts[order])


@dataclass(frozen=True, slots=True)
class ErrorMoments:
    """Mean of ``x - quantized(x)`` and of its square."""

    mean: float
    square: float

    @property
    def variance(self) -> float:
        """``E[e^2] - E[e]^2``, never below 0."""
        return max(self.square - self.mean**2, 0.0)


NARROW = 1e-6
"""In units of the scale: a narrower bucket is treated as a point, since differences of integrals
lose precision there."""


def quantization_error(values: Histogram, grid: Grid) -> ErrorMoments:
    """The error of quantizing ``values`` with ``grid`` (per tensor), integrated over every bucket.

    With u = x / scale, c = clip(u, first code, last code), r = c - rint(c) and d = u - c, the
    antiderivatives of the error and of its square are

        r^2 / 2 + d^2 / 2        and        rint(c) / 12 + r^3 / 3 + d^3 / 3
    """
    total = float(values.counts.sum())
    if total == 0:
        return ErrorMoments(0.0, 0.0)
    step, zero = float(grid.scale), int(grid.zero_point)
    ends = (float(grid.qtype.qmin - zero), float(grid.qtype.qmax - zero))
    a, b = values.low / step, values.high / step
    width = b - a
    narrow = width < NARROW
    width[narrow] = 1.0
    (mean_a, square_a), (mean_b, square_b) = _integrals(a, ends), _integrals(b, ends)
    mean, square = (mean_b - mean_a) / width, (square_b - square_a) / width
    if narrow.any():
        point = a[narrow] - np.clip(np.rint(a[narrow]), *ends)
        mean[narrow], square[narrow] = point, point**2
    return ErrorMoments(
        float(values.counts @ mean) * step / total,
        float(values.counts @ square) * step**2 / total,
    )


def _integrals(u: Array, ends: tuple[float, float]) -> tuple[Array, Array]:
    """The antiderivatives of the error and of its square at ``u`` (grid steps)."""
    inside = np.clip(u, *ends)
    beyond = u - inside
    whole = np.rint(inside)
    rest = inside - whole
    rest2, beyond2 = rest * rest, beyond * beyond
    return (rest2 + beyond2) / 2, whole / 12 + (rest2 * rest + beyond2 * beyond) / 3
