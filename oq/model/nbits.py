"""The weight of onnxruntime's ``MatMulNBits``: codes of 4 or 8 bits in blocks along the inputs.

    y = x W + bias,      W[i, o] = (code[i, o] - zero[b, o]) * scale[b, o],      b = i // block_size

Codes are stored by output, (out, blocks, bytes of a block), two 4-bit codes to a byte, the first in
the lower half; the last block is filled up.  Zero points are (out, bytes of all blocks), packed the
same way; without them they are the middle code, 8 or 128.  Scales are (out, blocks).  All three are
flat in the file.  (onnxruntime ``docs/ContribOperators.md``, com.microsoft.MatMulNBits.)
"""

from dataclasses import dataclass

import numpy as np

from oq.numerics.values import Array

OP, DOMAIN = "MatMulNBits", "com.microsoft"

WIDTHS = (4, 8)
"""Bits that are packed and unpacked here; onnxruntime also has 2."""


@dataclass(frozen=True, slots=True)
class Packed:
    """``codes`` (out, blocks, bytes), ``scale`` (out * blocks,), and ``zero`` (out * bytes,), or
    None where every zero point is the middle code."""

    codes: Array
    scale: Array
    zero: Array | None


def pack(codes: Array, scale: Array, zero: Array, block: int) -> Packed:
    """``codes`` (in, out) with ``scale`` and ``zero`` (blocks, out) as MatMulNBits stores them.

    Signed codes are shifted to unsigned ones by half of their range.
    """
    bits = bits_of(str(codes.dtype))
    middle = 0 if str(codes.dtype).startswith("u") else 2 ** (bits - 1)
    rows, columns = codes.shape
    turned = np.zeros((columns, -(-rows // block) * block * bits // 8), np.uint8)
    for start in range(0, rows, STRIP):
        part = _halves(_unsigned(codes[start : start + STRIP], middle).T, bits)
        first = start * bits // 8
        turned[:, first : first + part.shape[1]] = part
    points = _unsigned(zero, middle).T
    return Packed(
        turned.reshape(columns, -1, block * bits // 8),
        np.ascontiguousarray(scale.T).reshape(-1),
        None if (points == 2 ** (bits - 1)).all() else _halves(points, bits).reshape(-1),
    )


STRIP = 32
"""Rows of codes that are turned at a time: a cache holds a line of each."""


def _unsigned(codes: Array, middle: int) -> Array:
    return (codes.astype(np.int16) + middle).astype(np.uint8)


def unpack(packed: Packed, shape: tuple[int, int], bits: int, block: int) -> tuple[Array, ...]:
    """(codes, scale, zero) as :func:`pack` takes them, for a weight of ``shape`` (in, out); codes
    and zero points are uint8 of ``bits`` bits."""
    rows, columns = shape
    blocks = -(-rows // block)
    codes = _bytes(packed.codes.reshape(columns, blocks, -1), bits, block)
    scale = packed.scale.reshape(columns, blocks).T
    zero = unpack_zero_points(packed.zero, (blocks, columns), bits)
    return codes.reshape(columns, -1)[:, :rows].T, scale, zero


def unpack_zero_points(zero: Array | None, shape: tuple[int, int], bits: int) -> Array:
    """The zero points of ``shape`` (blocks, out), from a file's flat ones or, None, the middle."""
    blocks, columns = shape
    if zero is None:
        return np.full(shape, 2 ** (bits - 1), np.uint8)
    return _bytes(zero.reshape(columns, -1), bits, blocks).T


def bits_of(dtype: str) -> int:
    """4 of int4 and uint4, 8 of int8 and uint8."""
    return int(dtype.removeprefix("u").removeprefix("int"))


def _halves(values: Array, bits: int) -> Array:
    """``values`` (..., count) uint8, two to a byte where they have 4 bits."""
    if bits == 8:
        return values
    if values.shape[-1] % 2:
        values = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, 1)])
    return np.asarray(values[..., ::2] | (values[..., 1::2] << 4))


def _bytes(values: Array, bits: int, count: int) -> Array:
    """The inverse of :func:`_halves`: the first ``count`` values of each row."""
    if bits == 8:
        return values[..., :count]
    both = np.stack((values & 15, values >> 4), axis=-1)
    return np.asarray(both.reshape(*values.shape[:-1], -1)[..., :count])
