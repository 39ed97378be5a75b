"""Linear layers take the one form that integer kernels know; what is no such layer stays."""

import numpy as np
import pytest

from oq.model.graph import Graph
from oq.numerics.values import Array
from oq.prepare.infer_types import infer_types
from oq.prepare.plain_gemm import plain_gemm
from tests.small import assert_same_outputs, normal, ops, small

CONSTANTS: dict[str, Array] = {
    "w": normal(4, 6, seed=1),
    "wt": normal(6, 4, seed=2),
    "row": normal(6, seed=3),
    "one_row": normal(1, 6, seed=4),
    "one": normal(1, seed=5),
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
        "y = Gemm<alpha = 0.5, beta = 2.0>(x, w, row)",
        "y = Gemm<transB = 1, alpha = 3.0>(x, wt)",
        "y = Gemm(x, w, one_row)",
        "y = Gemm<transB = 1, beta = 0.5>(x, wt, one)",
        "y = Gemm(x, w, scalar)",
    ],
)
def test_a_linear_layer_is_a_plain_gemm(body: str) -> None:
    graph, changed = rewritten(body)
    assert changed == 1
    assert ops(graph.to_model()) == ["Gemm"]
    view = graph.view()
    gemm = view.nodes[0]
    assert gemm.attributes.get("alpha", 1.0) == gemm.attributes.get("beta", 1.0) == 1.0
    assert all(view.constants[b].shape == (6,) for b in gemm.inputs[2:])


@pytest.mark.parametrize(
    ("body", "x", "y"),
    [
        ("y = Gemm(x, w, row)", "n,4", "n,6"),
        ("y = Gemm(x, w)", "n,4", "n,6"),
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
    assert ("Gemm" in ops(graph.to_model())) == ("Gemm" in body)


def test_layers_that_share_a_weight_are_scaled_apart() -> None:
    graph, changed = rewritten("a = Gemm<alpha = 2.0>(x, w)\n b = Gemm(x, w)\n y = Add(a, b)")
    assert changed == 1
    weights = {n.inputs[1] for n in graph.view().nodes if n.op == "Gemm"}
    assert len(weights) == 2
    np.testing.assert_array_equal(graph.view().constants["w"], CONSTANTS["w"])
