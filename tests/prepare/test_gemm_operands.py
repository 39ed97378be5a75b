"""Every Gemm with a constant weight and a bias per output has the form that kernels have."""

import numpy as np
import pytest

from oq.model.graph import Graph
from oq.numerics.values import Array
from oq.prepare.gemm_operands import gemm_operands
from oq.prepare.infer_types import infer_types
from tests.small import assert_same_outputs, normal, ops, small

CONSTANTS: dict[str, Array] = {
    "w": normal(4, 6, seed=1),
    "wt": normal(6, 4, seed=2),
    "row": normal(6, seed=3),
    "one_row": normal(1, 6, seed=4),
    "one": normal(1, seed=5),
    "scalar": normal(1, seed=6).reshape(()),
    "column": normal(2, 1, seed=7),
}


def rewritten(body: str, x: str = "2,4") -> tuple[Graph, int]:
    graph = Graph(small(f"net (float[{x}] x) => (float[2,6] y) {{ {body} }}", CONSTANTS))
    infer_types(graph)
    before = graph.to_model()
    changed = gemm_operands(graph).changed
    assert_same_outputs(before, graph.to_model(), rtol=1e-5, atol=1e-6)
    return graph, changed


@pytest.mark.parametrize(
    ("body", "x"),
    [
        ("y = Gemm<alpha = 0.5, beta = 2.0>(x, w, row)", "2,4"),
        ("y = Gemm<transB = 1, alpha = 3.0>(x, wt)", "2,4"),
        ("y = Gemm(x, w, one_row)", "2,4"),
        ("y = Gemm<transB = 1, beta = 0.5>(x, wt, one)", "2,4"),
        ("y = Gemm(x, w, scalar)", "2,4"),
        ("y = Gemm<beta = 0.0>(x, w, row)", "2,4"),
        ('y = Gemm<beta = 3.0>(x, w, "")', "2,4"),
        ("y = Gemm<transA = 1>(x, w, row)", "4,2"),
        ("y = Gemm<transA = 1, transB = 1, alpha = 0.5, beta = 2.0>(x, wt, one_row)", "4,2"),
    ],
)
def test_no_factors_no_transposed_data_and_a_bias_per_output(body: str, x: str) -> None:
    graph, changed = rewritten(body, x)
    assert changed == 1
    gemm = next(n for n in graph.view().nodes if n.op == "Gemm")
    assert gemm.attributes.get("alpha", 1.0) == gemm.attributes.get("beta", 1.0) == 1.0
    assert not gemm.attributes.get("transA", 0)
    assert all(graph.view().constants[b].shape == (6,) for b in gemm.inputs[2:] if b)
    assert graph.view().shape(gemm.inputs[0]) == (2, 4)


@pytest.mark.parametrize(
    "body",
    [
        "y = Gemm(x, w, row)",
        "y = Gemm(x, w)",
        'y = Gemm(x, w, "")',
        "y = Gemm(x, w, column)",
        "v = Relu(w)\n y = Gemm<alpha = 2.0>(x, v, row)",
    ],
)
def test_what_has_the_form_or_cannot_have_it_stays(body: str) -> None:
    graph, changed = rewritten(body)
    assert changed == 0 and "Gemm" in ops(graph.to_model())


def test_layers_that_share_a_weight_are_scaled_apart() -> None:
    graph, changed = rewritten("a = Gemm<alpha = 2.0>(x, w)\n b = Gemm(x, w)\n y = Add(a, b)")
    assert changed == 1
    weights = {n.inputs[1] for n in graph.view().nodes if n.op == "Gemm"}
    assert len(weights) == 2
    np.testing.assert_array_equal(graph.view().constants["w"], CONSTANTS["w"])
