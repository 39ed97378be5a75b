"""A bias that is not a constant row is added behind its layer, and any other stays in it."""

import pytest

from oq.model.graph import Graph
from oq.numerics.values import Array
from oq.prepare.bias_apart import bias_apart
from oq.prepare.infer_types import infer_types
from tests.small import assert_same_outputs, normal, ops, small

CONSTANTS: dict[str, Array] = {
    "w": normal(4, 6, seed=1),
    "row": normal(6, seed=2),
    "one_row": normal(1, 6, seed=3),
    "column": normal(3, 1, seed=4),
    "whole": normal(3, 6, seed=5),
    "cw": normal(5, 3, 3, 3, seed=6),
    "line": normal(5, 3, 3, seed=7),
    "tw": normal(3, 5, 3, 3, seed=8),
    "cb": normal(5, seed=9),
}


def rewritten(text: str) -> tuple[Graph, int]:
    graph = Graph(small(text, {n: v for n, v in CONSTANTS.items() if n in text}))
    infer_types(graph)
    before = graph.to_model()
    changed = bias_apart(graph).changed
    assert_same_outputs(before, graph.to_model(), rtol=1e-5, atol=1e-5)
    return graph, changed


FLAT = "net (float[3,4] x, float[6] c, float[3,6] d) => (float[3,6] y) {{ {} }}"
IMAGE = "net (float[2,3,6,6] x, float[5] c) => (float[2,5,h,v] y) {{ {} }}"
LINE = "net (float[2,3,6] x, float[5] c) => (float[2,5,h] y) {{ {} }}"


@pytest.mark.parametrize(
    "text",
    [
        FLAT.format("y = Gemm (x, w, c)"),
        FLAT.format("y = Gemm <alpha = 2.0, beta = 0.5> (x, w, d)"),
        FLAT.format("y = Gemm <beta = 0.5> (x, w, column)"),
        FLAT.format("y = Gemm (x, w, whole)"),
        IMAGE.format("y = Conv <pads = [1,1,1,1]> (x, cw, c)"),
        IMAGE.format("y = ConvTranspose (x, tw, c)"),
        LINE.format("y = Conv (x, line, c)"),
    ],
)
def test_a_bias_that_is_no_constant_row_is_added_behind(text: str) -> None:
    graph, changed = rewritten(text)
    assert changed == 1
    made = graph.view().producer("y")
    assert made is not None and made.op == "Add"
    layer = graph.view().producer(made.inputs[0])
    assert layer is not None and layer.name.startswith(("Gemm", "Conv")) and len(layer.inputs) == 2
    assert layer.attributes.get("beta", 1.0) == 1.0


@pytest.mark.parametrize(
    "text",
    [
        FLAT.format("y = Gemm <beta = 0.5> (x, w, row)"),
        FLAT.format("y = Gemm (x, w, one_row)"),
        FLAT.format('y = Gemm (x, w, "")'),
        FLAT.format("v = Relu (w)\n y = Gemm (x, v, d)"),
        IMAGE.format("y = Conv (x, cw, cb)"),
        IMAGE.format('y = Conv (x, cw, "")'),
    ],
)
def test_any_other_stays(text: str) -> None:
    graph, changed = rewritten(text)
    assert changed == 0 and "Add" not in ops(graph.to_model())
