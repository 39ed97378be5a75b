"""Packed weights, element by element, and back."""

import numpy as np
import pytest

from oq.model.nbits import pack, unpack
from tests.small import normal

CODES = {"uint4": (0, 16), "int4": (-8, 8), "uint8": (0, 256), "int8": (-128, 128)}


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("rows", [32, 33, 48, 70, 5])
def test_every_code_is_where_the_operator_reads_it(dtype: str, rows: int) -> None:
    """Code (i, o) is in byte (o, i // 16, i % 16), or half of byte (o, i // 16, i % 16 // 2)."""
    random, columns, block = np.random.default_rng(rows), 7, 16
    low, high = CODES[dtype]
    bits, blocks = 4 if "4" in dtype else 8, -(-rows // block)
    codes = random.integers(low, high, (rows, columns)).astype(dtype)
    zero = random.integers(low, high, (blocks, columns)).astype(dtype)
    scale = np.abs(normal(blocks, columns))
    found = pack(codes, scale, zero, block)
    assert found.zero is not None and found.codes.shape == (columns, blocks, block * bits // 8)
    shift = -low if low < 0 else 0
    points = found.zero.reshape(columns, -1)
    for o in range(columns):
        for i in range(rows):
            byte = found.codes[o, i // block, i % block * bits // 8]
            half = byte >> 4 if i % 2 else byte & 15
            assert (byte if bits == 8 else half) == int(codes[i, o]) + shift
        for b in range(blocks):
            byte = points[o, b * bits // 8]
            half = byte >> 4 if b % 2 else byte & 15
            assert (byte if bits == 8 else half) == int(zero[b, o]) + shift
    back = unpack(found, (rows, columns), bits, block)
    np.testing.assert_array_equal(back[0], codes.astype(np.int16) + shift)
    np.testing.assert_array_equal(back[1], scale)
    np.testing.assert_array_equal(back[2], zero.astype(np.int16) + shift)


@pytest.mark.parametrize("dtype", ["int4", "int8"])
def test_middle_zero_points_are_left_out(dtype: str) -> None:
    codes, scale = np.ones((20, 3)).astype(dtype), np.ones((2, 3), np.float32)
    found = pack(codes, scale, np.zeros((2, 3)).astype(dtype), 16)
    bits = int(dtype[3:])
    assert found.zero is None
    back = unpack(found, (20, 3), bits, 16)
    assert (back[2] == 2 ** (bits - 1)).all() and (back[0] == 2 ** (bits - 1) + 1).all()
