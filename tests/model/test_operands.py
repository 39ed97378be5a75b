"""Operands: which sums onnxruntime fuses into a product, and what constants mean."""

from itertools import product

import numpy as np
import onnx
import pytest

from oq.model.operands import (
    CLIP_LIMITS,
    added_row,
    clip_bounds,
    factor_of,
    gemm_sum,
    is_padded,
    pads_zeros,
)
from oq.model.session import optimized_ops
from tests.graphs import Net
from tests.small import small, view

DATA = ((2, 4), (5, 2, 4), ("n", 4), ("n", 2, 4))
ADDED = ((3,), (1, 3), (2, 1), (2, 3), (1,), ("n", 3))


def summed(data: tuple[int | str, ...], added: tuple[int | str, ...]) -> onnx.ModelProto:
    """``x w + b``, all of that float."""
    net = Net()
    p = net.node("MatMul", [net.input("x", data), net.weight("w", 4, 3)], "p")
    return net.model(net.node("Add", [p, net.input("b", added)], "y"))


@pytest.mark.parametrize(("data", "added"), [*product(DATA, ADDED)])
def test_what_onnxruntime_fuses_into_a_gemm(
    data: tuple[int | str, ...], added: tuple[int | str, ...]
) -> None:
    model = summed(data, added)
    shown = view(model)
    found = gemm_sum(shown, shown.nodes[0])
    assert (found is not None) == (optimized_ops(model)["Gemm"] > 0)
    if found is not None:
        assert (found[0].op, found[1]) == ("Add", "b")


def test_a_sum_of_unknown_shape_may_be_fused() -> None:
    net = Net()
    p = net.node("MatMul", [net.input("x", (2, 4)), net.weight("w", 4, 3)], "p")
    model = net.model(net.node("Add", [p, net.input("b", None)], "y"))
    shown = view(model)
    assert gemm_sum(shown, shown.nodes[0]) is None
    assert gemm_sum(shown, shown.nodes[0], perhaps=True) is not None


def test_a_product_that_others_read_is_not_fused() -> None:
    net = Net()
    p = net.node("MatMul", [net.input("x", (2, 4)), net.weight("w", 4, 3)], "p")
    y = net.node("Add", [p, net.input("b", (3,))], "y")
    model = net.model(y, net.node("Tanh", [p], "z"))
    shown = view(model)
    assert gemm_sum(shown, shown.nodes[0]) is None and not optimized_ops(model)["Gemm"]


@pytest.mark.parametrize(("data", "row"), [((5, 2, 4), True), ((2, 4), False)])
def test_a_row_is_added_to_data_with_more_axes(data: tuple[int, ...], row: bool) -> None:
    net = Net()
    p = net.node("MatMul", [net.input("x", data), net.weight("w", 4, 3)], "p")
    shown = view(net.model(net.node("Add", [p, net.constant("b", [1, 2, 3])], "y")))
    assert (added_row(shown, shown.nodes[0]) is not None) == row


@pytest.mark.parametrize(
    ("node", "bounds"),
    [
        ("y = Relu(x)", (0.0, np.inf)),
        ("y = Clip(x, low, high)", (-1.0, 6.0)),
        ("y = Clip(x, low)", (-1.0, np.inf)),
        ("y = Clip(x, , high)", (-np.inf, 6.0)),
        ("v = ReduceMax<keepdims = 0>(x) y = Clip(x, low, v)", None),
    ],
)
def test_limits_of_activations_that_clip(node: str, bounds: tuple[float, float] | None) -> None:
    constants = {"low": np.float32(-1), "high": np.float32(6)}
    arrays = {name: np.asarray(value) for name, value in constants.items()}
    shown = view(small(f"net (float[n,3] x) => (float[n,3] y) {{ {node} }}", arrays))
    last = shown.nodes[-1]
    assert CLIP_LIMITS[last.op](shown, last) == bounds


def test_bounds_of_a_clip_before_opset_11_are_attributes() -> None:
    shown = view(small("net (float[n,3] x) => (float[n,3] y) { y = Clip<max = 6.0>(x) }", opset=10))
    assert clip_bounds(shown, shown.nodes[0]) == (None, 6.0)


@pytest.mark.parametrize(
    ("value", "factor"),
    [(2.0, 2.0), (0.0, None), (-2.0, None), (np.inf, None), ([2.0, 3, 4], None)],
)
def test_a_positive_constant_factor(value: float | list[float], factor: float | None) -> None:
    constants = {"c": np.asarray(value, np.float32)}
    shown = view(small("net (float[n,3] x) => (float[n,3] y) { y = Mul(c, x) }", constants))
    assert factor_of(shown, shown.nodes[0]) == (None if factor is None else ("x", factor))


@pytest.mark.parametrize(
    ("attributes", "padded"),
    [
        ({}, False),
        ({"pads": [0, 0, 1, 0]}, True),
        ({"pads": [0, 0, 0, 0]}, False),
        ({"auto_pad": "SAME_UPPER"}, True),
        ({"auto_pad": "VALID", "pads": [1, 1, 1, 1]}, False),
    ],
)
def test_windows_that_go_beyond_their_input(attributes: dict[str, object], padded: bool) -> None:
    assert is_padded(attributes) == padded


@pytest.mark.parametrize(
    ("text", "zeros"),
    [
        ("y = Pad(x, sizes)", True),
        ("y = Pad(x, sizes, none)", True),
        ("y = Pad(x, sizes, one)", False),
        ('y = Pad<mode = "edge">(x, sizes)', False),
        ("y = Pad(x, sizes, seen)", False),
    ],
)
def test_pads_with_zeros(text: str, zeros: bool) -> None:
    constants = {
        "sizes": np.asarray([0, 1, 0, 1]),
        "none": np.asarray(0, np.float32),
        "one": np.asarray(1, np.float32),
    }
    shown = view(small(f"net (float[n,3] x, float seen) => (float[n,5] y) {{ {text} }}", constants))
    assert pads_zeros(shown, shown.nodes[0]) == zeros
