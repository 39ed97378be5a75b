"""What the report says of the model itself: foreign operators, inputs that became constants."""

from dataclasses import replace

import numpy as np
import pytest

import oq
from oq.comparison.compare import Latency
from oq.model.graph import Graph
from oq.planning import registry
from oq.reporting.notes import foreign_warning, lost_inputs, speed_advice
from tests.damaged import X, damaged
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


def test_advice_where_int8_is_no_faster() -> None:
    model = damaged()
    found = oq.verify(model, model, {"x": X}, latency=False)
    slow, same, fast = (
        replace(found, latency=Latency(8, 1.0, ratio, ratio, low, high),
                kernels=replace(found.kernels, integer=share, floating=100 - share))
        for ratio, low, high, share in (
            (1.2, 1.1, 1.3, 90), (1.0, 0.9, 1.1, 20), (0.5, 0.4, 0.6, 20),
        )
    )  # fmt: skip
    assert (
        "int8 is no faster here (1.20 of the float" in speed_advice(slow, ("dynamic", "weights"))[0]
    )
    assert "(--set dynamic=on), weights alone" in speed_advice(slow, ("dynamic", "weights"))[0]
    assert speed_advice(same, ())[0].endswith("keep the float model, or try another target")
    assert "20 % of kernels in integers" in speed_advice(same, ())[0]
    assert speed_advice(fast, ()) == () == speed_advice(found, ()) == speed_advice(None, ())
    assert speed_advice(replace(slow, mode="literal"), ()) == ()
