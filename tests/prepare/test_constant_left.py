"""A constant on the left of a product goes to its right, between Transposes."""

import pytest

from oq.model.graph import Graph
from oq.numerics.values import Array
from oq.prepare.constant_left import constant_left
from oq.prepare.infer_types import infer_types
from tests.small import assert_same_outputs, normal, ops, small

CONSTANTS: dict[str, Array] = {
    "w": normal(5, 4, seed=1),
    "turned": normal(4, 5, seed=2),
    "single": normal(1, 4, seed=3),
    "stack": normal(2, 5, 4, seed=4),
    "row": normal(3, seed=5),
    "column": normal(5, 1, seed=6),
}


def rewritten(body: str, x: str, y: str) -> tuple[Graph, int]:
    text = f"net (float[{x}] x) => (float[{y}] y) {{ {body} }}"
    graph = Graph(small(text, {n: v for n, v in CONSTANTS.items() if n in body}))
    infer_types(graph)
    before = graph.to_model()
    changed = constant_left(graph).changed
    assert_same_outputs(before, graph.to_model(), rtol=1e-5, atol=1e-5)
    return graph, changed


@pytest.mark.parametrize(
    ("body", "x", "y"),
    [
        ("y = MatMul (w, x)", "4,3", "5,3"),
        ("y = MatMul (w, x)", "n,4,3", "n,5,3"),
        ("y = MatMul (w, x)", "n,2,4,3", "n,2,5,3"),
        ("y = Gemm (w, x)", "4,3", "5,3"),
        ("y = Gemm <transB = 1> (w, x, row)", "3,4", "5,3"),
        ("y = Gemm <transA = 1, alpha = 0.5, beta = 2.0> (turned, x, column)", "4,3", "5,3"),
    ],
)
def test_the_weight_is_the_second_operand(body: str, x: str, y: str) -> None:
    graph, changed = rewritten(body, x, y)
    assert changed == 1
    view = graph.view()
    product = next(n for n in view.nodes if n.op == "MatMul")
    assert view.is_constant(product.inputs[1]) and view.constants[product.inputs[1]].shape == (4, 5)
    assert view.rank(product.inputs[0]) == view.rank(product.outputs[0]) == x.count(",") + 1


@pytest.mark.parametrize(
    ("body", "x", "y"),
    [
        ("y = MatMul (x, turned)", "3,4", "3,5"),
        ("y = MatMul (single, x)", "4,3", "1,3"),
        ("y = MatMul (stack, x)", "4,3", "2,5,3"),
        ("y = MatMul (w, x)", "4", "5"),
    ],
)
def test_other_products_stay(body: str, x: str, y: str) -> None:
    graph, changed = rewritten(body, x, y)
    assert changed == 0 and "Transpose" not in ops(graph.to_model())
