"""Weights of Gemm are stored as (in, out), each once."""

from oq.model.graph import Graph
from oq.prepare.upright_gemm import upright_gemm
from tests.small import assert_same_outputs, normal, ops, small


def test_weights_are_transposed_once() -> None:
    text = """net (float[n,4] x, float[4,4] c) => (float[n,4] y) {
        p = Gemm<transB = 1>(x, w, b)
        q = Gemm<transB = 1, alpha = 0.5>(p, w)
        r = Gemm<transB = 1>(q, c)
        y = Gemm(r, w)
    }"""
    before = small(text, {"w": normal(4, 4), "b": normal(4)})
    graph = Graph(before)
    assert upright_gemm(graph).changed == 2
    made = graph.to_model()
    assert_same_outputs(before, made, rtol=1e-6, atol=1e-6)
    assert ops(made) == ["Gemm"] * 4
    assert sorted(t.name for t in made.graph.initializer) == ["b", "w", "w_transposed"]


def test_upright_weights_stay() -> None:
    before = small("net (float[n,4] x) => (float[n,6] y) { y = Gemm(x, w) }", {"w": normal(4, 6)})
    graph = Graph(before)
    assert upright_gemm(graph).changed == 0
    assert_same_outputs(before, graph.to_model())
