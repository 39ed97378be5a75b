"""Operations by index: gather, scatter, order."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from oq.artifacts.mlpackage.dtypes import SHORT, numpy_dtype
from oq.errors import ModelError
from oq.numerics.values import Array


def _checked(indices: Array, size: int) -> Array:
    """The indices, counted from the end where they are negative.

    Raises:
        ModelError: one lies outside, where the result is undefined.
    """
    found = indices.astype(np.int64)
    if found.size and (found.min() < -size or found.max() >= size):
        raise ModelError(f"an index of {found.min()}..{found.max()} on an axis of {size}")
    return np.where(found < 0, found + size, found)


def gather(
    x: Array,
    indices: Array,
    axis: Array | int = 0,
    batch_dims: Array | int = 0,
    validate_indices: Array | bool = False,
) -> Array:
    """Slices of ``x`` along ``axis``, in the shape of ``indices``.

    Raises:
        ModelError: batch axes, or an index outside, checked whatever ``validate_indices`` says.
    """
    if int(batch_dims):
        raise ModelError("gather with batch_dims, which oq does not read")
    _ = validate_indices
    at = int(axis)
    return np.asarray(x.take(_checked(indices, x.shape[at]), at))


def gather_along_axis(
    x: Array, indices: Array, axis: Array | int = 0, validate_indices: Array | bool = False
) -> Array:
    """``x`` at ``indices`` along ``axis``, at the same place of the other axes."""
    _ = validate_indices
    at = int(axis)
    return np.take_along_axis(x, _checked(indices, x.shape[at]), at)


def gather_nd(
    x: Array,
    indices: Array,
    batch_dims: Array | int = 0,
    validate_indices: Array | bool = False,
) -> Array:
    """``x`` at the places that the last axis of ``indices`` holds.

    Raises:
        ModelError: batch axes, or an index outside.
    """
    if int(batch_dims):
        raise ModelError("gather_nd with batch_dims, which oq does not read")
    _ = validate_indices
    return np.asarray(x[_places(indices, x.shape)])


def _places(indices: Array, sizes: tuple[int, ...]) -> tuple[Array, ...]:
    parts = np.moveaxis(indices, -1, 0)
    return tuple(_checked(part, size) for part, size in zip(parts, sizes, strict=False))


_SCATTER: Mapping[str, Callable[..., Any]] = {
    "add": np.add.at,
    "sub": np.subtract.at,
    "mul": np.multiply.at,
    "div": np.divide.at,
    "max": np.maximum.at,
    "min": np.minimum.at,
    "update": lambda made, places, updates: made.__setitem__(places, updates),
}


def _scatter(data: Array, places: tuple[Array, ...], updates: Array, mode: Array | str) -> Array:
    if str(mode) not in _SCATTER:
        raise ModelError(f"scatter of mode {str(mode)!r}, which oq does not read")
    made = data.copy()
    _SCATTER[str(mode)](made, places, updates)
    return made


def scatter_nd(
    data: Array,
    indices: Array,
    updates: Array,
    mode: Array | str = "add",
    validate_indices: Array | bool = False,
) -> Array:
    """``data`` with ``updates`` joined in at the places that the last axis of ``indices`` holds."""
    _ = validate_indices
    return _scatter(data, _places(indices, data.shape), updates, mode)


def scatter_along_axis(
    data: Array,
    indices: Array,
    updates: Array,
    axis: Array | int = 0,
    mode: Array | str = "add",
    validate_indices: Array | bool = False,
) -> Array:
    """``data`` with ``updates`` joined in at ``indices`` along ``axis``."""
    _ = validate_indices
    at = int(axis) % data.ndim
    places: list[Array] = list(np.indices(indices.shape, sparse=True))
    places[at] = _checked(indices, data.shape[at])
    return _scatter(data, tuple(places), updates, mode)


def one_hot(
    indices: Array,
    one_hot_vector_size: Array,
    axis: Array | int = -1,
    on_value: Array | int = 1,
    off_value: Array | int = 0,
) -> Array:
    """``on_value`` at ``indices`` along a new axis, ``off_value`` elsewhere."""
    hits = indices[..., None] == np.arange(int(one_hot_vector_size))
    on, off = np.asarray(on_value), np.asarray(off_value)
    kind = np.float32 if on.dtype.kind == "f" else np.bool_ if on.dtype.kind == "b" else np.int32
    return np.moveaxis(np.where(hits, on, off), -1, int(axis)).astype(kind)


def argsort(x: Array, axis: Array | int = -1, ascending: Array | bool = False) -> Array:
    """The order of the elements, of equal ones as they lie."""
    keys = x if ascending else -x.astype(np.float64)
    return np.argsort(keys, int(axis), kind="stable").astype(np.int32)


def topk(
    x: Array,
    k: Array | int = 1,
    axis: Array | int = -1,
    ascending: Array | bool = False,
    sort: Array | bool = True,
    return_indices: Array | bool = True,
    output_indices_dtype: Array | str = "int32",
) -> tuple[Array, ...]:
    """The ``k`` largest (ascending: smallest), in order, and where they lie.

    Raises:
        ModelError: unsorted, which fixes no order.
    """
    if not sort:
        raise ModelError("topk without sort gives no defined order")
    count = x.shape[int(axis)] if int(k) == -1 else int(k)
    order = argsort(x, axis, ascending).take(np.arange(count), int(axis))
    values = np.take_along_axis(x, order.astype(np.int64), int(axis))
    if not return_indices:
        return (values,)
    return values, order.astype(numpy_dtype(SHORT[str(output_indices_dtype)]))


def cumsum(
    x: Array,
    axis: Array | int = 0,
    exclusive: Array | bool = False,
    reverse: Array | bool = False,
) -> Array:
    """Sums up to each element, without itself where they are exclusive."""
    at = int(axis)
    turned = np.flip(x, at) if reverse else x
    total = np.cumsum(turned, at, dtype=x.dtype)
    total = total - turned if exclusive else total
    return np.flip(total, at) if reverse else total


def non_zero(x: Array) -> Array:
    """The places of what is not zero, (count, rank)."""
    return np.argwhere(x).astype(np.int32)


def classify(probabilities: Array, classes: Array) -> tuple[Array, ...]:
    """The label of the largest probability, and the probabilities as they are.

    Raises:
        ModelError: the numbers of labels and of probabilities differ.
    """
    if classes.size != probabilities.size:
        raise ModelError(f"{classes.size} labels for {probabilities.size} probabilities")
    return np.asarray(classes[int(np.argmax(probabilities))]), probabilities
