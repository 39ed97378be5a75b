"""Layers without a bias get one while steps are tried, and keep it only where it is used."""

import numpy as np
import onnx
import pytest

import oq
from oq.numerics.values import Array
from oq.planning import registry
from oq.planning.layers import find_layers
from oq.planning.overrides import Layer, Overrides
from oq.planning.setup import Planned, plan_model
from oq.planning.spec import Product
from oq.refine.add_biases import add_zero_biases
from oq.refine.bias import correct_bias
from tests.graphs import CHANNELS, Net
from tests.refine.nets import batches, subject
from tests.refine.test_bias import means
from tests.small import reference

DATA = {"x": np.concatenate([b["x"] for b in batches(8, seed=3)])}


def bare() -> onnx.ModelProto:
    """Conv, Relu, depthwise Conv, Relu, MatMul and Gemm, none with a bias."""
    net = Net()
    net.conv(net.input("x"), "a", bias=False)
    net.constants["w_a"] *= np.asarray([4, 1, 0.2, 0.05], np.float32).reshape(-1, 1, 1, 1)
    net.conv(net.node("Relu", ["a"], "ra"), "b", group=CHANNELS, bias=False)
    net.node("MatMul", [net.node("Relu", ["b"], "rb"), net.weight("w_m", 8, 8)], "m")
    net.constants["w_m"][0] *= 20  # a coarse step, so that the other weights shift the mean
    net.node("ReduceMean", [net.node("Relu", ["m"], "rm")], "p", axes=[1, 2], keepdims=0)
    net.node("Gemm", ["p", net.weight("w_y", 8, 3)], "y")
    return net.model("y", opset=17)


def planned(model: onnx.ModelProto, target: str, overrides: Overrides | None = None) -> Planned:
    return plan_model(model, registry.target(target), overrides or Overrides(mode="naive"))


def inputs(model: onnx.ModelProto) -> dict[str, list[str]]:
    """Node name -> what it reads, empty slots left out."""
    return {n.name: [t for t in n.input if t] for n in model.graph.node}


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("ort", {"n_a_bias", "n_b_bias", "n_y_bias"}),
        ("trt", {"n_a_bias", "n_b_bias", "n_y_bias", "n_m_bias"}),
        ("coreml", {"n_a_bias", "n_b_bias", "n_y_bias", "n_m_bias"}),
        ("dpu", set()),  # its biases have grids of their own, and that of zeros holds nothing else
    ],
)
def test_biases_of_zeros_change_neither_function_nor_grids(target: str, expected: set[str]) -> None:
    before = planned(bare(), target)
    after, given = add_zero_biases(before)
    assert given == expected
    grids = {(s.tensor, s.consumers) for s in after.plan.sites if s.tensor not in given}
    assert grids == {(s.tensor, s.consumers) for s in before.plan.sites}
    products = {s.tensor for s in after.plan.sites if isinstance(s.spec, Product)}
    assert products == (given if target == "ort" else set())
    feeds = batches(1, seed=9)[0]
    np.testing.assert_array_equal(
        reference(after.model, feeds)["y"], reference(before.model, feeds)["y"]
    )
    left = [x for x in find_layers(after.view, after.plan) if x.bias is None]
    assert len(left) == 4 - len(given)


def test_a_matmul_gets_an_add_only_inside_its_kernel() -> None:
    after, _ = add_zero_biases(planned(bare(), "trt"))
    assert ("n_m", "n_m_Add", "n_rm") in [g.nodes for g in after.plan.groups]
    layers = tuple(Layer(glob, per_channel=True) for glob in ("n_m", "n_a"))
    chosen = Overrides(layers=layers, mode="selective")
    after, given = add_zero_biases(planned(bare(), "trt", chosen))
    assert given == {"n_a_bias"}


def test_a_model_with_all_its_biases_stays_the_same_object() -> None:
    net = Net()
    net.conv(net.node("Relu", [net.conv(net.input("x"), "a")], "r"), "y")
    before = planned(net.model("y"), "ort")
    assert add_zero_biases(before) == (before, frozenset())


def test_a_grouped_transposed_convolution_stays_without() -> None:
    def upscale(group: int) -> frozenset[str]:
        net = Net()
        weight = net.weight("w", CHANNELS, 6 // group, 2, 2)
        net.node("ConvTranspose", [net.input("x"), weight], "y", strides=[2, 2], group=group)
        return add_zero_biases(planned(net.model("y"), "coreml"))[1]

    assert upscale(1) == {"n_y_bias"} and upscale(2) == frozenset()


@pytest.mark.parametrize("target", ["ort", "trt"])
def test_their_mean_errors_are_corrected(target: str) -> None:
    before = subject(bare(), target, biases=True)
    after = before.put(correct_bias(before).constants)
    layers = [x for x in find_layers(before.view, before.plan) if x.bias is not None]
    assert len(layers) >= 3
    axis, last = {x.last: x.axis for x in layers}, [x.last for x in layers]
    exact = means("float", after, last, axis)
    plain, corrected = (means("corrected", s, last, axis) for s in (before, after))
    for x, wrong, right in zip(exact, plain, corrected, strict=True):
        assert np.abs(x - wrong).max() > 1e-4
        np.testing.assert_allclose(right, x, atol=2e-5 * max(1.0, float(np.abs(x).max())))


def test_a_file_keeps_the_biases_that_are_used() -> None:
    result = oq.quantize(bare(), "trt", DATA, refine="bias", verify=False, mode="naive")
    (outcome,) = result.report.refinement
    assert outcome.kept and "4 layers corrected" in outcome.note
    reads = inputs(result.model)
    assert len(reads["n_a"]) == 3 and len(reads["n_m_Add"]) == 2
    assert any(g.nodes == ("n_m", "n_m_Add", "n_rm") for g in result.report.plan.groups)
    values = {t.name: onnx.numpy_helper.to_array(t) for t in result.model.graph.initializer}
    found: Array = values["n_a_bias"]
    assert np.abs(found).max() > 0


def test_a_file_without_use_for_them_has_none() -> None:
    """Only early steps: channels are scaled, biases of zeros stay zeros and go again."""
    plain, equal = (
        oq.quantize(bare(), "trt", DATA, refine=r, verify=False, mode="naive")
        for r in ("none", "equalize")
    )
    assert equal.report.refinement[0].kept
    assert inputs(equal.model) == inputs(plain.model)
    assert {t.name for t in equal.model.graph.initializer} == {
        t.name for t in plain.model.graph.initializer
    }


def test_where_no_step_is_kept_the_file_is_that_of_no_refinement() -> None:
    plain, tried = (
        oq.quantize(bare(), "trt", DATA, refine=r, verify=False, mode="naive").model
        for r in ("none", "smooth")
    )
    assert tried.SerializeToString() == plain.SerializeToString()
