"""Convolutions against onnxruntime's, in one to three dimensions."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oq.artifacts.mlpackage.ops.convolution import conv, conv_transpose
from oq.errors import ModelError
from oq.numerics.values import Array
from tests.mil import Row, assert_rows, onnx_op

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(0, 1, (2, 4, 7, 9)).astype(np.float32)


def weight(*shape: int) -> Array:
    return RANDOM.normal(0, 1, shape).astype(np.float32)


FULL, GROUPED, DEPTHWISE = weight(6, 4, 3, 2), weight(6, 2, 3, 3), weight(4, 1, 3, 3)
WIDER, BIAS = weight(8, 1, 3, 3), weight(6)
BACK, BACK_GROUPED = weight(4, 3, 3, 2), weight(4, 2, 2, 2)


def made(**inputs: Any) -> Any:
    return lambda mb, x: mb.conv(x=x, **inputs)


def test_convolutions_and_their_paddings(tmp_path: Path) -> None:
    custom = {"pad_type": "custom", "pad": [1, 2, 0, 3]}
    rows = [
        Row("valid", made(weight=FULL, bias=BIAS), onnx_op("Conv", X, FULL, BIAS)),
        Row("custom", made(weight=FULL, **custom), onnx_op("Conv", X, FULL, pads=[1, 0, 2, 3])),
        Row(
            "strided",
            made(weight=GROUPED, groups=2, strides=[2, 3], **custom),
            onnx_op("Conv", X, GROUPED, group=2, strides=[2, 3], pads=[1, 0, 2, 3]),
        ),
        Row(
            "dilated",
            made(weight=FULL, dilations=[2, 3], bias=BIAS),
            onnx_op("Conv", X, FULL, BIAS, dilations=[2, 3]),
        ),
        Row(
            "depthwise",
            made(weight=DEPTHWISE, groups=4, strides=[2, 1], **custom),
            onnx_op("Conv", X, DEPTHWISE, group=4, strides=[2, 1], pads=[1, 0, 2, 3]),
        ),
        Row(
            "two_per_channel",
            made(weight=WIDER, groups=4),
            onnx_op("Conv", X, WIDER, group=4),
        ),
        Row(
            "same",
            made(weight=FULL, pad_type="same", strides=[2, 2]),
            onnx_op("Conv", X, FULL, auto_pad="SAME_UPPER", strides=[2, 2]),
        ),
        Row(
            "same_lower",
            made(weight=FULL, pad_type="same_lower", strides=[1, 2]),
            onnx_op("Conv", X, FULL, auto_pad="SAME_LOWER", strides=[1, 2]),
        ),
    ]
    assert_rows(tmp_path / "p.mlpackage", rows, X)


@pytest.mark.parametrize("axes", [1, 3])
def test_in_one_and_three_dimensions(axes: int, tmp_path: Path) -> None:
    x, kernel = weight(1, 4, *(6, 5, 7)[:axes]), weight(6, 2, *(3, 2, 3)[:axes])
    back = weight(4, 2, *(2, 3, 2)[:axes])
    rows = [
        Row("conv", made(weight=kernel, groups=2), onnx_op("Conv", x, kernel, group=2)),
        Row(
            "transposed",
            lambda mb, x: mb.conv_transpose(x=x, weight=back, strides=[2] * axes),
            onnx_op("ConvTranspose", x, back, strides=[2] * axes),
        ),
    ]
    assert_rows(tmp_path / "p.mlpackage", rows, x)


def test_transposed_convolutions(tmp_path: Path) -> None:
    bias = BIAS[:3]
    rows = [
        Row(
            "custom",
            lambda mb, x: mb.conv_transpose(
                x=x, weight=BACK, bias=bias, strides=[2, 3], pad_type="custom", pad=[1, 0, 0, 2]
            ),
            onnx_op("ConvTranspose", X, BACK, bias, strides=[2, 3], pads=[1, 0, 0, 2]),
        ),
        Row(
            "grouped",
            lambda mb, x: mb.conv_transpose(x=x, weight=BACK_GROUPED, groups=2, dilations=[2, 1]),
            onnx_op("ConvTranspose", X, BACK_GROUPED, group=2, dilations=[2, 1]),
        ),
        Row(
            "same",
            lambda mb, x: mb.conv_transpose(x=x, weight=BACK, strides=[2, 2], pad_type="same"),
            onnx_op("ConvTranspose", X, BACK, strides=[2, 2], pads=[0, 0, 1, 0]),
        ),
    ]
    assert_rows(tmp_path / "p.mlpackage", rows, X)


def test_paddings_that_contradict_are_refused() -> None:
    with pytest.raises(ModelError, match=r"pad \[1, 1, 1, 1\] with pad_type 'valid'"):
        conv(X, FULL, pad=np.ones(4, np.int32))
    with pytest.raises(ModelError, match="pad_type 'full'"):
        conv(X, FULL, pad_type="full")
    with pytest.raises(ModelError, match=r"output_shape .* by the padding"):
        conv_transpose(X, BACK, output_shape=np.array([2, 3, 8, 8]))
    with pytest.raises(ModelError, match=r"conv of \(2, 4, 7, 9\) by"):
        conv(X, GROUPED)
