"""Which nodes become kernels: the longest chain that no predicate refuses, each node once."""

import onnx
import pytest

from oq.model.view import GraphView
from oq.numerics.values import INT8, INT8_NARROW
from oq.planning.matches import match_rules
from oq.planning.predicates import weight_is_not_constant
from oq.planning.spec import Refusal
from oq.planning.target import Match, OpRule, Output, Target
from tests.small import normal, small, view


def slow(_view: GraphView, match: Match) -> str | None:
    return "slower in int8" if match.name == "Sigmoid" else None


LAYER = (weight_is_not_constant,)
TARGET = Target(
    name="made",
    summary="",
    activations=INT8,
    weights=INT8_NARROW,
    min_opset=13,
    rules=(
        OpRule(("Conv",), Output.OWN, unless=LAYER),
        OpRule(("Relu",), Output.OWN),
        OpRule(("Sigmoid",), Output.OWN, slower=(slow,)),
        OpRule(("Conv", "Relu"), Output.OWN, unless=LAYER),
    ),
    checks=(),
)

ALONE = "c = Conv(x, w) r = Relu(c) y = Sigmoid(r)"
TWICE = "c = Conv(x, w) r = Relu(c) y = Add(r, c)"
COMPUTED = "v = Abs(w) c = Conv(x, v) r = Relu(c) y = Sigmoid(r)"


def model(text: str) -> onnx.ModelProto:
    shape = "float[n,3,4,4]"
    return small(f"net ({shape} x) => ({shape} y) {{ {text} }}", {"w": normal(3, 3, 1, 1)})


def found(
    text: str, kept: dict[str, str] | None = None, *, naive: bool = False
) -> tuple[list[tuple[str, ...]], list[Refusal]]:
    matches, refusals = match_rules(view(model(text)), TARGET, kept or {}, naive)
    return [tuple(n.name for n in m.members) for m in matches], refusals


def test_the_longest_chain_takes_its_nodes() -> None:
    kernels, refusals = found(ALONE)
    assert kernels == [("Conv_c", "Relu_r")]
    assert refusals == [Refusal("Sigmoid_y", "Sigmoid", "slower in int8")]


def test_naive_takes_what_would_be_slower() -> None:
    kernels, refusals = found(ALONE, naive=True)
    assert kernels == [("Conv_c", "Relu_r"), ("Sigmoid_y",)] and not refusals


@pytest.mark.parametrize(
    ("kept", "kernels", "told"),
    [
        ("Relu_r", [("Conv_c",)], ("Conv_c", "Conv+Relu", "'Relu_r' is chosen")),
        ("Conv_c", [], ("Conv_c", "Conv+Relu", "chosen")),
    ],
)
def test_a_node_that_is_kept_leaves_its_chain(
    kept: str, kernels: list[tuple[str, ...]], told: tuple[str, str, str]
) -> None:
    """The layer runs without the activation; the activation does not run without its layer."""
    matches, refusals = found(ALONE, {kept: "chosen"})
    assert matches == kernels and Refusal(*told) in refusals
    along = {r.reason for r in refusals if r.node == "Relu_r"}
    assert along == ({"chosen"} if kept == "Relu_r" else {"its layer 'Conv_c' stays in float"})


def test_a_value_that_others_read_breaks_the_chain() -> None:
    kernels, refusals = found(TWICE)
    assert sorted(kernels) == [("Conv_c",), ("Relu_r",)]
    reason = "'c' is read by Add, Relu, so Relu cannot be fused"
    assert refusals == [Refusal(n, "Conv+Relu", reason) for n in ("Conv_c", "Relu_r")]


def test_an_activation_behind_a_layer_in_float_stays_with_it() -> None:
    """The float kernel of the layer takes it along; ``naive`` quantizes it."""
    kernels, refusals = found(COMPUTED)
    assert kernels == []
    assert Refusal("Relu_r", "Conv+Relu", "its layer 'Conv_c' stays in float") in refusals
    assert found(COMPUTED, naive=True)[0] == [("Relu_r",), ("Sigmoid_y",)]
