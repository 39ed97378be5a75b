"""Files of an opset newer than onnxruntime's Q/DQ."""

import onnx
import onnxruntime as ort
import pytest
from onnx import defs

import oq
from oq.errors import ModelError
from oq.prepare.lower_opset import NEWEST, lower_opset
from oq.prepare.raise_opset import opset
from tests.small import assert_same_outputs, normal, small

TEXT = "net (float[n,4,6,6] x) => (float[n,4,6,6] y) { c = Conv(x, w) y = Relu(c) }"
LATEST = defs.onnx_opset_version()


def latest(text: str) -> onnx.ModelProto:
    return small(text, {"w": normal(4, 4, 1, 1)}, opset=LATEST, ir=10)


def test_it_is_the_last_opset_whose_quantize_linear_runs() -> None:
    pair = """net (float[n] x) => (float[n] y) <float s = {0.5}, int8 z = {0}> {
        q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)
    }"""
    for version in range(NEWEST, LATEST + 1):
        model = small(pair, opset=version, ir=10).SerializeToString()
        if version == NEWEST:
            ort.InferenceSession(model)
        else:
            with pytest.raises(Exception, match="NOT_IMPLEMENTED"):
                ort.InferenceSession(model)


def test_what_did_not_change_is_lowered() -> None:
    model = latest(TEXT)
    lowered = lower_opset(model)
    assert (opset(lowered), opset(model)) == (NEWEST, LATEST)
    assert_same_outputs(model, lowered)
    assert lower_opset(lowered) is lowered
    found = oq.quantize(model, "ort", normal(8, 4, 6, 6)).report.verification
    assert found is not None and found.literal.outputs[0].sqnr_db > 30


def test_what_changed_is_named() -> None:
    """An opset of the past stands for a future one: Cast is of opset 13 and of 19."""
    model = small("net (float[n] x) => (int32[n] y) { y = Cast<to = 6>(x) }", opset=19)
    assert lower_opset(model, 19) is model
    with pytest.raises(
        ModelError, match="its Cast is newer than opset 18; export it with opset 18"
    ):
        lower_opset(model, 18)
