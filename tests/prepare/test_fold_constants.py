"""Constants are evaluated, outputs keep their values."""

import numpy as np
import pytest

from oq.model.graph import Graph
from oq.prepare.fold_constants import fold_constants
from tests.small import assert_same_outputs, normal, ops, small

CONSTANTS = {
    "w": normal(3, 4),
    "zero": np.asarray(0, np.int64),
    "minus": np.asarray([-1], np.int64),
    "axes": np.asarray([0], np.int64),
}


@pytest.mark.parametrize(
    ("text", "left", "changed"),
    [
        (
            """net (float[n,3] x) => (float[n,4] y) {
                k = Constant<value = float {2.0}>()
                v = Mul(w, k)
                y = MatMul(x, v)
            }""",
            ["MatMul"],
            2,
        ),
        (
            """net (float[n,4] x) => (float[n,3] y) {
                t = Transpose(w)
                y = MatMul(x, t)
            }""",
            ["MatMul"],
            1,
        ),
        (
            # the exporter's x.view(x.size(0), -1) where the batch is fixed
            """net (float[2,3,4] x) => (float[2,12] y) {
                s = Shape(x)
                b = Gather(s, zero)
                u = Unsqueeze(b, axes)
                t = Concat<axis = 0>(u, minus)
                y = Reshape(x, t)
            }""",
            ["Reshape"],
            4,
        ),
        ("net (float[n,3] x) => (float[n,3] y) { y = Relu(x) }", ["Relu"], 0),
    ],
    ids=["scaled-weight", "transposed-weight", "static-shape", "nothing"],
)
def test_what_folds(text: str, left: list[str], changed: int) -> None:
    model = small(text, CONSTANTS)
    graph = Graph(model)
    assert fold_constants(graph).changed == changed
    assert ops(graph.to_model()) == left
    assert_same_outputs(model, graph.to_model())


def test_a_shape_that_depends_on_the_batch_stays() -> None:
    model = small(
        """net (float[n,3,4] x) => (float[n,12] y) {
            s = Shape(x)
            b = Gather(s, zero)
            u = Unsqueeze(b, axes)
            t = Concat<axis = 0>(u, minus)
            y = Reshape(x, t)
        }""",
        CONSTANTS,
    )
    graph = Graph(model)
    fold_constants(graph)
    assert "Shape" in ops(graph.to_model())
    assert_same_outputs(model, graph.to_model())


def test_an_output_that_is_constant_keeps_its_name_and_value() -> None:
    text = "net (float[n,3] x) => (float[n,3] y, float[4,3] k) { y = Relu(x)\n k = Transpose(w) }"
    model = small(text, CONSTANTS)
    graph = Graph(model)
    fold_constants(graph)
    assert_same_outputs(model, graph.to_model())
