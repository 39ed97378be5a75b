"""What the report says of the model itself: foreign operators, inputs that became constants."""

import numpy as np
import pytest

from oq.model.graph import Graph
from oq.planning import registry
from oq.reporting.notes import foreign_warning, lost_inputs
from tests.small import small

NET = "net (float[2] x, float[2] a, float[2] b) => (float[2] y) { c = Add(x, a)\n y = Add(c, b) }"


LOST = "with a default value that no sample feeds"


@pytest.mark.parametrize(
    ("names", "ir", "said"),
    [
        ((), 8, ()),
        (("a", "b"), 3, ()),
        (("a",), 8, (f"1 input {LOST} is a constant in the file: a",)),
        (("a", "b"), 8, (f"2 inputs {LOST} are constants in the file: a, b",)),
    ],
)
def test_inputs_with_default_values_are_named(
    names: tuple[str, ...], ir: int, said: tuple[str, ...]
) -> None:
    model = small(NET, {n: np.ones(2, np.float32) for n in names}, ir=ir)
    written = small(NET.replace(", float[2] a", "").replace(", float[2] b", ""), ir=ir)
    assert lost_inputs(model, written) == said


def test_foreign_operators_are_counted_by_name_and_domain() -> None:
    text = """net (float[2] x) => (float[2] y) {
        a = com.example.Mystery (x)
        b = com.example.Mystery (a)
        c = com.microsoft.Inverse (b)
        y = com.example.Conv (c)
    }"""
    view = Graph(small(text)).view()
    (said,) = foreign_warning(view, registry.target("trt"))
    assert said.startswith("4 nodes foreign to target trt (1 x Conv of com.example, 1 x Inverse of")
    (own,) = foreign_warning(view, registry.target("ort"))
    assert own.startswith("3 nodes foreign to target ort (1 x Conv of com.example, 2 x Mystery of")
    plain = Graph(small("net (float[2] x) => (float[2] y) { y = Relu (x) }")).view()
    assert foreign_warning(plain, registry.target("dpu")) == ()
