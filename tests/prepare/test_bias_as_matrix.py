"""A bias gets a second axis where onnxruntime would make a float Gemm of its layer, only there."""

import pytest

from oq.model.graph import Graph
from oq.prepare.bias_as_matrix import bias_as_matrix
from oq.prepare.infer_types import infer_types
from tests.small import assert_same_outputs, normal, small

CONSTANTS = {"w": normal(4, 6, seed=1), "b": normal(6, seed=3), "b2": normal(1, 6, seed=4)}
LAYER = "m = MatMul(x, w) y = Add(m, b)"


def rewritten(body: str, x: str, y: str) -> tuple[Graph, int]:
    graph = Graph(small(f"net (float[{x}] x) => (float[{y}] y) {{ {body} }}", CONSTANTS))
    infer_types(graph)
    before = graph.to_model()
    changed = bias_as_matrix(graph).changed
    assert_same_outputs(before, graph.to_model(), rtol=0, atol=0)
    return graph, changed


@pytest.mark.parametrize("body", [LAYER, "m = MatMul(x, w) y = Add(b, m)"])
def test_the_bias_of_a_stack_of_fixed_size(body: str) -> None:
    graph, changed = rewritten(body, "2,3,4", "2,3,6")
    assert changed == 1
    shapes = sorted(v.shape for v in (graph.view().constants[n] for n in graph.view().constants))
    assert shapes == [(1, 6), (4, 6)]


@pytest.mark.parametrize(
    ("body", "x", "y"),
    [
        (LAYER, "n,3,4", "n,3,6"),  # a free size: onnxruntime leaves the two apart
        (LAYER, "3,4", "3,6"),  # a matrix: plain_gemm gives it an int32 bias
        ("m = MatMul(x, w) y = Add(m, b2)", "2,3,4", "2,3,6"),
        ("m = MatMul(x, w) s = Add(m, b) y = Add(s, m)", "2,3,4", "2,3,6"),
        ("m = MatMul(x, w) y = Mul(m, b)", "2,3,4", "2,3,6"),
    ],
)
def test_what_is_left_alone(body: str, x: str, y: str) -> None:
    assert rewritten(body, x, y)[1] == 0
