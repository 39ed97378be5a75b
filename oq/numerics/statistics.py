"""Observer statistics of a tensor: fixed in size, for any number of samples.

Every field satisfies this law, so that data may be split, resumed and merged:

    statistics(a ++ b) == merge(statistics(a), statistics(b)) == merge(statistics(b), statistics(a))

exactly, not approximately: counts are integers, and minimum and maximum are associative.

The **histogram** counts values by the top 16 bits of their float32, their bfloat16 bucket: sign,
exponent and 7 bits of mantissa.  No range has to be known in advance, nothing is rebinned, and the
width of a bucket is at most 1/128 of its value.
"""

import functools
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np

from oq.numerics.values import Array

BUCKETS = 2**16
FINITE_BUCKETS = 0x7F80
"""Buckets per sign below infinity."""

NEGATIVE_ZERO = 2**15
"""The bucket of -0, which is counted as 0, since the sign of a zero from a kernel may depend on the
batch."""

CHUNK = 2**16
"""Number of values that are buffered before they are counted, to amortize a pass over all
buckets."""

SLICE = 2**18
"""Number of values of a large array that are counted at a time, so that they fit in the cache."""

MASK = 1e8
"""Finite values this large are attention masks (-1e9 and the like), not data; they are counted
separately and do not affect ranges."""


class Need(Enum):
    """Statistics that a calibrator needs beyond counts and extremes, which are always available.

    READERS are not statistics: they are computed from the weights of the layers that read the
    tensor.
    """

    HISTOGRAM = "histogram"
    BATCHES = "batches"
    READERS = "readers"


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """The statistics of one tensor.

    ``lo``, ``hi``: exact extremes of the usable values (+inf, -inf if there are none).  ``count``:
    number of usable values.  ``nonfinite``: number of NaN and infinities; ``masked``: number of
    finite values beyond :data:`MASK`; both are excluded from everything else.  ``histogram``:
    counts per bucket, axes (bucket,), int64.  ``batches``: one row (first sample, lo, hi) per
    batch, ascending.
    """

    count: int
    nonfinite: int
    lo: float
    hi: float
    masked: int = 0
    histogram: Array | None = None
    batches: Array | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Statistics):
            return NotImplemented
        plain = ("count", "nonfinite", "lo", "hi", "masked")
        return all(getattr(self, f) == getattr(other, f) for f in plain) and all(
            _same(getattr(self, f), getattr(other, f)) for f in ("histogram", "batches")
        )

    __hash__ = None  # type: ignore[assignment]  # arrays inside


EMPTY = Statistics(0, 0, float("inf"), float("-inf"))
"""The statistics of no values: the identity of :func:`merge`."""


@dataclass(slots=True)
class Accumulator:
    """Accumulates statistics of arrays."""

    needs: frozenset[Need] = frozenset()
    count: int = 0
    nonfinite: int = 0
    masked: int = 0
    lo: float = float("inf")
    hi: float = float("-inf")
    histogram: Array | None = None
    batches: "array[float]" = field(default_factory=lambda: array("d"))
    _pending: Array | None = None
    _waiting: int = 0

    def __post_init__(self) -> None:
        # filled, not just reserved: memory is the same from the first sample to the last
        if Need.HISTOGRAM in self.needs:
            self.histogram = np.full(BUCKETS, 0, np.int64)
            self._pending = np.full(CHUNK, 0, np.uint16)

    def add(self, values: Array, first: int = 0) -> None:
        """Add ``values`` (any axes, any real dtype) of the batch that starts at sample
        ``first``."""
        if values.size == 0:
            return
        values = values.reshape(-1)
        lo, hi = _extremes(values)
        if not (lo > -MASK and hi < MASK):  # NaN compares false as well
            values = self._usable(values)
            if values.size == 0:
                return
            lo, hi = _extremes(values)
        self.add_ends(values.size, lo, hi, first)
        if Need.HISTOGRAM in self.needs:
            self._take(high_halves(values))

    def add_ends(self, count: int, lo: float, hi: float, first: int = 0) -> None:
        """Add ``count`` usable values with the extremes ``lo`` and ``hi``, all but their
        histogram."""
        lo, hi = lo + 0.0, hi + 0.0  # -0 becomes 0: which of the two is the lesser is chance
        self.count += count
        self.lo, self.hi = min(self.lo, lo), max(self.hi, hi)
        if Need.BATCHES in self.needs:
            self.batches.extend((first, lo, hi))  # three doubles: a tuple takes six times as much

    def _take(self, halves: Array) -> None:
        """Small arrays wait in a buffer: there are more buckets than such arrays have values."""
        if self._pending is None or halves.size >= CHUNK // 2:
            self._count(halves)
            return
        if self._waiting + halves.size > CHUNK:
            self._count_pending()
        self._pending[self._waiting : self._waiting + halves.size] = halves
        self._waiting += halves.size

    def _count_pending(self) -> None:
        if self._pending is not None and self._waiting:
            self._count(self._pending[: self._waiting])
        self._waiting = 0

    def _count(self, halves: Array) -> None:
        if self.histogram is None:
            return
        for start in range(0, halves.size, SLICE):
            self.histogram += np.bincount(halves[start : start + SLICE], minlength=BUCKETS)

    def statistics(self) -> Statistics:
        """The statistics so far."""
        self._count_pending()
        rows = np.array(self.batches).reshape(-1, 3)
        histogram = self.histogram.copy() if self.histogram is not None and self.count else None
        if histogram is not None:
            histogram[0] += histogram[NEGATIVE_ZERO]
            histogram[NEGATIVE_ZERO] = 0
        return Statistics(
            self.count,
            self.nonfinite,
            self.lo,
            self.hi,
            self.masked,
            histogram,
            _ordered(rows) if rows.size else None,
        )

    def _usable(self, values: Array) -> Array:
        finite = values[np.isfinite(values)]
        self.nonfinite += values.size - finite.size
        usable: Array = finite[np.abs(finite.astype(np.float64)) < MASK]
        self.masked += finite.size - usable.size
        return usable


