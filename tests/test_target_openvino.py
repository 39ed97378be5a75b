"""Target openvino: OpenVINO runs in integers what the forecast says, and nothing else."""

from collections.abc import Callable

import numpy as np
import pytest

import oq
from oq.engines.openvino import HEAVY, count_kernels
from tests.graphs import IMAGE, Net
from tests.real import mobilenet, needs_real, resnet20, together
from tests.shown import GROUP, quantized

pytest.importorskip("openvino")

ATTENTION = {"residual": 0, "separable": 0, "transformer": 6}
"""Bundled model -> products of two activations, which stay in float."""


def as_forecast(result: oq.Result) -> tuple[int, int]:
    """Heavy ops in integers and in float, as OpenVINO's runtime graph tells them."""
    found = count_kernels(result.model)
    planned = {n for g in result.report.plan.groups for n in g.nodes}
    heavy = [n for n in result.model.graph.node if n.op_type in HEAVY]
    inside = [n for n in heavy if n.name in planned]
    assert (found.integer, found.floating) == (len(inside), len(heavy) - len(inside)), found.left
    return found.integer, found.floating


@GROUP
@pytest.mark.parametrize("name", ATTENTION)
def test_every_planned_layer_runs_in_integers(name: str) -> None:
    result = quantized(name, "openvino")
    assert as_forecast(result)[1] == ATTENTION[name]
    assert oq.check(result.model, "openvino") == ()
    pairs = {n.output[0] for n in result.model.graph.node if n.op_type == "DequantizeLinear"}
    assert not pairs & {o.name for o in result.model.graph.output}


@needs_real
@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "layers"),
    [
        pytest.param(resnet20, 20, marks=together("resnet20", "openvino")),
        pytest.param(mobilenet, 28, marks=together("mobilenet", "openvino")),
    ],
)
def test_real_models_run_in_integers(make: Callable[[str], oq.Result], layers: int) -> None:
    result = make("openvino")
    assert as_forecast(result) == (layers, 0)


def test_an_add_behind_no_convolution_stays_in_float() -> None:
    """Alone it would cost two pairs and save no kernel."""
    net = Net()
    x = net.input("x")
    net.node("Add", [net.node("Sigmoid", [x], "s"), x], "y")
    data = np.ones((8, *IMAGE[1:]), np.float32)
    result = oq.quantize(net.model("y"), "openvino", data, verify=False)
    assert not [n for n in result.model.graph.node if n.op_type == "QuantizeLinear"]
    reasons = {s.op: s.reason for s in result.report.plan.skips}
    assert reasons["Add"].startswith("it is not part of a convolution's kernel")


def test_the_product_of_a_vector_stays_in_float() -> None:
    net = Net()
    net.node("MatMul", [net.input("x", (8,)), net.weight("w", 8, 6)], "m")
    net.node("MatMul", [net.weight("v", 3, 6), net.node("Relu", ["m"], "r")], "y")
    result = oq.quantize(net.model("y"), "openvino", [{"x": np.ones(8, np.float32)}] * 4)
    assert "its input 'x' is a vector" in {s.reason for s in result.report.plan.skips}
