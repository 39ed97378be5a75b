"""Grids and weights as a package has them, in each way of storing them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oq.artifacts.mlpackage.package import open_file
from oq.errors import ModelError
from tests.mil import edit_model, operation_of, save_package, small_package

WEIGHT = "constexpr_blockwise_shift_scale"
RANDOM = np.random.default_rng(0)
CODES = RANDOM.integers(-127, 128, (4, 6)).astype(np.int8)


@pytest.mark.parametrize("ios", [17, 18])
@pytest.mark.parametrize("half", [False, True])
def test_pairs_and_weights_of_a_convolution(ios: int, half: bool, tmp_path: Path) -> None:
    package = open_file(small_package(tmp_path / "m.mlpackage", ios=ios, half=half))
    end = "_cast_fp16" if half else ""
    found = [(q.kind, q.output, q.dtype, int(q.zero_point), q.axis) for q in package.quantizers()]
    assert found == [
        ("quantize", f"xq{end}", "int8", 0, None),
        ("dequantize", f"xd{end}", "int8", 0, None),
        ("quantize", f"yq{end}", "uint8", 3, None),
        ("dequantize", "y_cast_fp16" if half else "y", "uint8", 3, None),
    ]
    scales = [0.05, 0.05, 0.02, 0.02]
    expected = np.array(scales, np.float16 if half else np.float32)
    np.testing.assert_array_equal([q.scale for q in package.quantizers()], expected)
    (weight,) = package.weights()
    random = np.random.default_rng(0)
    np.testing.assert_array_equal(weight.codes, random.integers(-127, 128, (4, 3, 3, 3)))
    exact = random.uniform(0.002, 0.01, 4).astype(np.float32)
    exact = exact.astype(np.float16).astype(np.float32) if half else exact
    np.testing.assert_array_equal(weight.scale, exact)
    assert (weight.tensor, weight.dtype, weight.axis) == (f"w{end}", "int8", 0)
    assert not weight.zero_point.any()


def test_every_way_of_storing(tmp_path: Path) -> None:
    from coremltools.converters.mil.mil import types
    from coremltools.converters.mil.mil.types.type_mapping import nptype_from_builtin

    int4, uint2 = (nptype_from_builtin(t) for t in (types.int4, types.uint2))
    small = RANDOM.integers(-8, 8, (4, 6))
    blocks = RANDOM.uniform(0.1, 1, (4, 2)).astype(np.float32)
    columns = RANDOM.uniform(0.1, 1, (1, 6)).astype(np.float32)
    indices = RANDOM.integers(0, 4, (4, 6))
    table = RANDOM.normal(0, 1, (1, 1, 4, 1)).astype(np.float32)

    def body(mb: Any, x: Any) -> Any:
        stored = [
            mb.constexpr_blockwise_shift_scale(data=small.astype(int4), scale=blocks, name="b"),
            mb.constexpr_blockwise_shift_scale(data=CODES, scale=columns, name="c"),
            mb.constexpr_blockwise_shift_scale(data=CODES, scale=columns[:, :1], name="t"),
            mb.constexpr_lut_to_dense(indices=indices.astype(uint2), lut=table, name="p"),
            mb.dequantize(input=CODES, scale=columns[0], zero_point=CODES[0], axis=1, name="d"),
        ]
        made = x
        for weight in stored:
            made = mb.add(x=made, y=weight)
        return made

    package = open_file(save_package(tmp_path / "m.mlpackage", body, {"x": (4, 6)}))
    found = {w.tensor: w for w in package.weights()}
    assert {n: (w.dtype, w.axis, w.scale.shape) for n, w in found.items()} == {
        "b": ("int4", None, (4, 2)),
        "c": ("int8", 1, (6,)),
        "t": ("int8", None, ()),
        "p": ("uint2", None, ()),
        "d": ("int8", 1, (6,)),
    }
    np.testing.assert_array_equal(found["b"].codes, small)
    np.testing.assert_array_equal(found["p"].codes, indices)
    np.testing.assert_array_equal(found["d"].zero_point, CODES[0])
    lut = found["p"].lut
    assert lut is not None
    np.testing.assert_array_equal(lut, table[..., 0])
    assert not package.quantizers(), "a dequantize of a constant is a weight"


@pytest.mark.parametrize(
    ("kind", "key"), [("quantize", "input"), ("quantize", "scale"), (WEIGHT, "data")]
)
def test_an_input_that_is_gone_is_told(kind: str, key: str, tmp_path: Path) -> None:
    path = small_package(tmp_path / "m.mlpackage")
    edit_model(path, lambda model: operation_of(model, kind).inputs.pop(key))
    with pytest.raises(ModelError, match=kind):
        open_file(path).contents()


def test_palettes_of_ios_16_are_unpacked(tmp_path: Path) -> None:
    indices = RANDOM.integers(0, 4, (4, 6)).astype(np.uint8)
    bits = ((indices.reshape(-1, 1) >> np.arange(2)) & 1).astype(np.uint8)
    table = np.arange(4, dtype=np.float32)

    def body(mb: Any, x: Any) -> Any:
        packed = np.packbits(bits.reshape(-1), bitorder="little")
        sizes = np.array([4, 6], np.uint32)
        return mb.add(x=x, y=mb.constexpr_lut_to_dense(indices=packed, lut=table, shape=sizes))

    path = save_package(tmp_path / "m.mlpackage", body, {"x": (4, 6)}, ios=16)
    (weight,) = open_file(path).weights()
    np.testing.assert_array_equal(weight.codes, indices)
    assert weight.dtype == "uint2"
