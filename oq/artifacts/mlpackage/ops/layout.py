"""Operations that move elements: shapes, joins, parts, padding, blocks of space."""

from collections.abc import Sequence

import numpy as np

from oq.errors import ModelError
from oq.numerics.values import Array


def _list(values: Array) -> list[int]:
    return [int(v) for v in np.ravel(values)]


def reshape(x: Array, shape: Array) -> Array:
    """The same elements in order; 0 keeps the size of the axis of that place, -1 is what is left.

    Raises:
        ModelError: a 0 where the ranks differ.
    """
    sizes = _list(shape)
    if 0 in sizes and x.size:
        if len(sizes) != x.ndim:
            raise ModelError(f"reshape of {x.shape} to {sizes}: a 0 between different ranks")
        sizes = [old if new == 0 else new for old, new in zip(x.shape, sizes, strict=True)]
    return x.reshape(sizes)


def transpose(x: Array, perm: Array) -> Array:
    """Axis ``i`` of the result is axis ``perm[i]``."""
    return x.transpose(_list(perm))


def expand_dims(x: Array, axes: Array) -> Array:
    """Axes of size 1 at these places of the result."""
    return np.expand_dims(x, tuple(_list(axes)))


def squeeze(x: Array, axes: Array | None = None) -> Array:
    """Without these axes of size 1 (all of them without ``axes``)."""
    return x.squeeze(None if axes is None else tuple(_list(axes)))


def flatten2d(x: Array, axis: Array | int = 1) -> Array:
    """Two axes: those before ``axis``, and the others."""
    at = int(axis) % x.ndim if int(axis) < 0 else int(axis)
    return x.reshape(int(np.prod(x.shape[:at])), -1)


def concat(values: Sequence[Array], axis: Array, interleave: Array | bool = False) -> Array:
    """One behind the other along ``axis``; interleaved: one channel of each in turn."""
    at = int(axis)
    if not interleave:
        return np.concatenate(values, at)
    joined = np.stack(values, at % values[0].ndim + 1)
    shape = list(values[0].shape)
    shape[at] *= len(values)
    return joined.reshape(shape)


def stack(values: Sequence[Array], axis: Array) -> Array:
    """Side by side along a new axis."""
    return np.stack(values, int(axis))


def split(
    x: Array, axis: Array, num_splits: Array | None = None, split_sizes: Array | None = None
) -> tuple[Array, ...]:
    """Parts along ``axis``: of ``split_sizes``, or ``num_splits`` equal ones.

    Raises:
        ModelError: the sizes do not add up.
    """
    at = int(axis)
    if split_sizes is None:
        return tuple(np.split(x, int(num_splits) if num_splits is not None else 1, at))
    sizes = _list(split_sizes)
    if sum(sizes) != x.shape[at]:
        raise ModelError(f"parts of {sizes} of an axis of {x.shape[at]}")
    return tuple(np.split(x, np.cumsum(sizes)[:-1], at))


def slice_by_index(
    x: Array,
    begin: Array,
    end: Array,
    stride: Array | None = None,
    begin_mask: Array | None = None,
    end_mask: Array | None = None,
    squeeze_mask: Array | None = None,
) -> Array:
    """``x[begin:end:stride]`` per axis, as NumPy; a set mask stands for an open end, or (squeeze)
    for the index ``begin``."""
    no = [False] * x.ndim
    flags = [no if m is None else m.tolist() for m in (begin_mask, end_mask, squeeze_mask)]
    steps = [1] * x.ndim if stride is None else _list(stride)
    parts: list[slice | int] = []
    for first, last, step, open_begin, open_end, single in zip(
        _list(begin), _list(end), steps, *flags, strict=True
    ):
        whole = slice(None if open_begin else first, None if open_end else last, step)
        parts.append(first if single else whole)
    return np.asarray(x[tuple(parts)])


