"""Sums and products beyond int32: where the check says so, onnxruntime computes something else."""

import numpy as np
import onnx
import pytest

import oq
from tests.small import floats, reference, small

X = np.arange(64, dtype=np.float32).reshape(1, 64)


def model(op: str, step: float, zero: int = 0, behind: str = "Identity") -> onnx.ModelProto:
    """``op`` of x with itself, both in steps of 0.25, in steps of ``step`` behind."""
    text = f"""net (float[n,64] x) => (float[n,64] y) {{
        q = QuantizeLinear(x, s, z)
        d = DequantizeLinear(q, s, z)
        vq = QuantizeLinear(x, s, z)
        vd = DequantizeLinear(vq, s, z)
        c = {op}(d, vd)
        {"r = Relu(c)" if behind == "Relu" else ""}
        rq = QuantizeLinear({"r" if behind == "Relu" else "c"}, t, rz)
        y = DequantizeLinear(rq, t, rz)
    }}"""
    zeros = {"z": np.asarray(zero, np.uint8), "rz": np.asarray(0, np.uint8)}
    return small(text, {"s": floats(0.25)[0], "t": np.asarray(step, np.float32), **zeros})


@pytest.mark.parametrize("behind", ["Identity", "Relu"])
@pytest.mark.parametrize(
    ("op", "step", "wrong"),
    [("Add", 1e-7, False), ("Add", 1e-8, True), ("Mul", 2e-6, False), ("Mul", 1e-6, True)],
)
def test_a_result_beyond_int32(op: str, step: float, wrong: bool, behind: str) -> None:
    made = model(op, step, behind=behind)
    found = [f for f in oq.check(made, "ort") if f.check == "steps-in-int32"]
    assert bool(found) is wrong
    literal, deployed = (reference(made, {"x": X}, deployed=d)["y"] for d in (False, True))
    far = float(np.abs(literal - deployed).max()) / step
    assert round(far) == (255 if wrong else 0)


def test_a_large_negative_sum_is_right() -> None:
    """What is below all codes becomes the smallest, by either way: masks of attention."""
    made = model("Add", 1e-8, zero=255)
    assert "steps-in-int32" not in {f.check for f in oq.check(made, "ort")}
    literal, deployed = (reference(made, {"x": -X}, deployed=d)["y"] for d in (False, True))
    assert np.array_equal(literal, deployed)


def test_a_result_that_nothing_quantizes_again() -> None:
    made = model("Add", 1e-8)
    del made.graph.node[-2:]
    made.graph.output[0].name = "c"
    assert "steps-in-int32" not in {f.check for f in oq.check(made, "ort")}
