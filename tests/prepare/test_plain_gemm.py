"""Linear layers of matrices become Gemms; what is no such layer stays."""

import pytest

from oq.model.graph import Graph
from oq.numerics.values import Array
from oq.prepare.infer_types import infer_types
from oq.prepare.plain_gemm import plain_gemm
from tests.small import assert_same_outputs, normal, ops, small

CONSTANTS: dict[str, Array] = {
    "w": normal(4, 6, seed=1),
    "row": normal(6, seed=3),
    "one_row": normal(1, 6, seed=4),
    "scalar": normal(1, seed=6).reshape(()),
    "column": normal(2, 1, seed=7),
    "stack": normal(3, 4, 6, seed=8),
}


def rewritten(body: str, *, x: str = "n,4", y: str = "n,6") -> tuple[Graph, int]:
    graph = Graph(small(f"net (float[{x}] x) => (float[{y}] y) {{ {body} }}", CONSTANTS))
    infer_types(graph)
    before = graph.to_model()
    changed = plain_gemm(graph).changed
    assert_same_outputs(before, graph.to_model(), rtol=1e-5, atol=1e-6)
    return graph, changed


@pytest.mark.parametrize(
    "body",
    [
        "m = MatMul(x, w)\n y = Add(m, row)",
        "m = MatMul(x, w)\n y = Add(one_row, m)",
        "m = MatMul(x, w)\n y = Add(m, scalar)",
    ],
)
def test_a_linear_layer_is_a_plain_gemm(body: str) -> None:
    graph, changed = rewritten(body)
    assert changed == 1
    assert ops(graph.to_model()) == ["Gemm"]
    view = graph.view()
    assert all(view.constants[b].shape == (6,) for b in view.nodes[0].inputs[2:])


@pytest.mark.parametrize(
    ("body", "x", "y"),
    [
        ("m = MatMul(x, w)\n y = Add(m, m)", "n,4", "n,6"),
        ("m = MatMul(x, w)\n r = Relu(m)\n s = Add(m, row)\n y = Add(r, s)", "n,4", "n,6"),
        ("m = MatMul(x, w)\n y = Add(m, column)", "2,4", "2,6"),
        ("m = MatMul(x, w)\n y = Add(m, row)", "n,3,4", "n,3,6"),
        ("m = MatMul(x, stack)\n y = Add(m, row)", "n,4", "3,n,6"),
    ],
)
def test_what_is_no_such_layer_stays(body: str, x: str, y: str) -> None:
    graph, changed = rewritten(body, x=x, y=y)
    assert changed == 0
    assert "Gemm" not in ops(graph.to_model())
