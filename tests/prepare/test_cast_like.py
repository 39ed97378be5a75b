"""A CastLike of a constant is a constant, as the Cast is that it says."""

import numpy as np

import oq
from oq.model.graph import Graph
from oq.prepare.cast_like import cast_like
from oq.prepare.infer_types import infer_types
from tests.small import assert_same_outputs, normal, ops, small


def test_castlike_of_a_constant_is_folded_and_others_are_casts() -> None:
    model = small(
        """net (float[n,3] x, int64[n,3] i) => (float[n,2] y, float[n,3] z) {
            w = CastLike(double_w, x) y = MatMul(x, w) z = CastLike(i, x)
        }""",
        {"double_w": normal(3, 2).astype(np.float64)},
    )
    graph = Graph(model)
    infer_types(graph)
    assert cast_like(graph).changed == 2
    assert sorted(ops(graph.to_model())) == ["Cast", "MatMul"]
    assert graph.view().constants["w"].dtype == np.float32
    assert_same_outputs(model, graph.to_model())


def test_a_castlike_of_another_domain_is_none() -> None:
    text = """net (float[n,3] x) => (float[n,3] y) { y = com.example.CastLike(x, x) }"""
    graph = Graph(small(text))
    assert not cast_like(graph).changed


def test_a_weight_behind_castlike_is_quantized() -> None:
    model = small(
        "net (float[n,3] x) => (float[n,2] y) { w = CastLike(double_w, x) y = MatMul(x, w) }",
        {"double_w": normal(3, 2).astype(np.float64)},
    )
    assert oq.make_plan(model, "ort").groups
