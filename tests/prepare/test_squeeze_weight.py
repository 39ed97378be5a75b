"""A stack of one matrix is a matrix, where the other operand has the axes."""

import numpy as np
import pytest

from oq.model.graph import Graph
from oq.prepare.infer_types import infer_types
from oq.prepare.squeeze_weight import squeeze_weight
from tests.small import assert_same_outputs, normal, small


@pytest.mark.parametrize(
    ("x", "shape", "y", "changed"),
    [
        ("n,3,4", (1, 4, 6), "n,3,6", 1),
        ("n,2,3,4", (1, 4, 6), "n,2,3,6", 1),
        ("n,2,3,4", (1, 1, 4, 6), "n,2,3,6", 1),
        ("n,4", (1, 4, 6), "1,n,6", 0),  # the result has an axis more than the left operand
        ("2,3,4", (2, 4, 6), "2,3,6", 0),
        ("n,4", (4, 6), "n,6", 0),
    ],
)
def test_leading_axes_of_one(x: str, shape: tuple[int, ...], y: str, changed: int) -> None:
    graph = Graph(
        small(f"net (float[{x}] x) => (float[{y}] y) {{ y = MatMul(x, w) }}", {"w": normal(*shape)})
    )
    infer_types(graph)
    before = graph.to_model()
    assert squeeze_weight(graph).changed == changed
    assert_same_outputs(before, graph.to_model(), rtol=0, atol=0)
    kept = [np.ndim(v) for v in graph.view().constants.values()]
    assert kept == ([2] if changed else [len(shape)])
