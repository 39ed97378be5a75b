"""Core ML's own checks find each violation on a file that is otherwise in order."""

import numpy as np
import onnx
import pytest

import oq
from tests.graphs import Net

DATA = np.random.default_rng(2).normal(size=(4, 4, 8, 8)).astype(np.float32)


def made() -> onnx.ModelProto:
    """``x -> conv a -> relu -> maxpool p``, ``x -> conv b``, their sum, and a last layer."""
    net = Net()
    x = net.input("x", (1, 4, 8, 8))
    relu = net.node("Relu", [net.conv(x, "a")], "r")
    pool = net.node("MaxPool", [relu], "p", kernel_shape=[1, 1])
    total = net.node("Add", [pool, net.conv(x, "b")], "s")
    return oq.quantize(net.model(net.conv(total, "d")), "coreml", DATA, verify=False).model


def rescaled(model: onnx.ModelProto, name: str, scale: float) -> onnx.ModelProto:
    for tensor in model.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.asarray(scale, np.float32), name))
    return model


def found(model: onnx.ModelProto) -> set[str]:
    return {f.check for f in oq.check(model, "coreml")}


def test_what_oq_writes_has_none() -> None:
    assert found(made()) == set()


@pytest.mark.parametrize("scale", [0.05, 1e-6, 70000.0])
def test_a_scale_that_float16_does_not_hold(scale: float) -> None:
    assert "float16-scale" in found(rescaled(made(), "x_scale", scale))
    assert "float16-scale" not in found(rescaled(made(), "x_scale", float(np.float16(0.05))))


@pytest.mark.parametrize(("ratio", "wrong"), [(512, False), (520, True)])
def test_a_sum_that_overflows_when_rescaled(ratio: int, wrong: bool) -> None:
    """127 * 515.8 is the largest float16, 65504."""
    model = rescaled(rescaled(made(), "r_scale", 2.0**-13), "b_scale", ratio * 2.0**-13)
    assert ("sum-in-float16" in found(model)) is wrong


def test_a_pool_between_two_grids() -> None:
    model = made()
    other = onnx.numpy_helper.from_array(np.asarray(0.25, np.float32), "other")
    model.graph.initializer.append(other)
    for node in model.graph.node:
        if node.input[0] in {"p_float", "p_quantized"} and "Linear" in node.op_type:
            node.input[1] = "other"
    assert found(model) == {"sides"}
