"""The clipping threshold with the least KL divergence: TensorRT's entropy calibrator."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from oq.numerics.calibrator import ErrorGains, covering
from oq.numerics.histogram import Histogram, to_histogram
from oq.numerics.statistics import Need, Statistics
from oq.numerics.values import Array, QType, Range


@dataclass(frozen=True, slots=True)
class Entropy:
    """The least KL divergence, as TensorRT calibrates.

    ``argmin_T KL(P_T || Q_T)`` over thresholds T on |x| (Migacz 2017, "8-bit Inference with
    TensorRT").

    |x| is counted in ``bins`` equal bins.  For a threshold after bin i, P is the first i bins with
    everything beyond added to the last, and Q is the first i bins merged into ``levels`` levels,
    the count of each level spread over its occupied bins.  Thresholds start at ``levels`` bins, in
    steps of ``stride`` bins.  ``levels`` 0 uses the number of levels of the data type on one side
    of zero.  The bin at 0 gets the count of its neighbour, as in NVIDIA's tools: the zeros of a
    ReLU are exact anyway.
    """

    bins: int = 2048
    levels: int = 0
    stride: int = 16
    needs: ClassVar[frozenset[Need]] = frozenset({Need.HISTOGRAM})

    def __post_init__(self) -> None:
        if self.bins < 256 or self.levels < 0 or self.stride < 1:
            raise ValueError("bins must be 256 or more, levels 0 or more, stride 1 or more")
        if self.levels >= self.bins:
            raise ValueError(f"levels ({self.levels}) must be fewer than bins ({self.bins})")

    def range(
        self, statistics: Statistics, qtype: QType, readers: ErrorGains | None = None
    ) -> Range:
        """``[max(lo, -T), min(hi, T)]`` for the best threshold T."""
        reach = max(-statistics.lo, statistics.hi) if statistics.count else 0.0
        if reach <= 0:
            return covering(0.0, 0.0)
        if not qtype.uniform:  # its levels are not equal bins, and clipping gains it nothing
            return covering(statistics.lo, statistics.hi)
        one_sided = statistics.lo >= 0 or statistics.hi <= 0
        own = qtype.levels if one_sided and not qtype.symmetric else (qtype.levels + 1) // 2
        counts = in_equal_bins(to_histogram(statistics), self.bins, reach)
        counts[0] = counts[1]
        levels = self.levels if self.levels else own
        best = best_threshold(counts, levels, self.stride) * reach / self.bins
        return covering(max(statistics.lo, -best), min(statistics.hi, best))


def in_equal_bins(values: Histogram, bins: int, reach: float) -> Array:
    """Counts of |x| (bin,) in ``bins`` equal bins over [0, reach], buckets split by length.

    Each sign is counted alone: folded together, buckets of x and -x would overlap.
    """
    edges = np.linspace(0.0, reach, bins + 1)
    negative = values.high <= 0
    return _count(-values.high, -values.low, values.counts, negative, edges) + _count(
        values.low, values.high, values.counts, ~negative, edges
    )


def _count(low: Array, high: Array, counts: Array, chosen: Array, edges: Array) -> Array:
    """Counts (bin,) of the ``chosen`` buckets, none of which overlap, between ``edges``."""
    order = np.flatnonzero(chosen)[np.argsort(low[chosen], kind="stable")]
    low, high, counts = low[order], high[order], counts[order]
    wide = high > low
    bins = len(edges) - 1
    where = np.clip(np.searchsorted(edges, low[~wide], side="right") - 1, 0, bins - 1)
    found = np.bincount(where, counts[~wide], minlength=bins)
    if wide.any():
        below = np.concatenate([[0.0], np.cumsum(counts[wide])])
        ends = np.stack([low[wide], high[wide]], axis=1).reshape(-1)
        found = found + np.diff(np.interp(edges, ends, np.repeat(below, 2)[1:-1]))
    return found


def best_threshold(counts: Array, levels: int, stride: int = 1) -> int:
    """The number of bins to keep, in ``levels..len(counts)``, with the least divergence."""
    total = counts.sum()
    candidates = list(range(levels, len(counts) + 1, stride))
    if candidates[-1] != len(counts):
        candidates.append(len(counts))
    scores = [divergence(counts, kept, levels, total) for kept in candidates]
    return candidates[int(np.argmin(scores))]


def divergence(counts: Array, kept: int, levels: int, total: float) -> float:
    """``KL(P || Q)`` in nats for a threshold after ``kept`` bins; inf if Q is 0 where P is not."""
    inside = counts[:kept]
    p = inside.copy()
    p[-1] += total - inside.sum()
    level = np.minimum(np.arange(kept) * levels // kept, levels - 1)
    occupied = inside > 0
    sums = np.bincount(level, inside, minlength=levels)
    sizes = np.bincount(level[occupied], minlength=levels)
    q = np.where(occupied, sums[level] / np.maximum(sizes[level], 1), 0.0)
    if q.sum() == 0:
        return float("inf")
    p, q = p / p.sum(), q / q.sum()
    support = p > 0
    if (q[support] <= 0).any():
        return float("inf")
    return float(np.sum(p[support] * np.log(p[support] / q[support])))


CALIBRATOR = Entropy
