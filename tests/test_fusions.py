"""Every pattern that onnxruntime fuses: a small model through oq, and its optimized graph.

Each case stands between two convolutions, so that codes come in and are wanted behind it.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import oq
from oq.model.session import optimized_ops
from oq.numerics.values import Array
from tests.graphs import Net
from tests.small import normal, reference

X = {"x": normal(6, 4, 8, 8)}
ROWS = {"x": normal(6, 16)}


def between(
    op: str, *more: tuple[str, list[float], type], width: int = 4, **attributes: object
) -> onnx.ModelProto:
    """``x -> conv -> op -> conv``; ``more`` are the op's further, constant inputs."""
    net = Net()
    names = [net.conv(net.input("x"), "a")]
    names += [net.constant(n, v, t) if n else "" for n, v, t in more]
    net.node(op, names, "t", **attributes)
    return net.model(net.node("Conv", ["t", net.weight("w_y", 4, width, 1, 1)], "y"))


def of_two(op: str, behind: str = "", **attributes: Any) -> onnx.ModelProto:
    net = Net()
    x = net.input("x")
    t = net.node(op, [net.conv(x, "a"), net.conv(x, "b")], "t", **attributes)
    return net.model(net.conv(net.node(behind, [t], "r") if behind else t, "y"))


def split() -> onnx.ModelProto:
    net = Net()
    a = net.conv(net.input("x"), "a")
    net.nodes.append(helper.make_node("Split", [a], ["p", "q"], "n_split", axis=2, num_outputs=2))
    return net.model(net.conv("p", "y"), net.conv("q", "z"))


def expand() -> onnx.ModelProto:
    net = Net()
    g = net.node("GlobalAveragePool", [net.conv(net.input("x"), "a")], "g")
    t = net.node("Expand", [g, net.constant("s", [1, 1, 8, 8], np.int64)], "t")
    return net.model(net.conv(t, "y"))


def linear(op: str = "Gemm", behind: str = "", bias: int = 1) -> onnx.ModelProto:
    net = Net()
    x, w = net.input("x", ("n", 16)), net.weight("w", 16, 8)
    b = net.weight("b", *((1, 8) if bias == 2 else (8,)))
    if op == "Gemm":
        y = net.node("Gemm", [x, w, b], "g")
    else:
        y = net.node("MatMul", [x, w], "m")
        y = net.node("Add", [y, b], "g") if bias else y
    return net.model(net.node(behind, [y], "y") if behind else y)


I64, F32 = np.int64, np.float32
CASES: dict[str, tuple[Callable[[], onnx.ModelProto], dict[str, int]]] = {
    "Add": (lambda: of_two("Add"), {"QLinearAdd": 1}),
    "Add+Relu": (lambda: of_two("Add", "Relu"), {"QLinearAdd": 1, "Relu": 0}),
    "Mul": (lambda: of_two("Mul"), {"QLinearMul": 1}),
    "Concat": (lambda: of_two("Concat", axis=2), {"QLinearConcat": 1}),
    "Sigmoid": (lambda: between("Sigmoid"), {"QLinearSigmoid": 1}),
    "LeakyRelu": (lambda: between("LeakyRelu"), {"QLinearLeakyRelu": 1}),
    "GlobalAveragePool": (lambda: between("GlobalAveragePool"), {"QLinearGlobalAveragePool": 1}),
    "AveragePool of all": (
        lambda: between("AveragePool", kernel_shape=[8, 8]),
        {"QLinearAveragePool": 1},
    ),
    "MaxPool": (lambda: between("MaxPool", kernel_shape=[2, 2]), {"NhwcMaxPool": 1}),
    "Resize": (
        lambda: between("Resize", ("", [], F32), ("s", [1, 1, 2, 2], F32), mode="nearest"),
        {"Resize": 1},
    ),
    "ReduceMax": (lambda: between("ReduceMax", ("s", [2, 3], I64)), {"ReduceMax": 1}),
    "ReduceMin": (lambda: between("ReduceMin", ("s", [2, 3], I64)), {"ReduceMin": 1}),
    "Gather": (lambda: between("Gather", ("s", [3, 1, 0, 2], I64), axis=1), {"Gather": 1}),
    "Slice": (
        lambda: between("Slice", ("s", [0], I64), ("e", [4], I64), ("d", [2], I64)),
        {"Slice": 1},
    ),
    "Tile": (lambda: between("Tile", ("s", [1, 1, 2, 2], I64)), {"Tile": 1}),
    "Transpose": (lambda: between("Transpose", perm=[0, 1, 3, 2]), {}),
    "DepthToSpace": (lambda: between("DepthToSpace", width=1, blocksize=2), {"DepthToSpace": 1}),
    "Expand": (expand, {"Expand": 1, "QLinearGlobalAveragePool": 1}),
    "Split": (split, {"Split": 1}),
}


