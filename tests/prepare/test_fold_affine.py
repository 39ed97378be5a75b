"""Constants per channel behind a convolution disappear into it, and the outputs stay."""

import pytest

from oq.graph import Graph
from oq.prepare.fold_affine import fold_affine
from oq.prepare.infer_types import infer_types
from oq.spec import Array
from tests.small import assert_same_outputs, floats, normal, ops, small

CONSTANTS: dict[str, Array] = {
    "w": normal(5, 4, 3, 3, seed=1),
    "g": normal(4, 1, 3, 3, seed=2),
    "b": normal(5, seed=3),
    "k": normal(5, 1, 1, seed=4),
    "k4": normal(1, 4, 1, 1, seed=5),
    "c": normal(1, 5, 1, 1, seed=6),
    "one": normal(1, seed=7),
    "row": normal(4, seed=8),
    "wide": normal(2, 1, 1, 1, seed=9),
    "endless": floats(float("inf")),
}


def rewritten(body: str, opset: int = 17) -> tuple[list[str], int]:
    text = f"net (float[n,4,6,6] x) => (float[p,q,r,s] y) {{ {body} }}"
    graph = Graph(small(text, CONSTANTS, opset=opset))
    infer_types(graph)
    before = graph.to_model()
    changed = fold_affine(graph).changed
    if "endless" not in body:
        assert_same_outputs(before, graph.to_model(), rtol=1e-4, atol=1e-5)
    return ops(graph.to_model()), changed


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("t = Conv(x, w)\n y = Mul(t, k)", 1),
        ("t = Conv(x, w, b)\n y = Mul(k, t)", 1),
        ("t = Conv(x, w)\n y = Add(t, c)", 1),
        ("t = Conv(x, w, b)\n u = Mul(t, k)\n y = Add(c, u)", 2),
        ("t = Conv(x, w, b)\n u = Add(t, one)\n y = Mul(u, one)", 2),
        ("t = Conv<group = 4>(x, g)\n u = Mul(t, k4)\n y = Add(u, one)", 2),
    ],
)
def test_constants_per_channel_are_folded(body: str, count: int) -> None:
    assert rewritten(body) == (["Conv"], count)


@pytest.mark.parametrize(
    "body",
    [
        "t = Conv(x, w)\n y = Mul(t, row)",
        "t = Conv(x, w)\n y = Add(t, t)",
        "t = Conv(x, w)\n u = Mul(t, k)\n y = Add(u, t)",
        "t = Relu(x)\n y = Mul(t, one)",
        "t = Conv(x, w)\n y = Sub(t, k)",
        "t = Conv(x, w)\n y = Mul(t, endless)",
    ],
)
def test_everything_else_stays(body: str) -> None:
    found, changed = rewritten(body)
    assert changed == 0
    assert len(found) == body.count("=")
