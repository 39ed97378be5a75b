"""Pools against onnxruntime's."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.mil import Row, assert_rows, onnx_op

X = np.random.default_rng(0).normal(0, 1, (2, 3, 8, 9)).astype(np.float32)


def both(kernel: list[int], strides: list[int], **more: Any) -> list[Row]:
    """Maximum and both kinds of mean, with padding and with windows that end outside."""
    pads = more.get("pad", [0] * 4)
    ceil = more.get("ceil_mode", False)
    onnx: dict[str, Any] = {
        "kernel_shape": kernel,
        "strides": strides,
        "pads": [*pads[::2], *pads[1::2]],
        "ceil_mode": int(ceil),
    }
    mil: dict[str, Any] = {"kernel_sizes": kernel, "strides": strides, "pad_type": "custom", **more}
    return [
        Row(f"max {more}", lambda mb, x: mb.max_pool(x=x, **mil), onnx_op("MaxPool", X, **onnx)),
        *(
            Row(
                f"average {more} {count}",
                lambda mb, x, count=count: mb.avg_pool(
                    x=x, exclude_padding_from_average=not count, **mil
                ),
                onnx_op("AveragePool", X, count_include_pad=int(count), **onnx),
            )
            for count in (False, True)
        ),
    ]


def test_pools(tmp_path: Path) -> None:
    rows = [
        *both([3, 2], [2, 2]),
        *both([3, 3], [2, 2], pad=[1, 0, 1, 1]),
        *both([3, 3], [2, 2], ceil_mode=True),
        *both([3, 3], [2, 3], pad=[1, 1, 1, 1], ceil_mode=True),
        Row(
            "same",
            lambda mb, x: mb.max_pool(x=x, kernel_sizes=[3, 2], strides=[2, 2], pad_type="same"),
            onnx_op("MaxPool", X, kernel_shape=[3, 2], strides=[2, 2], auto_pad="SAME_UPPER"),
        ),
        Row(
            "valid",
            lambda mb, x: mb.avg_pool(x=x, kernel_sizes=[8, 9], pad_type="valid"),
            X.mean((2, 3), keepdims=True),
        ),
    ]
    assert_rows(tmp_path / "p.mlpackage", rows, X)


@pytest.mark.parametrize("axes", [1, 3])
def test_in_one_and_three_dimensions(axes: int, tmp_path: Path) -> None:
    x = np.random.default_rng(1).normal(0, 1, (1, 2, *(6, 5, 4)[:axes])).astype(np.float32)
    size = [2] * axes
    rows = [
        Row(
            "max",
            lambda mb, x: mb.max_pool(x=x, kernel_sizes=size, strides=size, pad_type="valid"),
            onnx_op("MaxPool", x, kernel_shape=size, strides=size),
        )
    ]
    assert_rows(tmp_path / "p.mlpackage", rows, x)
