"""What is kept of a tensor's values: fixed in size, whatever the number of samples.

The law every field obeys, so that data may be split, resumed and joined at will:

    statistics(a ++ b) == merge(statistics(a), statistics(b)) == merge(statistics(b), statistics(a))

exactly, not approximately: counts are integers, and minimum and maximum are associative.
"""

from dataclasses import dataclass

import numpy as np

from oq.spec import Array


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of the values of one tensor.

    ``lo``, ``hi``: exact extremes of the finite values (real units; +inf, -inf when there is
    none).  ``count``: finite values.  ``nonfinite``: NaN and infinities, which touch nothing else.
    """

    count: int
    nonfinite: int
    lo: float
    hi: float


EMPTY = Statistics(0, 0, float("inf"), float("-inf"))
"""The statistics of no values: the identity of :func:`merge`."""


def observe(values: Array) -> Statistics:
    """The statistics of one array (any axes, any real dtype)."""
    if values.size == 0:
        return EMPTY
    lo, hi = float(values.min()), float(values.max())
    if np.isfinite(lo) and np.isfinite(hi):
        return Statistics(values.size, 0, lo, hi)
    finite = values[np.isfinite(values)]
    lost = values.size - finite.size
    if finite.size == 0:
        return Statistics(0, lost, EMPTY.lo, EMPTY.hi)
    return Statistics(finite.size, lost, float(finite.min()), float(finite.max()))


def merge(first: Statistics, second: Statistics) -> Statistics:
    """The statistics of both sets of values together."""
    return Statistics(
        first.count + second.count,
        first.nonfinite + second.nonfinite,
        min(first.lo, second.lo),
        max(first.hi, second.hi),
    )
