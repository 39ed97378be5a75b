"""Pools over windows."""

from collections.abc import Sequence

import numpy as np

from oq.artifacts.mlpackage.ops.windows import Pads, ints, pad_spatial, paddings, windows
from oq.errors import ModelError
from oq.numerics.values import Array


def max_pool(
    x: Array,
    kernel_sizes: Array,
    pad_type: Array,
    strides: Array | None = None,
    pad: Array | None = None,
    ceil_mode: Array | bool = False,
) -> Array:
    """The maximum of each window; padding never wins."""
    count = x.ndim - 2
    kernel, stride = ints(kernel_sizes, count, 1), ints(strides, count, 1)
    pads, _ = _pads(x, kernel, stride, pad_type, pad, bool(ceil_mode))
    # codes may be pooled too: -inf is not an integer
    least = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    seen = windows(pad_spatial(x, pads, least), kernel, stride, (1,) * count)
    return np.asarray(seen.max(tuple(range(-count, 0))))


def avg_pool(
    x: Array,
    kernel_sizes: Array,
    pad_type: Array,
    strides: Array | None = None,
    pad: Array | None = None,
    exclude_padding_from_average: Array | bool = False,
    ceil_mode: Array | bool = False,
) -> Array:
    """The mean of each window.  Padding counts as zeros, or not at all where it is excluded; what
    ``ceil_mode`` adds behind the padding never counts."""
    count = x.ndim - 2
    kernel, stride = ints(kernel_sizes, count, 1), ints(strides, count, 1)
    pads, extra = _pads(x, kernel, stride, pad_type, pad, bool(ceil_mode))
    inside = tuple(range(-count, 0))
    ones = (1,) * count
    total = windows(pad_spatial(x, pads, 0), kernel, stride, ones).sum(inside)
    counted = np.ones((1, 1, *x.shape[2:]), np.float32)
    own = tuple((a, b - e) for (a, b), e in zip(pads, extra, strict=True))
    counted = pad_spatial(counted, own, 0.0 if exclude_padding_from_average else 1.0)
    counted = pad_spatial(counted, tuple((0, e) for e in extra), 0)
    return np.asarray(total / windows(counted, kernel, stride, ones).sum(inside))


def _pads(
    x: Array,
    kernel: Sequence[int],
    strides: Sequence[int],
    pad_type: Array,
    pad: Array | None,
    ceil_mode: bool,
) -> tuple[Pads, tuple[int, ...]]:
    """The padding, and how much of that behind each axis is there for ``ceil_mode``: one more
    window where the last one begins inside the array or its front padding."""
    pads = paddings(pad_type, pad, x.shape[2:], kernel, strides)
    if not ceil_mode:
        return pads, (0,) * len(pads)
    if str(pad_type).startswith("same"):
        raise ModelError(f"ceil_mode with pad_type {str(pad_type)!r}")
    made, extra = [], []
    for size, k, s, (before, after) in zip(x.shape[2:], kernel, strides, pads, strict=True):
        steps = -(-(size + before + after - k) // s)
        if before + after and steps * s >= size + before:
            steps -= 1
        more = max(steps * s + k - size - before - after, 0)
        made.append((before, after + more))
        extra.append(more)
    return tuple(made), tuple(extra)
