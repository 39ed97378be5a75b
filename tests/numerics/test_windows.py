"""Convolutions on whole numbers against onnxruntime's own, which is exact on them too."""

from typing import Any

import numpy as np
import pytest

from oq.numerics.values import Array
from oq.numerics.windows import convolve, scatter, window_sums, windows_of
from tests.graphs import Net
from tests.small import reference

RANDOM = np.random.default_rng(1)


def whole(*shape: int) -> Array:
    return RANDOM.integers(-8, 9, shape).astype(np.float32)


def ort(op: str, x: Array, weight: Array | None, **attributes: Any) -> Array:
    net = Net()
    names = [net.input("x", x.shape)]
    if weight is not None:
        names.append(net.constant("w", weight))
    return reference(net.model(net.node(op, names, "y", **attributes)), {"x": x})["y"]


CASES: list[dict[str, Any]] = [
    {},
    {"strides": [2, 2], "pads": [1, 1, 1, 1]},
    {"strides": [1, 3], "pads": [0, 2, 1, 0], "dilations": [2, 1]},
    {"group": 2},
    {"group": 4, "pads": [1, 1, 1, 1]},
    {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
    {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
    {"auto_pad": "VALID"},
]


@pytest.mark.parametrize("attributes", CASES, ids=str)
def test_convolve(attributes: dict[str, Any]) -> None:
    group = attributes.get("group", 1)
    x, w = whole(2, 4, 9, 8), whole(8, 4 // group, 3, 2)
    windows = windows_of(attributes, (3, 2), (9, 8))
    np.testing.assert_array_equal(convolve(x, w, windows, group), ort("Conv", x, w, **attributes))


@pytest.mark.parametrize("rank", [1, 3])
def test_convolve_along_other_numbers_of_axes(rank: int) -> None:
    x, w = whole(2, 3, *[6] * rank), whole(5, 3, *[3] * rank)
    windows = windows_of({"pads": [1] * 2 * rank}, (3,) * rank, (6,) * rank)
    expected = ort("Conv", x, w, pads=[1] * 2 * rank)
    np.testing.assert_array_equal(convolve(x, w, windows, 1), expected)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"strides": [2, 2], "pads": [1, 1, 1, 1]},
        {"strides": [3, 2], "pads": [0, 1, 1, 0], "dilations": [1, 2]},
        {"strides": [2, 2], "output_padding": [1, 0], "pads": [1, 0, 0, 1]},
        {"group": 2, "strides": [2, 1]},
    ],
    ids=str,
)
def test_scatter(attributes: dict[str, Any]) -> None:
    x, w = whole(2, 4, 5, 6), whole(4, 3, 3, 2)
    windows = windows_of(attributes, (3, 2), (5, 6))
    extra = attributes.get("output_padding", (0, 0))
    found = scatter(x, w, windows, attributes.get("group", 1), extra)
    np.testing.assert_array_equal(found, ort("ConvTranspose", x, w, **attributes))


def test_window_sums_are_means_times_their_count() -> None:
    x = whole(2, 3, 8, 8)
    attributes: dict[str, Any] = {"kernel_shape": [2, 4], "strides": [2, 1], "pads": [1, 1, 0, 0]}
    windows = windows_of(attributes, (2, 4), (8, 8))
    means = ort("AveragePool", x, None, count_include_pad=1, **attributes)
    np.testing.assert_array_equal(window_sums(x, windows), means * 8)
