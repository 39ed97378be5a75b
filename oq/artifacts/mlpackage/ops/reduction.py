"""Reductions along axes."""

import numpy as np

from oq.artifacts.mlpackage.dtypes import SHORT, numpy_dtype
from oq.numerics.values import Array


def _axes(axes: Array | None) -> tuple[int, ...] | None:
    return None if axes is None else tuple(int(a) for a in np.ravel(axes))


def reduce_sum(x: Array, axes: Array | None = None, keep_dims: Array | bool = False) -> Array:
    """The sum."""
    return np.asarray(x.sum(_axes(axes), keepdims=bool(keep_dims), dtype=x.dtype))


def reduce_mean(x: Array, axes: Array | None = None, keep_dims: Array | bool = False) -> Array:
    """The mean, summed in double precision."""
    return np.asarray(x.mean(_axes(axes), keepdims=bool(keep_dims), dtype=np.float64))


def reduce_max(x: Array, axes: Array | None = None, keep_dims: Array | bool = False) -> Array:
    """The maximum."""
    return np.asarray(x.max(_axes(axes), keepdims=bool(keep_dims)))


def reduce_min(x: Array, axes: Array | None = None, keep_dims: Array | bool = False) -> Array:
    """The minimum."""
    return np.asarray(x.min(_axes(axes), keepdims=bool(keep_dims)))


def reduce_prod(x: Array, axes: Array | None = None, keep_dims: Array | bool = False) -> Array:
    """The product."""
    return np.asarray(x.prod(_axes(axes), keepdims=bool(keep_dims), dtype=x.dtype))


def reduce_sum_square(
    x: Array, axes: Array | None = None, keep_dims: Array | bool = False
) -> Array:
    """The sum of the squares."""
    return reduce_sum(x * x, axes, keep_dims)


def reduce_l1_norm(x: Array, axes: Array | None = None, keep_dims: Array | bool = False) -> Array:
    """The sum of the absolute values."""
    return reduce_sum(np.abs(x), axes, keep_dims)


def reduce_l2_norm(x: Array, axes: Array | None = None, keep_dims: Array | bool = False) -> Array:
    """The square root of the sum of the squares."""
    return np.sqrt(reduce_sum_square(x, axes, keep_dims))


def reduce_log_sum_exp(
    x: Array, axes: Array | None = None, keep_dims: Array | bool = False
) -> Array:
    """``log(sum(e^x))``."""
    top = reduce_max(x, axes, True)
    found = np.log(reduce_sum(np.exp(x - top), axes, True)) + top
    return found if keep_dims else found.squeeze(_axes(axes))


def reduce_argmax(
    x: Array,
    axis: Array | int = -1,
    keep_dims: Array | bool = False,
    output_dtype: Array | str = "int32",
) -> Array:
    """The place of the first maximum."""
    found = np.argmax(x, int(axis), keepdims=bool(keep_dims))
    return np.asarray(found).astype(numpy_dtype(SHORT[str(output_dtype)]))


def reduce_argmin(
    x: Array,
    axis: Array | int = -1,
    keep_dims: Array | bool = False,
    output_dtype: Array | str = "int32",
) -> Array:
    """The place of the first minimum."""
    found = np.argmin(x, int(axis), keepdims=bool(keep_dims))
    return np.asarray(found).astype(numpy_dtype(SHORT[str(output_dtype)]))
