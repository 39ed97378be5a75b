"""The inputs that a layer's weights are multiplied with: sampled positions, unfolded (im2col).

A convolution at one position is a dot product of each output channel's weights with a window of the
input; the windows of a linear layer are its input vectors.
"""

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from oq.model.operands import pads_by_size
from oq.numerics.values import Array
from oq.numerics.windows import Windows, windows_of
from oq.parallel import parallel_map
from oq.planning.layers import Layer
from oq.refine.layerwise import Values

ROWS, ROWS_PER_WEIGHT = 8192, 256
"""Windows per layer: several for each of up to a thousand weights; a depthwise layer, whose every
channel has windows of its own, needs no more than so many for each of a few."""

WIDEST = 1024
"""Weights per output channel; second moments beyond cost more than the rest of a run."""

WIDEST_IN_BLOCKS = 4096
"""The same for weights in blocks, for which this is the only refinement and the gain is large."""


def why_not(layer: Layer, weight: Array, widest: int = WIDEST) -> str | None:
    """None, or why no windows of ``layer`` can be sampled, or too many weights to round
    together."""
    if weight.ndim > 2 and layer.weight_axis != 0:
        return "its windows overlap in the output"
    if pads_by_size(layer.attributes):
        return "its padding depends on the input's size"
    if layer.attributes.get("transA"):
        return "its input is transposed"
    width = rows_of(layer, weight).shape[2]
    return None if width <= widest else f"it has {width} weights per output channel"


def rows_of(layer: Layer, weight: Array) -> Array:
    """``weight`` with axes (group, output channel of the group, weight); the weights of a channel
    are those of a window, (position in the kernel, input channel)."""
    if weight.ndim == 2:
        return (weight if layer.weight_axis == 0 else weight.T)[None]
    last = np.moveaxis(weight, 1, -1)
    return last.reshape(layer.group, weight.shape[0] // layer.group, -1)


def weight_of(layer: Layer, rows: Array, like: Array) -> Array:
    """The inverse of :func:`rows_of`: ``rows`` in the layout and dtype of ``like``."""
    if like.ndim == 2:
        flat = rows[0] if layer.weight_axis == 0 else rows[0].T
        return np.ascontiguousarray(flat.astype(like.dtype))
    last = rows.reshape(like.shape[0], *like.shape[2:], like.shape[1])
    return np.ascontiguousarray(np.moveaxis(last, -1, 1).astype(like.dtype))


def draw_windows(layer: Layer, values: Values, weight: Array, seed: int = 0) -> Array:
    """Up to :data:`ROWS` windows with axes (group, row, weight), sampled with ``seed``."""
    random = np.random.default_rng(seed)
    rows = min(ROWS, ROWS_PER_WEIGHT * rows_of(layer, weight).shape[2])
    share = max(1, rows // len(values))
    if weight.ndim == 2:
        flat = [v.reshape(-1, v.shape[-1]) for v in values]
        return np.concatenate([v[_draw(random, len(v), share)] for v in flat])[None]
    sizes = [v.shape[2:] for v in values]
    windows = [windows_of(layer.attributes, weight.shape[2:], s) for s in sizes]
    steps = [math.prod(w.steps(s)) for w, s in zip(windows, sizes, strict=True)]
    ends = np.cumsum([min(len(v) * n, share) for v, n in zip(values, steps, strict=True)])
    found = np.empty((layer.group, ends[-1], math.prod(weight.shape[1:])), values[0].dtype)
    parts = np.split(found, ends[:-1], axis=1)
    seeds = random.spawn(len(values))
    parallel_map(lambda part: _unfold(*part), zip(parts, values, windows, seeds, strict=True))
    return found


def finite(*windows: Array) -> tuple[Array, ...]:
    """The rows of ``windows`` (group, row, weight), sampled at the same positions, that are finite
    in all of them."""
    held = np.logical_and.reduce([np.isfinite(w).all(axis=(0, 2)) for w in windows])
    return windows if held.all() else tuple(w[:, held] for w in windows)


def center(windows: Array) -> Array:
    """Subtract their means (group, weight), float64, from ``windows`` (group, row, weight); if all
    values are finite, which is when the means are."""
    count = windows.shape[1]
    means = np.full(count, 1 / max(count, 1), windows.dtype) @ windows
    if is_finite(means):
        windows -= means[:, None, :]
    return np.asarray(means.astype(np.float64))


def is_finite(values: Array) -> bool:
    """Whether all ``values`` are."""
    return bool(np.isfinite(values).all())


def _unfold(found: Array, values: Array, windows: Windows, random: np.random.Generator) -> None:
    """Fill ``found`` (group, row, weight) with windows of ``values``."""
    group, rows, _ = found.shape
    source, rank = np.moveaxis(values, 1, -1), len(windows.kernel)
    if rows * windows.count > values.size // values.shape[1]:
        source = np.ascontiguousarray(source)  # copied as runs of channels, not value by value
    if any(map(any, windows.pads)):
        source = np.pad(source, ((0, 0), *windows.pads, (0, 0)))
    reach = tuple((k - 1) * d + 1 for k, d in zip(windows.kernel, windows.dilations, strict=True))
    seen = sliding_window_view(source, reach, axis=tuple(range(1, 1 + rank)))
    steps = tuple(slice(None, None, s) for s in windows.strides)
    inner = tuple(slice(None, None, d) for d in windows.dilations)
    seen = np.moveaxis(seen[(slice(None), *steps, slice(None), *inner)], 1 + rank, -1)
    sizes = seen.shape[: 1 + rank]
    drawn = seen[np.unravel_index(_draw(random, math.prod(sizes), rows), sizes)]
    grouped = drawn.reshape(rows, windows.count, group, -1).transpose(2, 0, 1, 3)
    found[...] = grouped.reshape(found.shape)


def _draw(random: np.random.Generator, count: int, wanted: int) -> Array:
    if count <= wanted:
        return np.arange(count)
    return np.sort(random.choice(count, wanted, replace=False))
