"""``weight.bin``: constants one behind another, each with a header of its own.

Little endian.  The file starts with 64 bytes: the number of blobs and the version 2 (uint32 each).
An offset of a program points at a blob's header of 64 bytes: 0xDEADBEEF, the type (uint32 each),
size in bytes, offset of the data in the file, bits of padding behind the last value (uint64 each).
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oq.artifacts.mlpackage.dtypes import BITS, BLOB_DTYPES, numpy_dtype, unpack, width
from oq.errors import ModelError
from oq.numerics.values import Array

SENTINEL, VERSION, HEADER = 0xDEADBEEF, 2, 64
HEAD = "<IIQQQ"


@dataclass(frozen=True, slots=True, eq=False)
class Blobs:
    """The bytes of one file of weights, read."""

    path: Path
    data: Array

    def read(self, offset: int, dtype: str, count: int) -> Array:
        """The ``count`` values at ``offset``, flat; a view where a value takes whole bytes.

        Raises:
            ModelError: there is no blob, it is of another type or size, or the file ends before.
        """
        if offset % 64 or offset + HEADER > len(self.data):
            raise ModelError(f"{self.path.name}: no blob at {offset} in {len(self.data):,} bytes")
        mark, number, size, start, _ = struct.unpack(
            HEAD, self.data[offset : offset + struct.calcsize(HEAD)].tobytes()
        )
        if mark != SENTINEL:
            raise ModelError(f"{self.path.name}: no blob begins at {offset}: it starts {mark:#x}")
        found = BLOB_DTYPES.get(number, f"type {number}")
        if found != dtype:
            raise ModelError(
                f"{self.path.name}: the blob at {offset} is {found}, the program says {dtype}"
            )
        if size != -(-count * width(dtype) // 8):
            raise ModelError(
                f"{self.path.name}: the blob at {offset} has {size:,} bytes, the program says "
                f"{count:,} values of {dtype}"
            )
        if start + size > len(self.data):
            raise ModelError(
                f"{self.path.name} is cut off: the blob at {offset} ends at {start + size:,} of "
                f"{len(self.data):,} bytes"
            )
        values = self.data[start : start + size]
        return unpack(values, count, dtype) if dtype in BITS else values.view(numpy_dtype(dtype))


def open_blobs(path: Path) -> Blobs:
    """The file of weights at ``path``.

    Raises:
        ModelError: it is missing, or of another layout.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise ModelError(f"cannot read {str(path)!r}: {error.strerror}") from error
    if len(data) < HEADER:
        raise ModelError(f"{str(path)!r} has {len(data)} bytes: no file of weights")
    version = struct.unpack("<II", data[:8].tobytes())[1]
    if version != VERSION:
        raise ModelError(f"{str(path)!r}: layout of version {version}; oq reads {VERSION}")
    return Blobs(path, data)
