"""Latency in words, by ratios worked out by hand."""

from dataclasses import replace

import pytest

import oq
from oq.comparison.compare import Latency
from oq.reporting.verification import latency_words, verification_lines
from tests.damaged import X, damaged


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
