"""Weights of 4 bits: 16 codes in int8, everything else as before."""

from pathlib import Path

import numpy as np
import onnx
import pytest

import oq
from oq.errors import OptionError
from oq.model.session import run

BUNDLED = Path(oq.__file__).parents[1] / "models" / "bundled"


def digits(count: int) -> dict[str, np.ndarray]:
    with np.load(BUNDLED / "digits_calib.npz") as arrays:
        return {"input": arrays["input"][:count]}


@pytest.mark.parametrize("target", ["ort", "trt", "coreml"])
def test_weights_have_sixteen_codes_and_the_file_is_legal(target: str) -> None:
    made = {
        bits: oq.quantize(
            BUNDLED / "residual.onnx", target, digits(16), settings={"weight_bits": bits},
            refine="none", verify=False,
        )
        for bits in ("4", "8")
    }  # fmt: skip
    model = made["4"].model
    assert not [f for f in oq.check(model, target) if f.severity == "error"]
    assert [n.op_type for n in model.graph.node] == [n.op_type for n in made["8"].model.graph.node]
    codes = [
        values
        for t in model.graph.initializer
        if (values := onnx.numpy_helper.to_array(t)).dtype == np.int8 and values.ndim >= 2
    ]
    assert len(codes) == 9
    for values in codes:
        assert values.min() >= -8 and values.max() == 7
        assert len(np.unique(values)) > 8
    answer = run(model, digits(4))
    assert all(np.isfinite(a).all() for a in answer.values())


@pytest.mark.parametrize(
    ("target", "other"),
    [("ort", {"weights": "int4"}), ("ort", {"dynamic": "on"}), ("trt", {"dtype": "fp8"})],
)
def test_it_is_for_int8_alone(target: str, other: dict[str, str]) -> None:
    with pytest.raises(OptionError, match="cannot be combined with"):
        oq.make_plan(BUNDLED / "residual.onnx", target, settings={**other, "weight_bits": "4"})
