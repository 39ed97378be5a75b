"""Q/DQ against onnxruntime's, and compressed weights against their formula."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oq.artifacts.mlpackage.ops.quantized import constexpr_sparse_to_dense, quantize
from oq.errors import ModelError
from tests.mil import Row, assert_rows, onnx_op

RANDOM = np.random.default_rng(0)
X = np.concatenate([RANDOM.normal(0, 5, 996), [0.05, -0.05, 1e6, -1e6]])
X = X.astype(np.float32).reshape(1, 4, 10, 25)
SCALE = np.float32(0.1)


@pytest.mark.parametrize(("dtype", "zero"), [("int8", 0), ("int8", -17), ("uint8", 3)])
def test_codes_are_onnxruntime_s(dtype: str, zero: int, tmp_path: Path) -> None:
    """Ties (0.05 at a scale of 0.1) and saturation included."""
    point = np.array(zero, dtype)
    codes = onnx_op("QuantizeLinear", X, np.asarray(SCALE), point)
    kind: dict[str, Any] = {"scale": SCALE, **({"zero_point": point[()]} if zero else {})}

    def quantized(mb: Any, x: Any) -> Any:
        return mb.quantize(input=x, output_dtype=dtype, **kind)

    rows = [
        Row("q", quantized, codes),
        Row(
            "dq",
            lambda mb, x: mb.dequantize(input=quantized(mb, x), **kind),
            onnx_op("DequantizeLinear", codes, np.asarray(SCALE), point),
        ),
    ]
    assert_rows(tmp_path / "p.mlpackage", rows, X)


def test_along_an_axis(tmp_path: Path) -> None:
    scales = np.array([0.1, 0.2, 0.05, 0.4], np.float32)
    points = np.array([0, 1, -2, 3], np.int8)
    kind = {"scale": scales, "zero_point": points, "axis": 1}
    codes = onnx_op("QuantizeLinear", X, scales, points, axis=1)
    rows = [Row("q", lambda mb, x: mb.quantize(input=x, output_dtype="int8", **kind), codes)]
    assert_rows(tmp_path / "p.mlpackage", rows, X)


def test_weights_of_ios_16_and_17(tmp_path: Path) -> None:
    codes = RANDOM.integers(0, 256, (5, 6)).astype(np.uint8)
    scales, points = RANDOM.uniform(0.1, 1, 6).astype(np.float32), np.arange(6, dtype=np.uint8)
    lut = RANDOM.normal(0, 1, 4).astype(np.float32)
    indices = RANDOM.integers(0, 4, (3, 5)).astype(np.uint8)
    bits = (indices.reshape(-1, 1) >> np.arange(2)) & 1
    packed = np.packbits(bits.reshape(-1).astype(np.uint8), bitorder="little")
    mask = RANDOM.integers(0, 2, (3, 5)).astype(np.uint8)
    kept = RANDOM.normal(0, 1, int(mask.sum())).astype(np.float32)
    sparse = np.zeros((3, 5), np.float32)
    sparse[mask == 1] = kept
    half = RANDOM.normal(0, 1, (3, 5)).astype(np.float16)
    rows = [
        Row(
            "cast",
            lambda mb, x: mb.constexpr_cast(source_val=half, output_dtype="fp32"),
            half.astype(np.float32),
        ),
        Row(
            "affine",
            lambda mb, x: mb.constexpr_affine_dequantize(
                quantized_data=codes, scale=scales, zero_point=points, axis=1
            ),
            scales * (codes.astype(np.float32) - points),
        ),
        Row(
            "palette",
            lambda mb, x: mb.constexpr_lut_to_dense(
                indices=packed, lut=lut, shape=np.array([3, 5], np.uint32)
            ),
            lut[indices],
        ),
        Row(
            "sparse",
            lambda mb, x: mb.constexpr_sparse_to_dense(
                nonzero_data=kept,
                mask=np.packbits(mask.reshape(-1), bitorder="little"),
                shape=np.array([3, 5], np.uint32),
            ),
            sparse,
        ),
    ]
    assert_rows(tmp_path / "p.mlpackage", rows, X, ios=17)


def test_weights_of_ios_18(tmp_path: Path) -> None:
    from coremltools.converters.mil.mil import types
    from coremltools.converters.mil.mil.types.type_mapping import nptype_from_builtin

    int4, uint2 = (nptype_from_builtin(t) for t in (types.int4, types.uint2))
    codes = RANDOM.integers(-8, 8, (4, 8))
    scales, offsets = (RANDOM.uniform(0.1, 1, (4, 2)).astype(np.float32) for _ in range(2))
    tables = RANDOM.normal(0, 1, (2, 1, 4, 1)).astype(np.float32)
    indices = RANDOM.integers(0, 4, (4, 8))
    found = np.concatenate([tables[g, 0, :, 0][indices[2 * g : 2 * g + 2]] for g in range(2)])
    block = np.repeat(np.arange(2), 4)
    rows = [
        Row(
            "int4 in blocks",
            lambda mb, x: mb.constexpr_blockwise_shift_scale(
                data=codes.astype(int4), scale=scales, offset=offsets
            ),
            scales[:, block] * (codes.astype(np.float32) - offsets[:, block]),
        ),
        Row(
            "palettes",
            lambda mb, x: mb.constexpr_lut_to_dense(indices=indices.astype(uint2), lut=tables),
            found,
        ),
    ]
    assert_rows(tmp_path / "p.mlpackage", rows, X)


def test_what_apple_s_rules_forbid_is_refused() -> None:
    with pytest.raises(ModelError, match=r"scale of -0\.1"):
        quantize(X, np.array(-0.1), np.array("int8"))
    with pytest.raises(ModelError, match="int16"):
        quantize(X, np.array(0.1), np.array("int16"))
    with pytest.raises(ModelError, match="without an axis"):
        quantize(X, np.full(4, 0.1), np.array("int8"))
    with pytest.raises(ValueError, match="NumPy boolean array indexing"):
        constexpr_sparse_to_dense(np.ones(3, np.float32), np.ones(4, np.uint8))
