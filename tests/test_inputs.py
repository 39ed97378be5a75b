"""Inputs that people have, quantized for every target: scalars, states, strings, what may be left
out."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import oq
from oq.errors import DataError
from oq.numerics.values import Array
from oq.planning import registry
from tests.small import normal, reference, small

TARGETS = registry.names("targets")
COUNT = 16
IMAGES = normal(COUNT, 3, 8, 8)
WEIGHTS = {"w1": normal(8, 3, 3, 3, seed=1) / 5, "w2": normal(4, 8, 3, 3, seed=2) / 8}
BODY = "c = Conv(x, w1) r = Relu(c) {middle} y = Conv(m, w2)"

Feeds = Mapping[str, Array]


def image_net(inputs: str, middle: str, constants: Feeds | None = None) -> onnx.ModelProto:
    """Two convolutions with ``middle``, from r to m, between them."""
    text = f"net (float[n,3,8,8] x{inputs}) => (float[n,4,4,4] y) {{ {BODY} }}"
    return small(text.replace("{middle}", middle), {**WEIGHTS, **(constants or {})}, opset=18)


def scalar() -> onnx.ModelProto:
    return image_net(", float gain", "m = Mul(r, gain)")


def whole_number() -> onnx.ModelProto:
    return image_net(", int64 rate", "g = Cast <to = 1> (rate) m = Mul(r, g)")


def truth() -> onnx.ModelProto:
    return image_net(
        ", bool[n,1,1,1] on", "m = Where(on, r, zero)", {"zero": np.array(0, np.float32)}
    )


def string() -> onnx.ModelProto:
    model = image_net(
        ", string[n,1,1,1] word", "e = Equal(word, yes) g = Cast <to = 1> (e) m = Mul(r, g)"
    )
    model.opset_import[0].version = 19
    model.graph.initializer.append(numpy_helper.from_array(np.array(["yes"], object), "yes"))
    return model


def state() -> onnx.ModelProto:
    """A step of a recurrent net: x[1,12], state[2,1,12], of which it gives the next."""
    text = """net (float[1,12] x, float[2,1,12] state) => (float[1,4] y, float[2,1,12] next) {
        s = Gather <axis = 0> (state, zero) a = MatMul(x, w1) b = Add(a, s) t = Tanh(b)
        y = MatMul(t, w2) u = Unsqueeze(t, axes) next = Concat <axis = 0> (u, u)
    }"""
    weights = {"w1": normal(12, 12) / 4, "w2": normal(12, 4, seed=1) / 4}
    return small(text, {**weights, "zero": np.array(0), "axes": np.array([0])})


def default() -> onnx.ModelProto:
    return image_net(", float gain", "m = Mul(r, gain)", {"gain": np.array(2, np.float32)})


def optional() -> onnx.ModelProto:
    model = image_net("", "m = Relu(r)")
    body = """then () => (float[a,b,c,d] t) { o = OptionalGetElement(shift) t = Add(r, o) }"""
    other = """other () => (float[a,b,c,d] e) { e = Identity(r) }"""
    has = helper.make_node("OptionalHasElement", ["shift"], ["has"], name="has")
    branch = helper.make_node(
        *("If", ["has"], ["m"]),
        name="if",
        then_branch=onnx.parser.parse_graph(body),
        else_branch=onnx.parser.parse_graph(other),
    )
    nodes = [n for n in model.graph.node if n.output[0] != "m"]
    del model.graph.node[:]
    model.graph.node.extend([*nodes[:2], has, branch, nodes[2]])
    inner = helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [8, 1, 1])
    kind = helper.make_optional_type_proto(inner)
    model.graph.input.append(helper.make_value_info("shift", kind))
    return model


def repeated(value: Any) -> Array:
    return np.stack([np.asarray(value)] * COUNT)


def each(feeds: Feeds) -> list[dict[str, Array]]:
    """Complete feeds of one sample; what has no samples' axis is stacked in ``feeds``."""
    return [
        {
            k: a[i : i + 1] if k in ("x", "on", "word") else np.asarray(a[i])
            for k, a in feeds.items()
        }
        for i in range(COUNT)
    ]


SHIFT = normal(COUNT, 8, 1, 1, seed=4)
WORDS = np.array(["yes", "no", "", "yes"] * 4)[:, None, None, None]
CASES: dict[str, tuple[Callable[[], onnx.ModelProto], dict[str, Array]]] = {
    "scalar": (scalar, {"x": IMAGES, "gain": np.linspace(1, 2, COUNT, dtype=np.float32)}),
    "whole number": (whole_number, {"x": IMAGES, "rate": repeated(3)}),
    "truth": (truth, {"x": IMAGES, "on": (np.arange(COUNT) % 3 > 0)[:, None, None, None]}),
    "string": (string, {"x": IMAGES, "word": WORDS}),
    "default left out": (default, {"x": IMAGES}),
    "default fed": (default, {"x": IMAGES, "gain": np.linspace(3, 4, COUNT, dtype=np.float32)}),
    "optional left out": (optional, {"x": IMAGES}),
    "optional fed": (optional, {"x": IMAGES, "shift": SHIFT}),
}


def sqnr_db(model: onnx.ModelProto, made: onnx.ModelProto, feeds: list[dict[str, Array]]) -> float:
    """Of all samples together, by onnxruntime as it is."""
    pairs = [(reference(model, f)["y"], reference(made, f)["y"]) for f in feeds]
    signal = sum(float(np.square(a).sum()) for a, _ in pairs)
    noise = sum(float(np.square(a - b).sum()) for a, b in pairs)
    return float(10 * np.log10(signal / noise))


