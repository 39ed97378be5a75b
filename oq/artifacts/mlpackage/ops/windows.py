"""Windows over the spatial axes: their padding, and views of an array by window."""

from collections.abc import Sequence

import numpy as np

from oq.errors import ModelError
from oq.numerics.values import Array

Pads = tuple[tuple[int, int], ...]
"""Before and after each spatial axis."""


def ints(values: Array | Sequence[int] | None, count: int, default: int) -> tuple[int, ...]:
    """One integer per spatial axis.

    Raises:
        ModelError: there are more or fewer.
    """
    if values is None:
        return (default,) * count
    found = tuple(int(v) for v in np.ravel(values))
    if len(found) != count:
        raise ModelError(f"{len(found)} values where there are {count}")
    return found


def paddings(
    pad_type: Array | str,
    pad: Array | None,
    sizes: Sequence[int],
    extents: Sequence[int],
    strides: Sequence[int],
) -> Pads:
    """The padding of windows that extend over ``extents`` (dilation included) on axes of ``sizes``.

    ``same``: so many that there are ``ceil(size / stride)`` windows, the odd one behind
    (``same_lower``: in front).

    Raises:
        ModelError: another kind of padding, or ``pad`` of a kind that takes none.
    """
    kind, given = str(pad_type), ints(pad, 2 * len(sizes), 0)
    if kind != "custom" and any(given):
        raise ModelError(f"pad {list(given)} with pad_type {kind!r}")
    if kind in ("custom", "valid"):
        return tuple(zip(given[::2], given[1::2], strict=True))
    if kind not in ("same", "same_lower"):
        raise ModelError(f"pad_type {kind!r}, which oq does not read")
    found = []
    for size, extent, stride in zip(sizes, extents, strides, strict=True):
        total = max((-(-size // stride) - 1) * stride + extent - size, 0)
        small, large = total // 2, total - total // 2
        found.append((small, large) if kind == "same" else (large, small))
    return tuple(found)


def pad_spatial(x: Array, pads: Pads, value: float) -> Array:
    """``x`` (sample, channel, ...) with ``value`` around its spatial axes."""
    if not any(map(any, pads)):
        return x
    return np.pad(x, ((0, 0), (0, 0), *pads), constant_values=value)


def windows(
    x: Array, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> Array:
    """A view of ``x`` (sample, channel, spatial ...) with axes (sample, channel, window ..., place
    in the window ...).

    Raises:
        ModelError: a window is larger than the array.
    """
    extents = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    if any(e > s for e, s in zip(extents, x.shape[2:], strict=True)):
        raise ModelError(f"a window of {extents} over an array of {x.shape[2:]}")
    axes = tuple(range(2, x.ndim))
    view = np.lib.stride_tricks.sliding_window_view(x, extents, axes)
    step = tuple(slice(None, None, s) for s in strides)
    inside = tuple(slice(None, None, d) for d in dilations)
    return view[(slice(None), slice(None), *step, *inside)]
