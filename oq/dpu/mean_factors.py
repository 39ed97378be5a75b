"""The mean as the DPU computes it: a sum, a multiplication by N and a shift by M.

    mean(x) = sum(x) * N / 2**M,   N / 2**M close to 1 / count

The hardware has built-in factors for five window sizes; for others the compiler searches them
(Vitis-AI ``pool_fix.cpp``: ``get_avgpool_dpu_factors``; Quark ``simulate_dpu.py``).
"""

import math
from collections.abc import Mapping

KNOWN: Mapping[int, tuple[int, int]] = {
    9: (7, 6),
    25: (10, 8),
    36: (7, 8),
    49: (21, 10),
    196: (21, 12),
}
"""Values in a square window of side 3, 5, 6, 7, 14 -> (N, M)."""

LARGEST_SIDE = 255
"""Longest side of a window that the hardware averages."""


def mean_factors(count: int) -> tuple[int, int]:
    """(N, M) for the mean of ``count`` values.

    Searched: ``M`` from 0 to ``ceil(log2(128 * count)) - 1`` with ``N = round(2**M / count)``; the
    first M of least ``|N / 2**M - 1 / count|`` wins.

    >>> mean_factors(9), mean_factors(64), mean_factors(100)
    ((7, 6), (1, 6), (41, 12))
    """
    if count in KNOWN:
        return KNOWN[count]
    shifts = range(math.ceil(math.log2(128 * count)))
    tried = [(abs(round(2**m / count) / 2**m - 1 / count), m) for m in shifts]
    best = min(tried)[1]
    return round(2**best / count), best


def mean_gain(count: int) -> float:
    """The DPU's mean of ``count`` values relative to the exact one: ``count * N / 2**M``.

    >>> mean_gain(9), mean_gain(16)
    (0.984375, 1.0)
    """
    n, m = mean_factors(count)
    return count * n / 2.0**m
