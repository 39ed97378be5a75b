"""Q/DQ, and weights that are stored compressed."""

import numpy as np

from oq.artifacts.mlpackage.dtypes import SHORT, numpy_dtype, unpack
from oq.errors import ModelError
from oq.numerics.values import Array


def _along(values: Array, axis: Array | int | None, rank: int) -> Array:
    """A scalar as it is, a vector along ``axis``.

    Raises:
        ModelError: a vector without an axis.
    """
    if values.ndim == 0:
        return values
    if axis is None or values.ndim > 1:
        raise ModelError(f"scales or zero points of shape {values.shape} without an axis")
    shape = [1] * rank
    shape[int(axis)] = -1
    return values.reshape(shape)


def quantize(
    input: Array,
    scale: Array,
    output_dtype: Array,
    zero_point: Array | None = None,
    axis: Array | None = None,
) -> Array:
    """``clip(round(input / scale) + zero_point)`` over all codes of the type, ties to even.

    Raises:
        ModelError: a scale that is not positive, or another type than int8 and uint8.
    """
    name = str(output_dtype)
    if name not in ("int8", "uint8"):
        raise ModelError(f"quantize to {name!r}; there is int8 and uint8")
    if not (scale > 0).all():
        raise ModelError(f"a scale of {scale.min():g}")
    codes = np.rint(input / _along(scale, axis, input.ndim))
    if zero_point is not None:
        codes = codes + _along(zero_point, axis, input.ndim).astype(np.float32)
    limits = np.iinfo(SHORT[name])
    return np.clip(codes, limits.min, limits.max).astype(numpy_dtype(name))


def dequantize(
    input: Array,
    scale: Array,
    zero_point: Array | None = None,
    axis: Array | None = None,
) -> Array:
    """``scale (input - zero_point)``."""
    codes = input.astype(np.float32)
    if zero_point is not None:
        codes = codes - _along(zero_point, axis, input.ndim).astype(np.float32)
    return _along(scale, axis, input.ndim) * codes


def constexpr_affine_dequantize(
    quantized_data: Array, zero_point: Array, scale: Array, axis: Array
) -> Array:
    """``scale (quantized_data - zero_point)``, either along ``axis``."""
    return dequantize(quantized_data, scale, zero_point, axis)


def constexpr_blockwise_shift_scale(
    data: Array, scale: Array, offset: Array | None = None
) -> Array:
    """``scale (data - offset)``; each scale is that of a block of ``data.shape / scale.shape``.

    Raises:
        ModelError: the blocks do not fit.
    """
    codes = data.astype(np.float32)
    if offset is not None:
        codes = codes - spread(offset, data.shape).astype(np.float32)
    return spread(scale, data.shape) * codes


def spread(values: Array, shape: tuple[int, ...]) -> Array:
    """``values`` repeated in blocks, to be broadcast to ``shape``.

    Raises:
        ModelError: the ranks differ, or the blocks do not fit.
    """
    if values.ndim != len(shape) or any(n % b for n, b in zip(shape, values.shape, strict=False)):
        raise ModelError(f"{values.shape} blocks do not divide an array of {shape}")
    for axis, size in enumerate(shape):
        if values.shape[axis] not in (1, size):
            values = values.repeat(size // values.shape[axis], axis)
    return values


def constexpr_lut_to_dense(
    indices: Array, lut: Array, shape: Array | None = None, vector_axis: Array | None = None
) -> Array:
    """The entries of ``lut`` at ``indices``.

    Of iOS 16, ``lut`` is flat and ``indices`` are packed into bytes, to be read in ``shape``; since
    iOS 18, ``lut`` has axes (group ..., entry, 1), one table per block of ``indices``.

    Raises:
        ModelError: entries that are vectors, or tables that do not fit.
    """
    if shape is not None:
        bits, sizes = int(lut.size).bit_length() - 1, [int(v) for v in shape]
        name = f"uint{bits}"
        count = int(np.prod(sizes))
        flat = indices[:count] if bits == 8 else unpack(indices, count, name)
        return lut[flat].reshape(sizes)
    if lut.ndim != indices.ndim + 2 or lut.shape[-1] != 1:
        raise ModelError(f"a table of {lut.shape} for indices of {indices.shape}")
    if vector_axis is not None and not -indices.ndim <= int(vector_axis) < indices.ndim:
        raise ModelError(f"vector_axis {int(vector_axis)} of indices of {indices.shape}")
    tables = lut[..., 0].reshape(-1, lut.shape[-2])
    groups = np.arange(len(tables)).reshape(lut.shape[:-2])
    return tables[spread(groups, indices.shape), indices]


def constexpr_sparse_to_dense(
    nonzero_data: Array, mask: Array, shape: Array | None = None
) -> Array:
    """``nonzero_data`` where ``mask`` is set, else 0.  Of iOS 16, ``mask`` is packed bits in
    ``shape``."""
    if shape is not None:
        sizes = [int(v) for v in shape]
        count = int(np.prod(sizes))
        mask = np.unpackbits(mask, count=count, bitorder="little").reshape(sizes)
    made = np.zeros(mask.shape, nonzero_data.dtype)
    made[mask != 0] = nonzero_data
    return made


def constexpr_cast(source_val: Array, output_dtype: Array) -> Array:
    """The same values as float32.

    Raises:
        ModelError: another type.
    """
    if str(output_dtype) != "fp32":
        raise ModelError(f"constexpr_cast to {str(output_dtype)!r}; there is fp32")
    return source_val.astype(np.float32)
