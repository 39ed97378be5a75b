"""What ``oq inspect`` says of ONNX files, against what was written into them."""

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import helper

import oq
from oq.artifacts.onnx_file import file_contents, model_contents
from oq.errors import ModelError
from tests.small import floats, small

BUNDLED = Path(__file__).parents[2] / "models" / "bundled"


def test_a_file_of_oq_tells_who_made_it_and_its_grids(tmp_path: Path) -> None:
    calib = BUNDLED / "digits_calib.npz"
    made = oq.quantize(
        BUNDLED / "residual.onnx", "ort", calib, samples=16, refine="none", verify=False
    )
    made.save(tmp_path / "m.onnx")
    found = file_contents(tmp_path / "m.onnx")
    assert found.bytes == (tmp_path / "m.onnx").stat().st_size
    assert found.facts["quantized"] == "Q/DQ"
    assert found.facts["oq.target"] == "ort" and found.facts["oq.samples"] == "16"
    nodes = made.model.graph.node
    pairs = [n for n in nodes if n.op_type == "QuantizeLinear"]
    assert len(found.activations) == len(pairs) == found.ops["QuantizeLinear"]
    layers = sum(n.op_type in {"Conv", "Gemm"} for n in nodes)
    assert sum(w.dtype == "int8" for w in found.weights) == layers
    stored = {"int8": 0, "int32": 0}
    for tensor in made.model.graph.initializer:
        name = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).name
        if name in stored:
            stored[name] += len(tensor.raw_data)
    assert {k: found.constants[k] for k in stored} == stored


def test_a_float_model_has_no_grids_and_says_so() -> None:
    found = model_contents(onnx.load(BUNDLED / "transformer.onnx"))
    assert found.facts["quantized"] == "no, a float model"
    assert not found.activations and not found.weights
    assert found.inputs[0].shape == ("batch", 1, 8, 8)


def test_sizes_count_half_bytes_external_data_and_constants_of_nodes(tmp_path: Path) -> None:
    model = small(
        """net (float[3] x) => (float[3] y) {
            c = Constant <value = float[3] {1, 2, 3}> ()
            w = Mul(x, c)
            d = DequantizeLinear(four, s)
            y = Add(w, d)
        }""",
        {"four": np.ones(3, ml_dtypes.int4), "s": floats(2)[0], "big": np.zeros(500, np.float16)},
        opset=21,
        ir=10,
    )
    onnx.save_model(
        *(model, tmp_path / "m.onnx"), save_as_external_data=True, location="m.bin",
        size_threshold=100,
    )  # fmt: skip
    found = file_contents(tmp_path / "m.onnx")
    assert found.constants == {"float16": 1000, "float32": 12 + 4, "int4": 2}
    assert found.facts["external"] == "m.bin"
    assert found.bytes == sum(f.stat().st_size for f in tmp_path.iterdir())
    (tmp_path / "m.bin").unlink()
    with pytest.raises(ModelError, match=r"'m.bin' .* is missing"):
        file_contents(tmp_path / "m.onnx")


def test_a_constant_that_a_call_gives_is_passed_over() -> None:
    model = small("net (float[n] x) => (float[n] y) { y = com.example.F <gain = 2.0> (x) }")
    gain = helper.make_node("Constant", [], ["g"])
    gain.attribute.add(name="value_float", ref_attr_name="gain", type=onnx.AttributeProto.FLOAT)
    nodes = [gain, helper.make_node("Mul", ["x", "g"], ["y"])]
    opset = [helper.make_opsetid("", 17)]
    model.functions.append(
        helper.make_function("com.example", "F", ["x"], ["y"], nodes, opset, ["gain"])
    )
    assert model_contents(model).ops == {"Constant": 1, "Mul": 1, "com.example.F": 1}
