"""A grouped convolution and one per group, joined, give the same values."""

import onnx
import pytest

from oq.model.graph import Graph
from oq.prepare.infer_types import infer_types
from oq.prepare.split_groups import split_groups
from tests.small import assert_same_outputs, normal, ops, small


def model_of(body: str, *, more: str = "", outputs: str = "float[n,8,h,v] y") -> onnx.ModelProto:
    constants = {"w": normal(8, 3, 3, 2), "b": normal(8), "lo": normal(), "one": normal(6, 1, 3, 3)}
    return small(f"net (float[n,6,7,8] x{more}) => ({outputs}) {{ {body} }}", constants)


def rewritten(model: onnx.ModelProto) -> tuple[onnx.ModelProto, int, tuple[str, ...]]:
    graph = Graph(model)
    infer_types(graph)
    outcome = split_groups(graph)
    return graph.to_model(), outcome.changed, outcome.refusals


@pytest.mark.parametrize(
    ("body", "behind"),
    [
        ("y = Conv<group = 2>(x, w)", []),
        ("y = Conv<group = 2, strides = [2, 1], pads = [1, 0, 2, 1]>(x, w, b)", []),
        ("t = Conv<group = 2>(x, w, b) y = Relu(t)", ["Relu"]),
        ("t = Conv<group = 2>(x, w, b) y = LeakyRelu<alpha = 0.3>(t)", ["LeakyRelu"]),
        ("t = Conv<group = 2>(x, w) y = Clip(t, lo)", ["Clip"]),
    ],
)
def test_the_values_stay(body: str, behind: list[str]) -> None:
    model = model_of(body)
    made, changed, refusals = rewritten(model)
    assert (changed, refusals) == (1, ())
    assert ops(made) == ["Slice", "Conv", *behind] * 2 + ["Concat"]
    assert all(a.i == 1 for n in made.graph.node for a in n.attribute if a.name == "group")
    assert_same_outputs(model, made, rtol=1e-5, atol=1e-5)


def test_an_activation_beside_other_readers_stays_behind() -> None:
    body = "t = Conv<group = 2>(x, w) y = Relu(t) z = Exp(t)"
    model = model_of(body, outputs="float[n,8,h,v] y, float[n,8,h,v] z")
    made, _, _ = rewritten(model)
    assert ops(made) == [*["Slice", "Conv"] * 2, "Concat", "Relu", "Exp"]
    assert_same_outputs(model, made, rtol=1e-5, atol=1e-5)


def test_depthwise_and_plain_convolutions_stay() -> None:
    model = model_of("y = Conv<group = 6>(x, one)", outputs="float[n,6,h,v] y")
    assert rewritten(model)[1:] == (0, ())


def test_a_computed_weight_stays() -> None:
    model = model_of("[conv] y = Conv<group = 2>(x, v)", more=", float[8,3,3,3] v")
    made, changed, refusals = rewritten(model)
    assert changed == 0 and ops(made) == ["Conv"]
    assert refusals == ("Conv 'conv' keeps its groups: 'v' is not a constant",)