def _extremes(values: Array) -> tuple[float, float]:
    """Minimum and maximum of ``values`` (value,), NaN if one is; without the checks of
    ``ndarray.min``, which take as long as the values of a small layer."""
    return float(np.minimum.reduce(values)), float(np.maximum.reduce(values))


def observe(values: Array, needs: frozenset[Need] = frozenset(), first: int = 0) -> Statistics:
    """The statistics of one array (any axes, any real dtype)."""
    accumulator = Accumulator(needs)
    accumulator.add(values, first)
    return accumulator.statistics()


def holds(statistics: Statistics | None, needs: frozenset[Need]) -> bool:
    """Whether ``statistics`` exist and include all ``needs``."""
    return statistics is not None and not (
        (Need.HISTOGRAM in needs and statistics.histogram is None)
        or (Need.BATCHES in needs and statistics.batches is None)
    )


def merge(first: Statistics, second: Statistics) -> Statistics:
    """The statistics of both sets of values combined."""
    return Statistics(
        first.count + second.count,
        first.nonfinite + second.nonfinite,
        min(first.lo, second.lo),
        max(first.hi, second.hi),
        first.masked + second.masked,
        _both(first.histogram, second.histogram, lambda a, b: a + b),
        _both(first.batches, second.batches, _in_order),
    )


def merge_all(
    first: Mapping[str, Statistics], second: Mapping[str, Statistics]
) -> dict[str, Statistics]:
    """:func:`merge` for every tensor in either mapping."""
    names = [*first, *(n for n in second if n not in first)]
    return {n: merge(first.get(n, EMPTY), second.get(n, EMPTY)) for n in names}


def together(tensors: Sequence[Statistics]) -> Statistics:
    """The statistics of several tensors combined, such as the inputs of a Concat.

    Unlike in :func:`merge`, rows of ``batches`` with the same first sample are one batch.
    """
    found = functools.reduce(merge, tensors, EMPTY)
    if len(tensors) < 2 or found.batches is None:
        return found
    first, starts = np.unique(found.batches[:, 0], return_index=True)
    lo = np.minimum.reduceat(found.batches[:, 1], starts)
    hi = np.maximum.reduceat(found.batches[:, 2], starts)
    return replace(found, batches=np.stack([first, lo, hi], axis=1))


def high_halves(values: Array) -> Array:
    """The top 16 bits of every value as float32 (value,), uint16: its bucket."""
    flat = np.ascontiguousarray(values, np.float32).reshape(-1)
    halves: Array = flat.view(np.uint16)[_HIGH_HALF::2]
    return halves


@functools.cache
def bucket_edges() -> tuple[Array, Array]:
    """(low, high) real bounds of the finite buckets, in the order of :func:`sorted_histogram`."""
    bits = np.arange(FINITE_BUCKETS, dtype=np.uint32) << 16
    low = bits.view(np.float32).astype(np.float64)
    high = np.append(low[1:], 2.0**128)
    return np.concatenate([-high[::-1], low]), np.concatenate([-low[::-1], high])


def sorted_histogram(statistics: Statistics) -> Array:
    """Counts in the order of :func:`bucket_edges`: negative buckets from the largest magnitude
    up to -0, then the positive ones."""
    if statistics.histogram is None:
        raise ValueError("these statistics were collected without a histogram")
    negative = statistics.histogram[2**15 : 2**15 + FINITE_BUCKETS][::-1]
    return np.concatenate([negative, statistics.histogram[:FINITE_BUCKETS]])


_HIGH_HALF = int(np.array([1], np.uint32).view(np.uint16)[0] == 1)
"""The index of the top half of a float32 on this machine: 1 if little-endian."""


def _both(a: Array | None, b: Array | None, join: Callable[[Array, Array], Array]) -> Array | None:
    if a is None or b is None:
        return b if a is None else a
    return join(a, b)


def _in_order(a: Array, b: Array) -> Array:
    return _ordered(np.concatenate([a, b]))


def _ordered(rows: Array) -> Array:
    found: Array = rows[np.lexsort(rows.T[::-1])]
    return found


def _same(a: Array | None, b: Array | None) -> bool:
    if a is None or b is None:
        return a is b
    return np.array_equal(a, b)
