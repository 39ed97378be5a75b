"""A mean over the image becomes GlobalAveragePool; every other mean stays."""

import numpy as np
import pytest

from oq.model.graph import Graph
from oq.prepare.infer_types import infer_types
from oq.prepare.mean_to_pool import mean_to_pool
from tests.small import assert_same_outputs, ops, small

CONSTANTS = {
    "image": np.asarray([2, 3], np.int64),
    "backwards": np.asarray([-1, -2], np.int64),
    "one": np.asarray([3], np.int64),
    "all": np.asarray([1, 2, 3], np.int64),
}


def rewritten(body: str, opset: int, *, rank: str = "n,3,4,5") -> tuple[Graph, int]:
    dims = "n,a,b,c" if "keepdims = 0" not in body else "n,a"
    text = f"net (float[{rank}] x, int64[2] given) => (float[{dims}] y) {{ {body} }}"
    graph = Graph(small(text, CONSTANTS, opset=opset))
    infer_types(graph)
    before = graph.to_model()
    changed = mean_to_pool(graph).changed
    if "given" not in body:
        assert_same_outputs(before, graph.to_model(), rtol=1e-6, atol=1e-6)
    return graph, changed


@pytest.mark.parametrize(
    ("body", "opset", "left"),
    [
        ("t = Relu(x)\n y = ReduceMean<axes = [2, 3]>(t)", 17, ["Relu", "GlobalAveragePool"]),
        ("y = ReduceMean<axes = [-1, -2]>(x)", 13, ["GlobalAveragePool"]),
        ("y = ReduceMean<axes = [2, 3], keepdims = 0>(x)", 17, ["GlobalAveragePool", "Flatten"]),
        ("y = ReduceMean(x, image)", 18, ["GlobalAveragePool"]),
        ("y = ReduceMean<keepdims = 0>(x, backwards)", 18, ["GlobalAveragePool", "Flatten"]),
        ("t = ReduceMean(x, image)\n y = Neg(t)", 18, ["GlobalAveragePool", "Neg"]),
    ],
)
def test_means_over_the_image(body: str, opset: int, left: list[str]) -> None:
    graph, changed = rewritten(body, opset)
    assert changed == 1
    assert ops(graph.to_model()) == left


@pytest.mark.parametrize(
    ("body", "opset"),
    [
        ("y = ReduceMean<axes = [3]>(x)", 17),
        ("y = ReduceMean<axes = [1, 2, 3]>(x)", 17),
        ("y = ReduceMean(x, one)", 18),
        ("y = ReduceMean(x, all)", 18),
        ("y = ReduceMean(x)", 18),
        ("y = ReduceMean(x, given)", 18),
        ("y = ReduceMax(x, image)", 18),
    ],
)
def test_every_other_mean_stays(body: str, opset: int) -> None:
    graph, changed = rewritten(body, opset)
    assert changed == 0
    assert ops(graph.to_model()) == [body.partition("= ")[2].partition("(")[0].partition("<")[0]]


def test_a_mean_over_a_sequence_stays() -> None:
    text = "net (float[n,3,4] x) => (float[n,3,1] y) { y = ReduceMean<axes = [2]>(x) }"
    graph = Graph(small(text))
    infer_types(graph)
    assert mean_to_pool(graph).changed == 0


def test_the_output_keeps_its_name_and_shape() -> None:
    graph, _ = rewritten("t = ReduceMean<keepdims = 0>(x, image)\n y = Abs(t)", 18)
    view = graph.view()
    producer = view.producer("t")
    assert producer is not None and producer.op == "Flatten"
    assert view.tensors["t"].shape == ("n", 3)
