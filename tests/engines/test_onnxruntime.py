"""Integer kernels are counted in the graph that onnxruntime really runs."""

import numpy as np
import onnx

from oq.engines.onnxruntime import ENGINE, FLOAT_KERNELS, INTEGER_KERNELS, count_kernels
from oq.model.ops import OPS
from oq.model.session import Session, Settings
from tests.graphs import Net

SHAPE = ("n", 6)


def test_no_kernel_counts_twice_and_layers_count() -> None:
    assert not INTEGER_KERNELS & FLOAT_KERNELS
    # What has weights computes, so it counts as a float kernel when it is not an integer one.
    assert {op for op, row in OPS.items() if row.weight is not None} <= FLOAT_KERNELS


def test_kernels_are_those_of_the_optimized_graph() -> None:
    net = Net()
    x = net.input("x", ("n", 4, 8, 8))
    model = net.model(net.node("Relu", [net.conv(x, "c")], "r"))
    found = count_kernels(model)
    # Conv and Relu became one FusedConv.
    assert (found.integer, found.floating, found.share) == (0, 1, 0.0)
    found = count_kernels(quantized_addition())
    assert (found.integer, found.floating) == (1, 0)
    assert found.ops["QLinearAdd"] == 1 and found.share == 100.0
    net = Net()
    moved = net.model(net.node("Transpose", [net.input("x", SHAPE)], "y"))
    assert count_kernels(moved).share == 100.0


def quantized_addition() -> onnx.ModelProto:
    net = Net()
    net.constant("s", 0.1)
    net.constant("zero", 3, np.uint8)
    ends = []
    for name in ("x", "z"):
        codes = net.node("QuantizeLinear", [net.input(name, SHAPE), "s", "zero"], f"{name}q")
        ends.append(net.node("DequantizeLinear", [codes, "s", "zero"], f"{name}d"))
    codes = net.node("QuantizeLinear", [net.node("Add", ends, "a"), "s", "zero"], "aq")
    return net.model(net.node("DequantizeLinear", [codes, "s", "zero"], "y"))


def test_its_models_are_sessions() -> None:
    net = Net()
    model = net.model(net.node("Neg", [net.input("x", SHAPE)], "y"))
    loaded = ENGINE.load(model, Settings(reading="literal"))
    assert isinstance(loaded, Session)
    assert np.array_equal(loaded.run({"x": np.ones((2, 6), np.float32)})[0], -np.ones((2, 6)))
