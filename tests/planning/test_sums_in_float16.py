"""Scales of sums whose operands differ by far, as Core ML rescales them."""

import numpy as np
import pytest
from onnx import numpy_helper

import oq
from oq.planning.sums_in_float16 import RATIO
from tests.small import normal, small

FACTORS = {"one branch": (1e-6, 1.0), "a chain": (1e-4, 1e-4)}


@pytest.mark.parametrize("case", FACTORS)
def test_the_smaller_scale_is_raised_and_no_other(case: str) -> None:
    first, second = FACTORS[case]
    text = """net (float[n,4,6,6] x) => (float[n,4,6,6] y) {
        a = Conv(x, w1) b = Conv(a, w2) c = Conv(b, w3) d = Add(b, c) e = Add(a, d)
        y = Conv(e, w1) }"""
    weights = {"w1": normal(4, 4, 1, 1), "w2": normal(4, 4, 1, 1, seed=1) * np.float32(first)}
    weights["w3"] = normal(4, 4, 1, 1, seed=2) * np.float32(second)
    made = oq.quantize(small(text, weights), "coreml", {"x": normal(16, 4, 6, 6)}, refine="none")
    assert oq.check(made.model, "coreml") == ()
    values = {t.name: numpy_helper.to_array(t) for t in made.model.graph.initializer}
    scales = {t: float(values[f"{t}_scale"]) for t in "ad"}
    assert 0.98 < scales["a"] / scales["d"] / RATIO <= 1
    assert any("sums fit in float16" in note for note in made.report.notes)
    exact = oq.verify(small(text, weights), made.model, {"x": normal(4, 4, 6, 6, seed=3)})
    assert exact.literal.outputs[0].sqnr_db > 30


def test_scales_that_fit_stay() -> None:
    text = """net (float[n,4,6,6] x) => (float[n,4,6,6] y) {
        a = Conv(x, w) b = Add(x, a) y = Conv(b, w) }"""
    made = oq.quantize(
        small(text, {"w": normal(4, 4, 1, 1)}), "coreml", {"x": normal(16, 4, 6, 6)}, refine="none"
    )
    assert not any("sums fit" in note for note in made.report.notes)
