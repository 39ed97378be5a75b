"""Latency in words, by ratios worked out by hand."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

import oq
from oq.comparison.compare import Latency, compare
from oq.numerics.values import Batch
from oq.reporting.verdict import judge_drop
from oq.reporting.verification import latency_words, verification_lines
from tests.damaged import X, damaged
from tests.small import normal, small


@pytest.mark.parametrize(
    ("time", "said"),
    [
        (Latency(8, 19.14, 57.0, 2.978, 2.9, 3.1), "3.0x slower than float (57.00 against 19.14"),
        (Latency(8, 2.0, 1.0, 0.5, 0.45, 0.6), "2.0x faster than float (1.00 against 2.00 ms"),
        (Latency(1, 1.0, 1.1, 1.1, 1.05, 1.2), "10 % slower than float (1.10 against 1.00 ms"),
        (Latency(8, 0.9, 1.03, 1.144, 0.8, 1.2), "as float within the noise, 0.80 to 1.20 of its"),
    ],
)
def test_times_and_ratio_agree(time: Latency, said: str) -> None:
    assert latency_words(time).startswith(said)


def test_of_a_target_with_its_own_runtime_nothing_is_timed_unasked() -> None:
    model = damaged()
    made = oq.quantize(model, "trt", {"x": X}, refine="none", verify=False).model
    plain = oq.verify(model, made, {"x": X})
    assert (plain.target, plain.mode, plain.latency) == ("trt", "literal", None)
    text = " ".join("\n".join(verification_lines(plain)).split())
    assert "trt has its own runtime: the literal rows count" in text and "kernels" not in text
    asked = oq.verify(model, made, {"x": X}, latency=True)
    assert asked.latency is not None
    text = " ".join("\n".join(verification_lines(asked)).split())
    assert "rows count, the figures below do not kernels" in text


def test_a_file_judged_as_another_target_is_said_to_be() -> None:
    model = damaged()
    made = oq.quantize(model, "dpu", {"x": X}, refine="none", verify=False).model
    own = oq.verify(model, made, {"x": X})
    other = oq.verify(model, made, {"x": X}, target="ort", latency=False)
    assert (own.engine, own.mode) == ("dpu", "deployed")
    assert (other.engine, other.made_for) == ("onnxruntime", "dpu")
    said = "made for target dpu, judged here as ort"
    assert said in "\n".join(verification_lines(other))
    assert said not in "\n".join(verification_lines(replace(other, made_for="ort")))


def test_results_of_another_number_are_not_compared_and_that_is_said() -> None:
    """A model that keeps what is above a threshold: as it is, and moved so far that all is kept."""

    def model(least: float) -> onnx.ModelProto:
        text = """net (float[n] x) => (float[k] y) {
            over = Greater(x, least) i = NonZero(over) t = Transpose(i) y = GatherND(x, t)
        }"""
        return small(text, {"least": np.array(least, np.float32)})

    batch = Batch({"x": normal(64)})
    found = compare(model(0.0), model(-9.0), [batch], latency=False)
    lines = list(verification_lines(found))
    assert lines[0].startswith("NOT COMPARED: ") and "'y'" in lines[1]
    assert "no output could be compared" in str(judge_drop(found))
    same = compare(model(0.0), model(1e-9), [batch], latency=False)
    assert next(iter(verification_lines(same))).startswith("verified on 64 samples")
