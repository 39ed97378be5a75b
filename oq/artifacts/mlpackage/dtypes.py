"""The data types of ML programs: their numbers in protobuf and in ``weight.bin``, and NumPy's."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from oq.numerics.values import Array

DTYPES: Mapping[int, str] = {
    1: "bool",
    2: "string",
    10: "float16",
    11: "float32",
    12: "float64",
    21: "int8",
    22: "int16",
    23: "int32",
    24: "int64",
    25: "int4",
    31: "uint8",
    32: "uint16",
    33: "uint32",
    34: "uint64",
    35: "uint4",
    36: "uint2",
    37: "uint1",
    38: "uint6",
    39: "uint3",
}
"""``DataType`` of MIL.proto -> name.  8-bit floats and bfloat16 are not read."""

BLOB_DTYPES: Mapping[int, str] = {
    1: "float16",
    2: "float32",
    3: "uint8",
    4: "int8",
    6: "int16",
    7: "uint16",
    8: "int4",
    9: "uint1",
    10: "uint2",
    11: "uint4",
    12: "uint3",
    13: "uint6",
    14: "int32",
    15: "uint32",
}
"""The type in the header of a blob -> name."""

ARRAY_DTYPES: Mapping[int, str] = {
    65552: "float16",
    65568: "float32",
    65600: "float64",
    131080: "int8",
    131104: "int32",
}
"""``ArrayDataType`` of FeatureTypes.proto -> name."""

SHORT: Mapping[str, str] = {
    "fp16": "float16",
    "fp32": "float32",
    **{
        name: name
        for name in ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")
    },
}
"""A type as operations spell it (``dtype`` of cast, ``output_dtype`` of quantize) -> name."""

FLOATS = frozenset({"float16", "float32", "float64"})

BITS: Mapping[str, int] = {"int4": 4, "uint1": 1, "uint2": 2, "uint3": 3, "uint4": 4, "uint6": 6}
"""Types of less than a byte -> their width."""


def numpy_dtype(name: str) -> np.dtype[Any]:
    """What holds values of type ``name``: of less than a byte, one byte each."""
    if name in BITS:
        return np.dtype("int8" if name.startswith("int") else "uint8")
    return np.dtype(name)


def width(name: str) -> int:
    """Bits per value."""
    return BITS.get(name, numpy_dtype(name).itemsize * 8)


def unpack(data: Array, count: int, name: str) -> Array:
    """The first ``count`` values of type ``name`` (less than a byte) in the bytes ``data``.

    Values lie one behind another from the least significant bit up; int4 is in two's complement.

    >>> unpack(np.array([0xDC], np.uint8), 2, "int4").tolist()
    [-4, -3]
    """
    bits = BITS[name]
    flags = np.unpackbits(data, count=count * bits, bitorder="little").reshape(count, bits)
    codes = flags @ (1 << np.arange(bits)).astype(np.uint8)
    if name.startswith("int"):
        return (codes.astype(np.int8) ^ (1 << (bits - 1))) - np.int8(1 << (bits - 1))
    return codes
