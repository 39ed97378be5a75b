"""Ranges of weights, per output channel: ``max`` covers all values, ``mse`` minimizes the squared
error.

``mse`` searches ``scale = s * max|w| / qmax`` over fractions s of the full range for the least
``sum (w - quantized(w))^2`` in each channel (Banner et al. 2019; AMD's and NVIDIA's weight MSE).
"""

import numpy as np

from oq.errors import OptionError
from oq.numerics.grid import Grid, fake_quantize, fit
from oq.numerics.values import Array, QType, Range

WEIGHT_CALIBRATORS = ("max", "mse")

SHARES = np.linspace(1.0, 0.4, 61)


def weight_range(
    values: Array, qtype: QType, axis: int | None, method: str = "max", block: int | None = None
) -> Range:
    """The range of ``values`` (any axes) along ``axis`` (None: per tensor), shape () or
    (channels,); with ``block``, that of ``values`` with ``axis`` divided by the block size, rounded
    up.

    Raises:
        OptionError: ``method`` is not one of :data:`WEIGHT_CALIBRATORS`.
    """
    if method not in WEIGHT_CALIBRATORS:
        raise OptionError(f"--weights {method!r}: expected {' or '.join(WEIGHT_CALIBRATORS)}")
    full = channel_range(values, axis, block)
    if method == "max" or not values.size:
        return full
    shares = SHARES.reshape(-1, *(1,) * full.lo.ndim)
    every = fit(Range(full.lo * shares, full.hi * shares), qtype)
    best, least = full, np.full(full.lo.shape, np.inf)
    for i in _differing(every):  # powers of two are few
        share, scale, zero = SHARES[i], np.asarray(every.scale[i]), np.asarray(every.zero_point[i])
        candidate = Range(full.lo * share, full.hi * share)
        error = _squares(values, Grid(qtype, scale, zero, axis, block))
        better = error < least
        best = Range(
            np.where(better, candidate.lo, best.lo), np.where(better, candidate.hi, best.hi)
        )
        least = np.minimum(error, least)
    return best


def _differing(grids: Grid) -> Array:
    """The rows of ``grids`` that are not the grid of the row before."""
    count = len(grids.scale)
    changed = np.zeros(count, bool)
    changed[0] = True
    for part in (grids.scale, grids.zero_point):
        changed[1:] |= (part[1:] != part[:-1]).reshape(count - 1, -1).any(axis=1)
    return np.flatnonzero(changed)


def channel_range(values: Array, axis: int | None, block: int | None = None) -> Range:
    """``[min(w, 0), max(w, 0)]`` over all axes but ``axis``, or over each block of it."""
    real, over = _divided(values, axis, block)
    if not values.size:
        return Range(np.zeros(()), np.zeros(()))
    lo, hi = (np.asarray(end(axis=over), np.float64) for end in (real.min, real.max))
    return Range(np.minimum(lo, 0.0), np.maximum(hi, 0.0))


def channel_reach(values: Array, axis: int) -> Array:
    """``max |w|`` over all axes but ``axis``: (channels,), float64."""
    return np.asarray(np.abs(values).max(axis=other_axes(values, axis)).astype(np.float64))


def _squares(values: Array, grid: Grid) -> Array:
    error = values - fake_quantize(values, grid)
    squares, over = _divided(error.astype(np.float64) ** 2, grid.axis, grid.block)
    found: Array = np.asarray(squares.sum(axis=over))
    return found


def _divided(
    values: Array, axis: int | None, block: int | None
) -> tuple[Array, tuple[int, ...] | None]:
    """``values``, ``axis`` split in two where there are blocks, and the axes to sum over.

    An incomplete last block is filled with zeros: every range contains 0, and 0 has no error.
    """
    if block is None or axis is None:
        return values, None if axis is None else other_axes(values, axis)
    missing = -values.shape[axis] % block
    if missing:
        values = np.pad(values, [(0, missing * (i == axis)) for i in range(values.ndim)])
    shape = values.shape
    split = (*shape[:axis], shape[axis] // block, block, *shape[axis + 1 :])
    return values.reshape(split), (axis + 1,)


def other_axes(values: Array, axis: int) -> tuple[int, ...]:
    """All axes of ``values`` but ``axis``, which may count from the end."""
    return tuple(i for i in range(values.ndim) if i != axis % values.ndim)