def slice_by_size(x: Array, begin: Array, size: Array) -> Array:
    """``size`` elements from ``begin`` per axis; -1: all that follow."""
    starts = [b % n if n else 0 for b, n in zip(_list(begin), x.shape, strict=True)]
    parts = tuple(
        slice(b, None if n == -1 else b + n) for b, n in zip(starts, _list(size), strict=True)
    )
    return x[parts]


def tile(x: Array, reps: Array) -> Array:
    """``reps[i]`` times along axis ``i``."""
    return np.tile(x, _list(reps))


def reverse(x: Array, axes: Array | None = None) -> Array:
    """Backwards along ``axes`` (all without)."""
    return np.flip(x, None if axes is None else tuple(_list(axes)))


MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}


def pad(
    x: Array, pad: Array, mode: Array | str = "constant", constant_val: Array | float = 0.0
) -> Array:
    """``pad[2i]`` elements before and ``pad[2i + 1]`` behind the last axes, as many as are named.

    Raises:
        ModelError: another mode.
    """
    pairs = np.ravel(pad).reshape(-1, 2).tolist()
    if str(mode) not in MODES:
        raise ModelError(f"pad of mode {str(mode)!r}, which oq does not read")
    around = [(0, 0)] * (x.ndim - len(pairs)) + [tuple(p) for p in pairs]
    if str(mode) == "constant":
        return np.pad(x, around, constant_values=np.asarray(constant_val).astype(x.dtype))
    return np.pad(x, around, mode=MODES[str(mode)])  # type: ignore[call-overload, no-any-return]


def depth_to_space(x: Array, block_size: Array) -> Array:
    """(n, (row, column, c), h, w) -> (n, c, h row, w column): the channel varies fastest."""
    b, (n, c, h, w) = int(block_size), x.shape
    parts = x.reshape(n, b, b, c // (b * b), h, w)
    return parts.transpose(0, 3, 4, 1, 5, 2).reshape(n, c // (b * b), h * b, w * b)


def space_to_depth(x: Array, block_size: Array) -> Array:
    """The contrary of :func:`depth_to_space`."""
    b, (n, c, h, w) = int(block_size), x.shape
    parts = x.reshape(n, c, h // b, b, w // b, b)
    return parts.transpose(0, 3, 5, 1, 2, 4).reshape(n, c * b * b, h // b, w // b)


def pixel_shuffle(x: Array, upscale_factor: Array) -> Array:
    """(n, (c, row, column), h, w) -> (n, c, h row, w column): the place in the block varies
    fastest."""
    f, (n, c, h, w) = int(upscale_factor), x.shape
    parts = x.reshape(n, c // (f * f), f, f, h, w)
    return parts.transpose(0, 1, 4, 2, 5, 3).reshape(n, c // (f * f), h * f, w * f)


def pixel_unshuffle(x: Array, downscale_factor: Array) -> Array:
    """The contrary of :func:`pixel_shuffle`."""
    f, (n, c, h, w) = int(downscale_factor), x.shape
    parts = x.reshape(n, c, h // f, f, w // f, f)
    return parts.transpose(0, 1, 3, 5, 2, 4).reshape(n, c * f * f, h // f, w // f)


def shape(x: Array) -> Array:
    """The sizes of the axes."""
    return np.array(x.shape, np.int32)


def fill(shape: Array, value: Array | float = 0.0) -> Array:
    """``value`` everywhere."""
    found = np.asarray(value)
    return np.full(_list(shape), found, np.float32 if found.dtype.kind == "f" else found.dtype)


def fill_like(ref_tensor: Array, value: Array | float = 0.0) -> Array:
    """``value`` everywhere, in the shape of another tensor."""
    return fill(shape(ref_tensor), value)


def range_1d(end: Array, start: Array, step: Array) -> Array:
    """``start``, ``start + step`` ... before ``end``."""
    return np.arange(start.item(), end.item(), step.item()).astype(start.dtype)
