"""Mul and Add by constants per channel join the BatchNormalization in front of them."""

import numpy as np
import pytest

from oq.model.graph import Graph
from oq.prepare.fold_affine import fold_affine
from oq.prepare.infer_types import infer_types
from tests.small import assert_same_outputs, normal, ops, small

CONSTANTS = {
    **{name: normal(3, seed=i) for i, name in enumerate(("gamma", "beta", "mean"))},
    "var": np.abs(normal(3)) + np.float32(0.1),
    "channel": normal(3, 1, 1, seed=5),
    "four": normal(1, 3, 1, 1, seed=6),
    "scalar": np.array(0.5, np.float32),
    "single": normal(1, 1, 1, seed=7),
    "row": normal(5, seed=8),
    "batch": normal(2, 1, 1, 1, seed=9),
}


@pytest.mark.parametrize(
    ("steps", "left"),
    [
        ("t = Mul(b, channel)\n y = Add(t, four)", []),
        ("t = Mul(channel, b)\n y = Add(scalar, t)", []),
        ("t = Add(b, single)\n u = Mul(t, scalar)\n y = Add(u, channel)", []),
        ("t = Mul(b, channel)\n r = Relu(t)\n y = Add(r, channel)", ["Relu", "Add"]),
        ("y = Mul(b, row)", ["Mul"]),
        ("y = Mul(b, batch)", ["Mul"]),
        ("y = Mul(b, b)", ["Mul"]),
        ("y = Mul(b, x)", ["Mul"]),
        ("y = Sub(b, channel)", ["Sub"]),
        ("t = Mul(b, channel)\n y = Add(t, b)", ["Mul", "Add"]),
    ],
)
def test_folded(steps: str, left: list[str]) -> None:
    model = small(
        f"""net (float[2,3,5,5] x) => (float[2,3,5,5] y) {{
            b = BatchNormalization(x, gamma, beta, mean, var)
            {steps}
        }}""",
        CONSTANTS,
    )
    graph = Graph(model)
    infer_types(graph)
    outcome = fold_affine(graph)
    made = graph.to_model()
    assert ops(made) == ["BatchNormalization", *left]
    before = [op for op in ops(model) if op != "BatchNormalization"]
    assert outcome.changed == len(before) - len(left)
    assert_same_outputs(model, made, rtol=1e-5, atol=1e-5)


def test_a_graph_output_between_stays() -> None:
    model = small(
        """net (float[2,3,5,5] x) => (float[2,3,5,5] y, float[2,3,5,5] b) {
            b = BatchNormalization(x, gamma, beta, mean, var) y = Mul(b, channel)
        }""",
        CONSTANTS,
    )
    graph = Graph(model)
    infer_types(graph)
    assert fold_affine(graph).changed == 0


def test_three_axes_are_aligned_from_the_right() -> None:
    """(3, 1, 1) scales the batch of a tensor of rank 3, not its channels."""
    model = small(
        """net (float[3,3,5] x) => (float[3,3,5] y) {
            b = BatchNormalization(x, gamma, beta, mean, var) y = Mul(b, channel)
        }""",
        CONSTANTS,
    )
    graph = Graph(model)
    infer_types(graph)
    assert fold_affine(graph).changed == 0
