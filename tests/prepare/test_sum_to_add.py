"""Sum becomes a chain of Adds in the same order, so that not a bit changes."""

import pytest

from oq.model.graph import Graph
from oq.prepare.infer_types import infer_types
from oq.prepare.sum_to_add import sum_to_add
from tests.small import assert_same_outputs, ops, small


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("y = Sum(a, b)", ["Add"]),
        ("y = Sum(a, b, c)", ["Add", "Add"]),
        ("s = Sum(a, a)\n r = Relu(s)\n y = Sum(r, c)", ["Add", "Relu", "Add"]),
        ("y = Sum(a)", ["Sum"]),
        ("y = Add(a, b)", ["Add"]),
    ],
)
def test_rewritten(body: str, left: list[str]) -> None:
    shapes = "float[n,3] a, float[n,3] b, float[1,3] c"
    model = small(f"net ({shapes}) => (float[n,3] y) {{ {body} }}")
    graph = Graph(model)
    infer_types(graph)
    outcome = sum_to_add(graph)
    made = graph.to_model()
    assert ops(made) == left
    assert outcome.changed == body.count("Sum") - left.count("Sum")
    assert_same_outputs(model, made)
    view = graph.view()
    assert all(view.rank(t) == 2 for n in view.nodes for t in n.outputs)