FOREIGN = ("string", "default fed", "optional left out", "optional fed")
"""What OpenVINO does not run, quantized or not."""


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_input_is_quantized(case: str, target: str) -> None:
    make, feeds = CASES[case]
    model = make()
    if target == "openvino" and case in FOREIGN:
        with pytest.raises(oq.OqError, match=r"^OpenVINO (cannot load the model|fails on a batch)"):
            oq.quantize(model, target, feeds)
        return
    result = oq.quantize(model, target, feeds)
    onnx.checker.check_model(result.model, full_check=True)
    assert result.report.plan.sites and result.report.verification is not None
    assert result.report.samples == 14
    assert set(feeds) <= {v.name for v in result.model.graph.input}
    assert sqnr_db(model, result.model, each(feeds)) > 20


@pytest.mark.parametrize("target", TARGETS)
def test_a_state_is_that_of_its_sample(target: str) -> None:
    model = state()
    x, s = normal(COUNT, 1, 12, seed=5), normal(COUNT, 2, 1, 12, seed=6)
    result = oq.quantize(model, target, {"x": x, "state": s})
    feeds = [{"x": x[i], "state": s[i]} for i in range(COUNT)]
    assert sqnr_db(model, result.model, feeds) > 20


@pytest.mark.parametrize("case", CASES)
def test_complete_feeds_give_the_ranges_of_stacked_ones(case: str) -> None:
    make, feeds = CASES[case]
    options: dict[str, Any] = {"refine": "none", "verify": False}
    stacked = oq.quantize(make(), "trt", feeds, **options)
    single = oq.quantize(make(), "trt", lambda: iter(each(feeds)), **options)
    for tensor, found in stacked.ranges.items():
        np.testing.assert_allclose(found.lo, single.ranges[tensor].lo, rtol=1e-6)
        np.testing.assert_allclose(found.hi, single.ranges[tensor].hi, rtol=1e-6)


@pytest.mark.parametrize("target", TARGETS)
def test_a_default_that_is_fed_stays_one_and_another_becomes_a_constant(target: str) -> None:
    fed = oq.quantize(default(), target, CASES["default fed"][1], refine="none", verify=False).model
    one = {"x": IMAGES[:1]}
    low, high = (reference(fed, {**one, "gain": np.array(g, np.float32)})["y"] for g in (2, 4))
    np.testing.assert_array_equal(reference(fed, one)["y"], low)
    assert np.abs(high).sum() > 1.5 * np.abs(low).sum()
    left = oq.quantize(default(), target, one | {"x": IMAGES}, refine="none")
    assert [v.name for v in left.model.graph.input] == ["x"]
    assert any("is a constant in the file: gain" in note for note in left.report.notes)


def test_a_default_that_is_fed_once_is_always_fed() -> None:
    feeds = each(CASES["default fed"][1])
    del feeds[3]["gain"]
    with pytest.raises(DataError, match="has 'x' where the model's inputs are 'x', 'gain'"):
        oq.quantize(default(), "ort", feeds, refine="none")


def test_a_generator_that_feeds_a_default_loses_no_sample() -> None:
    feeds = iter(each(CASES["default fed"][1]))
    result = oq.quantize(default(), "ort", feeds, refine="none", verify=False)
    assert result.report.samples == COUNT
    assert {v.name for v in result.model.graph.input} == {"x", "gain"}


def test_verify_and_sensitivity_take_the_same_feeds() -> None:
    model, feeds = default(), CASES["default fed"][1]
    made = oq.quantize(model, "ort", feeds, refine="none").model
    assert oq.verify(model, made, feeds, latency=False).samples == COUNT
    assert oq.sensitivity(model, "ort", feeds, samples=8).layers
    assert oq.verify(optional(), optional(), {"x": IMAGES}, latency=False).samples == COUNT


@pytest.mark.parametrize("target", ["ort", "dpu"])
def test_a_branch_that_few_samples_take_is_measured(target: str) -> None:
    """Of a batch, the sum of all samples would decide for each."""
    text = """net (float[n,8] x) => (float[n,4] y) {
        a = MatMul(x, w1) s = ReduceSum <keepdims = 0> (x) c = Greater(s, zero)
        b = If(c) <
            then_branch = t () => (float[n,8] u) { u = Relu(a) },
            else_branch = e () => (float[n,8] v) { m = Abs(a) v = Neg(m) }
        >
        y = MatMul(b, w2)
    }"""
    weights = {"w1": normal(8, 8), "w2": normal(8, 4, seed=1), "zero": np.array(0, np.float32)}
    model, x = small(text, weights), normal(24, 8, seed=2) + np.float32(0.2)
    made = oq.quantize(model, target, {"x": x}, verify=False, refine="none")
    assert sqnr_db(model, made.model, [{"x": x[i : i + 1]} for i in range(24)]) > 20
    assert any("samples run one at a time" in note for note in made.report.notes)


def test_a_batch_of_one_that_was_exported_runs_one_at_a_time() -> None:
    text = """net (float[n,2,4] x) => (float[n,3] y) {
        f = Reshape(x, flat) h = MatMul(f, w) r = Relu(h) y = MatMul(r, v) }"""
    weights = {"w": normal(8, 8), "v": normal(8, 3, seed=1), "flat": np.array([1, 8])}
    made = oq.quantize(small(text, weights), "ort", {"x": normal(40, 2, 4, seed=2)})
    assert any("one sample at a time" in note for note in made.report.notes)
    assert oq.verify(small(text, weights), made.model, {"x": normal(4, 2, 4)}).samples == 4
