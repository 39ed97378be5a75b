"""A product with a positive constant keeps the codes of what it reads: its grid is derived."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import oq
from oq.model.graph import Graph
from oq.model.session import optimized_ops
from oq.model.view import GraphView
from oq.planning import registry
from oq.planning.overrides import Layer, apply_layers
from oq.planning.plan import plan
from oq.planning.setup import tensors_to_calibrate
from oq.planning.spec import Own, Plan, QuantSpec, Scaled, Share
from oq.planning.target import Output
from tests.golden import floats
from tests.graphs import Net
from tests.small import normal


def planned(net: Net, *outputs: str, target: str = "ort") -> tuple[Plan, GraphView]:
    view = Graph(net.model(*outputs)).view()
    return plan(view, registry.target(target)), view


def spec_of(found: Plan, tensor: str) -> QuantSpec:
    return next(s.spec for s in found.sites if s.tensor == tensor)


def product(factor: float | list[float], *, behind: str = "", target: str = "ort") -> QuantSpec:
    """The grid of ``m = c * factor``, c being a convolution's output with ``behind`` on it."""
    net = Net()
    here = net.conv(net.input("x"), "c")
    if behind:
        here = net.node(behind, [here], "b")
    net.constant("k", np.reshape(factor, (-1, 1, 1)))
    return spec_of(
        planned(net, net.conv(net.node("Mul", ["k", here], "m"), "d"), target=target)[0], "m"
    )


# ---- where a grid is derived


def test_a_product_with_a_positive_constant_has_its_inputs_grid() -> None:
    assert product(0.25) == Scaled("c", 0.25)
    assert product(40.0, behind="Sigmoid") == Scaled("b", 40.0)


@pytest.mark.parametrize("factor", [-0.5, 0.0, [1.0, 2.0, 3.0, 4.0]])
def test_other_constants_leave_it_a_grid_of_its_own(factor: float | list[float]) -> None:
    assert isinstance(product(factor), Own)


def test_where_scales_are_powers_of_two_only_those_factors_count() -> None:
    assert product(0.125, target="dpu") == Scaled("c", 0.125)
    assert isinstance(product(1 / 6, target="dpu"), Own)


@pytest.mark.parametrize("target", ["coreml", "trt"])
def test_where_a_product_is_a_float_kernel_its_reader_measures(target: str) -> None:
    assert isinstance(product(0.25, target=target), Own)


def test_a_sum_with_a_constant_is_measured() -> None:
    net = Net()
    net.constant("k", 3.0)
    here = net.node("Add", [net.conv(net.input("x"), "c"), "k"], "a")
    found, _ = planned(net, net.conv(here, "d"))
    assert isinstance(spec_of(found, "a"), Own)


def test_it_needs_no_measuring_unless_a_layer_is_spoken_of() -> None:
    net = Net()
    net.constant("k", 0.5)
    net.conv(net.node("Mul", [net.conv(net.input("x"), "c"), "k"], "m"), "d")
    found, view = planned(net, "d")
    assert "m" not in tensors_to_calibrate(found, view)
    wish = Layer("n_m", calibrator="percentile")
    wished = apply_layers(found, view, registry.target("ort"), [wish])
    assert spec_of(wished, "m") == Own(registry.target("ort").activations, calibrator="percentile")
    assert "m" in tensors_to_calibrate(wished, view)


def test_a_concat_under_one_grid_ends_it() -> None:
    """DPU: both sides of the Concat have one position, so the product is rounded again."""
    net = Net()
    net.constant("k", 0.5)
    c = net.conv(net.input("x"), "c")
    joined = net.node("Concat", [c, net.node("Mul", [c, "k"], "m")], "j", axis=1)
    found, _ = planned(net, joined, target="dpu")
    assert spec_of(found, "j") == Own(registry.target("dpu").activations)
    assert spec_of(found, "c") == spec_of(found, "m") == Share("j")


def test_what_divides_attention_scores_stays_with_them() -> None:
    """DPU: the CPU computes the scores and their Softmax, and what stands between."""
    net = Net()
    net.constant("k", 0.5)
    x = net.input("x", ("n", 6, 6))
    here = net.node("Mul", [net.node("MatMul", [x, x], "s"), "k"], "m")
    found, _ = planned(net, net.node("Softmax", [here], "p"), target="dpu")
    assert floats(found)["m"] == "it scales 's', a product of two activations that stays in float"


# ---- what it is worth, by onnxruntime's own operators


