"""Bytes of tensors at real shapes, against the arrays that onnxruntime returns."""

import numpy as np
import onnx
import pytest

from oq.model import footprint
from oq.model.footprint import Footprint
from oq.model.graph import Graph
from oq.model.session import Session, Settings, expose
from oq.numerics.values import Batch
from oq.prepare.infer_types import infer_types
from tests.small import normal, reference, small

DYNAMIC = """net (float[n,3,h,w] x) => (float[n,k,m] y) {
    c = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, weight) r = Relu(c)
    s = Shape(r) i = Resize <mode = "nearest"> (r, none, twice)
    f = Reshape(i, flat) y = Cast <to = 1> (f)
}"""
CONSTANTS = {
    "weight": normal(5, 3, 3, 3),
    "flat": np.array([0, 0, -1]),
    "twice": np.array([1, 1, 2, 2], np.float32),
    "none": np.zeros(0, np.float32),
}
FIXED = "net (float[n,3,8,8] x) => (float[n,5,6,6] y) { c = Conv(x, weight) y = Relu(c) }"


def real_bytes(model: onnx.ModelProto, batch: Batch) -> dict[str, int]:
    made = [t for n in model.graph.node for t in n.output]
    found = reference(expose(model, made), batch.feeds)
    return {name: array.nbytes for name, array in found.items()} | {
        name: array.nbytes for name, array in batch.feeds.items()
    }


@pytest.mark.parametrize("text", [DYNAMIC, FIXED], ids=["dynamic", "fixed"])
@pytest.mark.parametrize("inferred", [True, False])
def test_bytes_are_those_of_a_run(text: str, inferred: bool) -> None:
    model = small(text, CONSTANTS)
    graph = Graph(model)
    if inferred:
        infer_types(graph)
    measured = Footprint(model, graph.view().tensors)
    for shape in [(1, 3, 8, 8), (2, 3, 8, 8), *([(1, 3, 30, 50)] if text is DYNAMIC else [])]:
        batch = Batch({"x": normal(*shape)})
        found, expected = measured.of(batch), real_bytes(model, batch)
        if not inferred:  # the dtype of s is unknown
            found.pop("s", None), expected.pop("s", None)
        assert found == expected


def test_declared_shapes_need_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small(FIXED, CONSTANTS)
    graph = Graph(model)
    infer_types(graph)
    monkeypatch.setattr(footprint, "Session", None)
    found = Footprint(model, graph.view().tensors).of(Batch({"x": normal(4, 3, 8, 8)}))
    assert found["y"] == 4 * 5 * 6 * 6 * 4


def test_only_what_is_not_told_is_run_and_once_per_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    text = """net (float[n,3,8,8] x, float[n,m] z) => (float[n,5,6,6] y, float[n,k] t) {
        t = Concat <axis = 1> (z, z) c = Conv(x, weight) y = Relu(c)
    }"""
    model = small(text, CONSTANTS)
    graph = Graph(model)
    infer_types(graph)
    run: list[list[str]] = []

    def watch(probe: onnx.ModelProto, settings: Settings) -> Session:
        run.append([n.op_type for n in probe.graph.node])
        return Session(probe, settings)

    monkeypatch.setattr(footprint, "Session", watch)
    measured = Footprint(model, graph.view().tensors)
    for samples, width in [(1, 4), (3, 4), (3, 4), (3, 7), (3, 4)]:
        batch = Batch({"x": normal(samples, 3, 8, 8), "z": normal(samples, width)})
        assert measured.of(batch) == real_bytes(model, batch)
    assert run == [["Concat", "Shape"]] * 3


def test_after_many_shapes_bytes_grow_with_the_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footprint, "PROBES", 2)
    model = small(DYNAMIC, CONSTANTS)
    measured = Footprint(model)
    for side in (8, 16):
        measured.of(Batch({"x": normal(1, 3, side, side)}))
    monkeypatch.setattr(footprint, "Session", None)
    large = Batch({"x": normal(1, 3, 32, 64)})
    assert measured.of(large) == {**real_bytes(model, large), "s": measured.of(large)["s"]}


def test_what_has_no_shape_is_left_out() -> None:
    text = """net (float[n,m] x) => (float[n,k] y) {
        s = SequenceConstruct(x, x) y = ConcatFromSequence <axis = 1> (s)
    }"""
    model = small(text)
    found = Footprint(model).of(Batch({"x": normal(2, 3)}))
    assert found["x"] == 24