@pytest.mark.parametrize("case", CASES)
def test_it_runs_on_codes(case: str) -> None:
    """One QuantizeLinear at the input, one DequantizeLinear per output, none between."""
    build, kernels = CASES[case]
    found = ran(build(), X)
    assert {op: found[op] for op in kernels} == kernels
    assert found["QuantizeLinear"] == 1
    assert found["DequantizeLinear"] == (2 if case == "Split" else 1)
    assert found["Conv"] == found["FusedConv"] == 0


@pytest.mark.parametrize(
    ("model", "kernel"),
    [
        (linear(), "QGemm"),
        (linear(behind="Relu"), "QGemm"),
        (linear(behind="Gelu"), "QGemm"),
        (linear(bias=2), "QGemm"),
        (linear("MatMul"), "QGemm"),
        (linear("MatMul", "Gelu"), "QGemm"),
        (linear("MatMul", "Relu"), "QGemm"),
        (linear("MatMul", bias=0), "MatMulIntegerToFloat"),
    ],
)
def test_linear_layers_run_in_integers_whatever_follows(
    model: onnx.ModelProto, kernel: str
) -> None:
    found = ran(model, ROWS)
    assert found[kernel] == 1
    assert found["Gemm"] == found["MatMul"] == found["FusedGemm"] == 0


@pytest.mark.parametrize(
    ("op", "attributes"),
    [("AveragePool", {"kernel_shape": [3, 3]}), ("Softmax", {"axis": 1}), ("HardSigmoid", {})],
)
def test_what_the_plan_leaves_in_float_runs_in_float(op: str, attributes: dict[str, Any]) -> None:
    found = ran(between(op, **attributes), X)
    assert found[op] == 1
    assert found["QLinearConv"] == 2


def test_convtranspose_keeps_its_float_weights() -> None:
    """onnxruntime would give them int8 codes with one scale, and turn those back at every run."""
    net = Net()
    t = net.node("ConvTranspose", [net.conv(net.input("x"), "a"), net.weight("w", 4, 4, 2, 2)], "t")
    found = ran(net.model(net.conv(t, "y")), X)
    assert found["DequantizeLinear"] == 2  # in front of it and at the end: none for the weights


def attention() -> onnx.ModelProto:
    """``y = softmax(a b^T / 2) b``, a and b linear in x."""
    net = Net()
    x = net.input("x", ("n", 4, 16))
    a, b = (net.node("MatMul", [x, net.weight(f"w_{n}", 16, 8)], n) for n in "ab")
    scores = net.node("MatMul", [a, net.node("Transpose", [b], "t", perm=[0, 2, 1])], "s")
    shares = net.node("Softmax", [net.node("Div", [scores, net.constant("two", 2.0)], "d")], "p")
    return net.model(net.node("MatMul", [shares, b], "y"))


def test_attention_runs_in_integers_when_asked_for() -> None:
    model, data = attention(), {"x": normal(6, 4, 16)}
    result = oq.quantize(model, "ort", data, verify=False, settings={"attention": "int8"})
    found = optimized_ops(result.model)
    assert found["QLinearSoftmax"] == 1
    assert found["QLinearMatMul"] + found["MatMulIntegerToFloat"] == 4
    assert {s.op for s in result.report.plan.skips} == {"Mul"}
    exact = reference(model, data)["y"]
    rounded = reference(result.model, data, deployed=True)["y"]
    assert np.abs(exact - rounded).max() < 0.05 * np.abs(exact).max()
    assert {s.op for s in oq.make_plan(model, "ort").skips} == {"Mul", "Softmax", "MatMul"}


def ran(model: onnx.ModelProto, data: dict[str, Array]) -> Counter[str]:
    return optimized_ops(oq.quantize(model, "ort", data, verify=False).model)


def test_a_lone_normalization_is_a_convolution() -> None:
    """Pre-activation: Add, BatchNormalization, Relu, Conv all run in integers."""
    net = Net()
    norm = [net.weight(f"n{i}", 4) for i in range(3)] + [net.constant("var", [0.5, 1, 2, 3])]
    x = net.conv(net.input("x"), "c")
    here = net.node("Add", [x, net.conv(x, "d")], "a")
    here = net.node("Relu", [net.node("BatchNormalization", [here, *norm], "b")], "r")
    made = oq.quantize(net.model(net.conv(here, "y")), "ort", {"x": normal(9, 4, 8, 8)})
    assert made.report.plan.skips == () and optimized_ops(made.model)["QLinearConv"] == 4
    found = made.report.verification
    assert found is not None and found.literal.outputs[0].sqnr_db > 25


def test_a_normalization_of_the_input_stays_in_float() -> None:
    net = Net()
    norm = [net.weight(f"n{i}", 4) for i in range(3)] + [net.constant("var", [0.5, 1, 2, 3])]
    here = net.node("BatchNormalization", [net.input("x"), *norm], "b")
    plan = oq.make_plan(net.model(net.conv(net.node("Relu", [here], "r"), "y")), "ort")
    assert {s.op for s in plan.skips} == {"BatchNormalization", "Relu"}
