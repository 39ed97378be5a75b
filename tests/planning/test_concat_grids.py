"""Tensors that meet in a Concat: which share one grid, and what that grid must hold."""

import numpy as np
import onnx
import pytest

import oq
from oq.model.graph import Graph
from oq.numerics.values import INT8, UINT8_POSITIVE, Array
from oq.planning.plan import plan
from oq.planning.spec import Own, Plan, QuantSpec, Share
from oq.planning.target import OpRule, Output, Target
from tests.graphs import Net

ALL = Target(
    name="all",
    summary="a target that quantizes both sides of everything",
    activations=INT8,
    positive=UINT8_POSITIVE,
    weights=INT8,
    min_opset=13,
    exclusive=True,
    rules=(
        OpRule(("Conv", "Relu"), output=Output.OWN),
        OpRule(("Conv",), output=Output.OWN),
        OpRule(("MaxPool",), output=Output.SAME),
        OpRule(("AveragePool",), output=Output.ALIGNED),
        OpRule(("Concat",), output=Output.UNITED),
    ),
    checks=(),
)


def specs(net: Net, *outputs: str) -> dict[str, QuantSpec]:
    found: Plan = plan(Graph(net.model(*outputs)).view(), ALL)
    return {s.tensor: s.spec for s in found.sites if s.role == "activation"}


def test_a_concat_and_its_inputs_have_one_grid_over_its_output() -> None:
    net = Net()
    x = net.input("x")
    parts = [net.conv(x, "a"), net.conv(x, "b")]
    net.node("Concat", parts, "c", axis=1)
    assert specs(net, "c") == {
        "x": Own(INT8),
        "a": Share("c"),
        "b": Share("c"),
        "c": Own(INT8),
    }


def test_concats_that_share_an_input_are_one_class() -> None:
    """DenseNet: the second Concat holds all that the first one does."""
    net = Net()
    x = net.input("x")
    a, b, d = net.conv(x, "a"), net.conv(x, "b"), net.conv(x, "d")
    c = net.node("Concat", [a, b], "c", axis=1)
    net.node("Concat", [c, d], "e", axis=1)
    found = specs(net, "e")
    assert found["e"] == Own(INT8)
    assert {t for t, s in found.items() if s == Share("e")} == {"a", "b", "c", "d"}


def test_two_ends_are_both_held() -> None:
    net = Net()
    x = net.input("x")
    a, b, d = net.conv(x, "a"), net.conv(x, "b"), net.conv(x, "d")
    net.node("Concat", [a, b], "c", axis=1)
    net.node("Concat", [a, d], "e", axis=1)
    found = specs(net, "c", "e")
    assert found["c"] == Own(INT8, over=("c", "e"))


def test_what_reaches_the_concat_as_a_copy_is_held_whole() -> None:
    """A MaxPool drops the least values, which its input's other readers still see."""
    net = Net()
    x = net.input("x")
    pool = net.node("MaxPool", [net.conv(x, "a")], "p", kernel_shape=[1, 1])
    net.node("Concat", [pool, net.conv(x, "b")], "c", axis=1)
    found = specs(net, "c")
    assert found["c"] == Own(INT8, over=("c", "a"))
    assert found["p"] == Share("a")
    assert found["a"] == found["b"] == Share("c")


@pytest.mark.parametrize(("both", "wanted"), [(True, UINT8_POSITIVE), (False, INT8)])
def test_signs_that_differ_take_the_signed_grid(both: bool, wanted: object) -> None:
    net = Net()
    x = net.input("x")
    a = net.node("Relu", [net.conv(x, "a")], "ra")
    b = net.node("Relu", [net.conv(x, "b")], "rb") if both else net.conv(x, "b")
    net.node("Concat", [a, b], "c", axis=1)
    found = specs(net, "c")
    assert found["c"] == Own(wanted)  # type: ignore[arg-type]


def test_the_grid_in_the_file_holds_both_branches() -> None:
    net = Net()
    net.constant("twice", np.asarray(2.0, np.float32))
    x = net.input("x", ("n", 4, 4, 4))
    a = net.conv(x, "a")
    b = net.node("Mul", [net.conv(x, "b"), "twice"], "b2")
    c = net.node("Concat", [a, b], "c", axis=1)
    model = net.model(net.node("Conv", [c, net.weight("w_d", 2, 8, 1, 1)], "d"), net.conv(a, "e"))
    data = np.random.default_rng(3).normal(size=(8, 4, 4, 4)).astype(np.float32)
    made = oq.quantize(model, "trt", data, verify=False).model
    scales = {t.name: onnx.numpy_helper.to_array(t) for t in made.graph.initializer}
    pairs = {n.output[0]: n.input[1] for n in made.graph.node if n.op_type == "QuantizeLinear"}
    assert pairs["a_quantized"] == pairs["c_quantized"]
    *_, both = onnx_outputs(model, data)
    assert float(scales[pairs["c_quantized"]]) == pytest.approx(np.abs(both).max() / 127)


def onnx_outputs(model: onnx.ModelProto, data: Array) -> tuple[Array, ...]:
    from onnx.reference import ReferenceEvaluator

    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    del shown.graph.output[:]
    names = ("a", "b2", "c")
    shown.graph.output.extend(onnx.helper.make_empty_tensor_value_info(n) for n in names)
    return tuple(ReferenceEvaluator(shown).run(None, {"x": data}))