def values(
    model: onnx.ModelProto, feeds: Mapping[str, np.ndarray], *names: str
) -> list[np.ndarray]:
    """Tensors of ``model``, run as its Q/DQ say."""
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    del exposed.graph.output[:]
    exposed.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return list(ort.InferenceSession(exposed.SerializeToString(), options).run(names, dict(feeds)))


def codes(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray], tensor: str) -> np.ndarray:
    """What the QuantizeLinear in front of ``tensor`` writes."""
    makers = {o: n for n in model.graph.node for o in n.output}
    return values(model, feeds, makers[tensor].input[0])[0]


def scaled_model(factor: float) -> onnx.ModelProto:
    net = Net()
    net.constant("k", factor)
    wide = net.node("MaxPool", [net.conv(net.input("x"), "a")], "c", kernel_shape=[1, 1])
    return net.model(net.conv(net.node("Mul", [wide, "k"], "m"), "d"))


@pytest.mark.parametrize(
    ("target", "settings", "factor"),
    [
        ("ort", {}, 1 / 6),
        ("ort", {}, 0.35355338),
        ("ort", {}, 1e-3),
        ("ort", {}, 97.3),
        ("ort", {"platform": "arm"}, 1 / 6),
        ("dpu", {}, 0.125),
        ("dpu", {}, 16.0),
    ],
)
def test_every_code_stays(target: str, settings: dict[str, str], factor: float) -> None:
    feeds = {"x": normal(40, 4, 8, 8)}
    made = oq.quantize(
        scaled_model(factor), target, feeds, settings=settings, verify=False, refine="none"
    ).model
    before, after = codes(made, feeds, "c"), codes(made, feeds, "m")
    assert len(np.unique(before)) > 100
    np.testing.assert_array_equal(before, after)
    real = values(made, feeds, "c", "m")
    np.testing.assert_allclose(real[1], real[0] * np.float32(factor), rtol=3e-7)
    if target == "ort" and not settings:
        assert optimized_ops(made)["QLinearMul"] == 1


def hard_swish() -> onnx.ModelProto:
    """``x * relu6(x + 3) / 6`` as exporters wrote it before opset 14, twice."""
    net = Net()
    for name, value in (("three", 3.0), ("zero", 0.0), ("six", 6.0)):
        net.constant(name, value)
    here = net.input("x")
    for step in "ab":
        c = net.conv(here, f"{step}_conv")
        shifted = net.node("Add", [c, "three"], f"{step}_add")
        gate = net.node("Clip", [shifted, "zero", "six"], f"{step}_gate")
        gated = net.node("Mul", [c, gate], f"{step}_mul")
        here = net.node("Div", [gated, "six"], f"{step}_div")
    return net.model(net.conv(here, "y"))


def sqnr(model: onnx.ModelProto) -> float:
    found = oq.quantize(model, "ort", {"x": normal(64, 4, 8, 8)}, refine="none").report.verification
    assert found is not None and found.kernels.floating == 0
    return found.literal.outputs[0].sqnr_db


def gate() -> onnx.ModelProto:
    """``5 * sigmoid(c)``: the Sigmoid's own grid is known before any data."""
    net = Net()
    net.constant("k", 5.0)
    s = net.node("Sigmoid", [net.conv(net.input("x"), "c")], "s")
    return net.model(net.conv(net.node("Mul", [s, "k"], "m"), "y"))


def test_no_second_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the same run with measured grids.  Behind a grid from extremes the two are one and
    the same; behind a known one the measured grid would round again."""
    derived = sqnr(hard_swish()), sqnr(gate())
    plain = registry.target("ort")
    own = tuple(
        replace(r, output=Output.OWN) if r.output is Output.SCALED else r for r in plain.rules
    )
    monkeypatch.setattr(registry, "target", lambda _name: replace(plain, rules=own))
    measured = sqnr(hard_swish()), sqnr(gate())
    assert derived[0] == measured[0]
    assert derived[1] > measured[1] + 0.1


def test_a_hard_swish_of_many_nodes_runs_in_integers() -> None:
    made = oq.quantize(hard_swish(), "ort", {"x": normal(8, 4, 8, 8)}, verify=False, refine="none")
    kernels = optimized_ops(made.model)
    assert (kernels["QLinearConv"], kernels["QLinearAdd"], kernels["QLinearMul"]) == (3, 2, 4)
    assert (kernels["QuantizeLinear"], kernels["DequantizeLinear"]) == (1, 1)
