"""A division by a constant and the product with its reciprocal give the same values."""

import onnx
import pytest

from oq.model.graph import Graph
from oq.numerics.values import Array
from oq.prepare.div_to_mul import div_to_mul
from oq.prepare.infer_types import infer_types
from tests.small import assert_same_outputs, floats, ops, small


def rewritten(body: str, **constants: Array) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    model = small(f"net (float[2,3] x, float[2,3] z) => (float[2,3] y) {{ {body} }}", constants)
    graph = Graph(model)
    infer_types(graph)
    assert div_to_mul(graph).refusals == ()
    return model, graph.to_model()


@pytest.mark.parametrize("c", [floats(8), floats(0.25, -4, 2), floats(1)[0]])
def test_powers_of_two_are_exact(c: Array) -> None:
    model, made = rewritten("t = Add(x, z) y = Div(t, c)", c=c)
    assert ops(made) == ["Add", "Mul"]
    assert_same_outputs(model, made)


def test_others_to_the_last_bit() -> None:
    model, made = rewritten("t = Add(x, z) y = Div(t, c)", c=floats(6, -0.3, 11.313708))
    assert ops(made) == ["Add", "Mul"]
    assert_same_outputs(model, made, rtol=2.5e-7)


@pytest.mark.parametrize(
    ("body", "c"),
    [
        ("y = Div(x, z)", floats(1)),
        ("t = Div(x, c) y = Add(t, z)", floats(2)),
        ("t = Add(x, z) y = Div(c, t)", floats(1)),
        ("t = Add(x, z) y = Div(t, c)", floats(2, 0, 1)),
        ("t = Add(x, z) u = Div(t, c) y = Erf(u)", floats(1.41421)),
        ("t = Add(x, z) y = Div(t, c)", floats(float("inf"))),
        ("t = Add(x, z) y = Div(t, c)", floats(1e-39)),
    ],
)
def test_what_stays(body: str, c: Array) -> None:
    assert "Mul" not in ops(rewritten(body, c=c)[1])
