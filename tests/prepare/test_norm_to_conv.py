"""What normalizes behind an Add or a Concat becomes a depthwise convolution of the same values."""

import numpy as np
import onnx
import pytest

from oq.model.graph import Graph
from oq.prepare.infer_types import infer_types
from oq.prepare.norm_to_conv import norm_to_conv
from tests.small import assert_same_outputs, normal, ops, small

NORM = {
    "gamma": normal(3),
    "beta": normal(3, seed=1),
    "mean": normal(3, seed=2),
    "var": np.abs(normal(3, seed=3)) + np.float32(0.1),
}


def rewritten(model: onnx.ModelProto) -> tuple[onnx.ModelProto, int, tuple[str, ...]]:
    graph = Graph(model)
    infer_types(graph)
    outcome = norm_to_conv(graph)
    return graph.to_model(), outcome.changed, outcome.refusals


@pytest.mark.parametrize("attributes", ["", "<epsilon = 0.01>"])
def test_the_values_stay(attributes: str) -> None:
    body = (
        f"t = Add(x, x) n = BatchNormalization{attributes}(t, gamma, beta, mean, var) y = Relu(n)"
    )
    model = small(f"net (float[n,3,5,4] x) => (float[n,3,5,4] y) {{ {body} }}", NORM)
    made, changed, refusals = rewritten(model)
    assert (changed, refusals) == (1, ()) and ops(made) == ["Add", "Conv", "Relu"]
    assert {a.name: a.i for a in made.graph.node[1].attribute}["group"] == 3
    assert_same_outputs(model, made, rtol=1e-5, atol=1e-5)


def test_one_that_writes_an_output() -> None:
    body = "y = BatchNormalization(x, gamma, beta, mean, var)"
    model = small(f"net (float[n,3,5,4] x) => (float[n,3,5,4] y) {{ {body} }}", NORM)
    made, changed, _ = rewritten(model)
    assert changed == 1
    assert_same_outputs(model, made, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "inputs", "reason"),
    [
        ("n,3", "x, gamma, beta, mean, var", "its input is not a float32 image"),
        ("n,3,5,4", "x, gamma, b, mean, var", "'b' is not a constant"),
    ],
)
def test_what_stays(shape: str, inputs: str, reason: str) -> None:
    text = f"net (float[{shape}] x, float[3] b) => (float[{shape}] y) "
    model = small(f"{text} {{ [norm] y = BatchNormalization({inputs}) }}", NORM)
    made, changed, refusals = rewritten(model)
    assert changed == 0 and ops(made) == ["BatchNormalization"]
    assert refusals == (f"BatchNormalization 'norm' is kept: {reason}",)
