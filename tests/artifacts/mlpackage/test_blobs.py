"""``weight.bin`` as coremltools' own library writes it, and damaged."""

from pathlib import Path

import numpy as np
import pytest

from oq.artifacts.mlpackage.blobs import open_blobs
from oq.errors import ModelError

VALUES = np.arange(13)
PLAIN = {"int8": "int8", "uint8": "uint8", "int16": "int16", "uint16": "uint16",
         "int32": "int32", "uint32": "uint32", "float": "float32"}  # fmt: skip
SMALL = {"int4": 8, "uint1": 2, "uint2": 4, "uint3": 8, "uint4": 16, "uint6": 64}


def test_every_type_reads_as_written(tmp_path: Path) -> None:
    storage = pytest.importorskip("coremltools.libmilstoragepython")
    from coremltools.converters.mil.mil import types
    from coremltools.converters.mil.mil.types.type_mapping import nptype_from_builtin

    path = tmp_path / "weight.bin"
    writer = storage._BlobStorageWriter(str(path))
    places = {}
    for name, dtype in PLAIN.items():
        values = VALUES.astype(dtype)
        places[dtype] = getattr(writer, f"write_{name}_data")(values), values
    halves = VALUES.astype(np.float16) / 3
    places["float16"] = writer.write_fp16_data(halves.view(np.uint16)), halves
    for name, levels in SMALL.items():
        values = VALUES % levels - (4 if name == "int4" else 0)
        typed = values.astype(nptype_from_builtin(getattr(types, name)))
        places[name] = getattr(writer, f"write_{name}_data")(typed), values
    del writer  # closes the file
    blobs = open_blobs(path)
    for dtype, (offset, values) in places.items():
        np.testing.assert_array_equal(blobs.read(offset, dtype, 13), values)
        with pytest.raises(ModelError, match=rf"blob at {offset} has .* 31 values"):
            blobs.read(offset, dtype, 31)


def test_damage_is_told_in_one_line(tmp_path: Path) -> None:
    head = np.array([1, 2, *[0] * 14], "<u4").tobytes()
    blob = np.array([0xDEADBEEF, 4], "<u4").tobytes() + np.array([8, 128, 0], "<u8").tobytes()
    whole = head + blob.ljust(64, b"\0") + bytes(range(8))
    path = tmp_path / "weight.bin"
    path.write_bytes(whole)
    np.testing.assert_array_equal(open_blobs(path).read(64, "int8", 8), np.arange(8))
    for offset, dtype, said in (
        (64, "uint8", "is int8, the program says uint8"),
        (0, "int8", "no blob begins at 0"),
        (128, "int8", "no blob at 128 in 136 bytes"),
        (65, "int8", "no blob at 65"),
    ):
        with pytest.raises(ModelError, match=said):
            open_blobs(path).read(offset, dtype, 8)
    path.write_bytes(whole[:-1])
    with pytest.raises(ModelError, match="is cut off: the blob at 64 ends at 136 of 135"):
        open_blobs(path).read(64, "int8", 8)
    path.write_bytes(whole.replace(b"\2", b"\3", 1))
    with pytest.raises(ModelError, match="layout of version 3"):
        open_blobs(path)
    path.write_bytes(b"")
    with pytest.raises(ModelError, match="has 0 bytes"):
        open_blobs(path)
