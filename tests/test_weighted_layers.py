"""What ONNX allows on a layer with a weight is quantized on every target that has the kernel."""

import numpy as np
import onnx
import pytest

import oq
from oq.numerics.values import Array
from tests.small import normal, small

TARGETS = ("trt", "coreml", "dpu", "ort")
W: dict[str, Array] = {
    "line": normal(8, 4, 3, seed=1) / 3,
    "plane": normal(8, 4, 3, 3, seed=2) / 6,
    "room": normal(8, 4, 3, 3, 3, seed=3) / 10,
    "two": normal(8, 2, 3, 3, seed=4) / 4,
    "each": normal(8, 1, 3, 3, seed=5) / 3,
    "back": normal(4, 8, 3, 3, seed=6) / 6,
    "m": normal(4, 8, seed=7) / 2,
    "t": normal(8, 4, seed=8) / 2,
    "left": normal(5, 6, seed=9) / 2,
    "one3": normal(1, 4, 8, seed=10) / 2,
    "two3": normal(2, 4, 8, seed=11) / 2,
    "v": normal(4, seed=12),
    "b": normal(8, seed=13) / 4,
    "zero": np.zeros(8, np.float32),
    "row": normal(1, 8, seed=14) / 4,
    "one": normal(1, seed=15),
    "scalar": normal(1, seed=16).reshape(()),
    "column": normal(6, 1, seed=17) / 4,
    "whole": normal(6, 8, seed=18) / 4,
}
INPUTS = {
    "line": "1,4,9", "plane": "1,4,9,9", "room": "1,4,5,5,5", "rows": "6,4", "turned": "4,6",
    "tokens": "2,6,4", "heads": "2,3,6,4", "vector": "4",
}  # fmt: skip
ALL, NOT_DPU = frozenset(TARGETS), frozenset(TARGETS) - {"dpu"}
UPWARD = frozenset({"coreml", "dpu"})
"""Targets with a ConvTranspose in int8 by default."""

FORMS: dict[str, tuple[str, str, frozenset[str]]] = {
    "1-D": ("line", "y = Conv (x, line, b)", ALL),
    "2-D without bias": ("plane", "y = Conv (x, plane)", ALL),
    "2-D with an empty bias": ("plane", 'y = Conv (x, plane, "")', ALL),
    "2-D with a bias of zeros": ("plane", "y = Conv (x, plane, zero)", ALL),
    "2-D with a computed bias": (
        "plane",
        "r = ReduceMean <axes = [0,2,3], keepdims = 0> (x)\n c = Concat <axis = 0> (r, r)\n"
        " y = Conv (x, plane, c)",
        ALL,
    ),
    "3-D": ("room", "y = Conv (x, room, b)", NOT_DPU),
    "groups": ("plane", "y = Conv <group = 2> (x, two, b)", ALL),
    "depthwise": ("plane", "y = Conv <group = 4> (x, each, b)", ALL),
    "same": ("plane", 'y = Conv <auto_pad = "SAME_UPPER", strides = [2,2]> (x, plane, b)', ALL),
    "same lower": ("plane", 'y = Conv <auto_pad = "SAME_LOWER"> (x, plane, b)', ALL),
    "valid": ("plane", 'y = Conv <auto_pad = "VALID"> (x, plane, b)', ALL),
    "dilated": ("plane", "y = Conv <dilations = [2,2], pads = [2,2,2,2]> (x, plane, b)", ALL),
    "uneven": ("plane", "y = Conv <pads = [0,1,2,1], strides = [2,1]> (x, plane)", ALL),
    "back": ("plane", "y = ConvTranspose <strides = [2,2]> (x, back, b)", UPWARD),
    "back to a shape": (
        "plane", "y = ConvTranspose <strides = [2,2], output_shape = [18,18]> (x, back)", UPWARD
    ),
    "Gemm": ("rows", "y = Gemm (x, m, b)", ALL),
    "Gemm transB": ("rows", "y = Gemm <transB = 1> (x, t, b)", ALL),
    "Gemm transA": ("turned", "y = Gemm <transA = 1> (x, m, b)", ALL),
    "Gemm transA transB": ("turned", "y = Gemm <transA = 1, transB = 1> (x, t)", ALL),
    "Gemm alpha": ("rows", "y = Gemm <alpha = 0.5> (x, m, b)", ALL),
    "Gemm beta": ("rows", "y = Gemm <beta = 0.5> (x, m, b)", ALL),
    "Gemm beta 0": ("rows", "y = Gemm <beta = 0.0> (x, m, b)", ALL),
    "Gemm empty": ("rows", 'y = Gemm (x, m, "")', ALL),
    "Gemm row": ("rows", "y = Gemm (x, m, row)", ALL),
    "Gemm one": ("rows", "y = Gemm (x, m, one)", ALL),
    "Gemm scalar": ("rows", "y = Gemm (x, m, scalar)", ALL),
    "Gemm column": ("rows", "y = Gemm <beta = 2.0> (x, m, column)", ALL),
    "Gemm whole": ("rows", "y = Gemm (x, m, whole)", ALL),
    "Gemm computed": (
        "rows", "c = ReduceMean <axes = [1], keepdims = 1> (x)\n y = Gemm (x, m, c)", ALL
    ),
    "Gemm of a constant": ("rows", 'y = Gemm (left, x, "")', ALL),
    "MatMul": ("rows", "y = MatMul (x, m)", ALL),
    "MatMul 3-D": ("tokens", "y = MatMul (x, m)", ALL),
    "MatMul 4-D": ("heads", "y = MatMul (x, m)", ALL),
    "MatMul vector": ("vector", "y = MatMul (x, m)", ALL),
    "MatMul by a vector": ("tokens", "y = MatMul (x, v)", ALL),
    "MatMul one matrix": ("tokens", "y = MatMul (x, one3)", ALL),
    "MatMul stack": ("tokens", "y = MatMul (x, two3)", ALL),
    "MatMul of a constant": ("tokens", "y = MatMul (left, x)", ALL),
    "MatMul and a scalar": ("tokens", "a = MatMul (x, m)\n y = Add (a, scalar)", ALL),
    "MatMul and a factor": ("tokens", "a = MatMul (x, m)\n y = Mul (a, scalar)", ALL),
    "Einsum": ("tokens", 'y = Einsum <equation = "bsi,io->bso"> (x, m)', ALL),
    "weight turned": ("rows", "w = Transpose <perm = [1,0]> (t)\n y = MatMul (x, w)", ALL),
}  # fmt: skip


def model(name: str) -> onnx.ModelProto:
    shape, body, _ = FORMS[name]
    words = set(body.replace(",", " ").replace("(", " ").replace(")", " ").split())
    made = small(
        f"net (float[{INPUTS[shape]}] x) => (float y) {{ {body} }}",
        {n: v for n, v in W.items() if n in words},
    )
    made.graph.output[0].type.tensor_type.ClearField("shape")
    return made


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", FORMS)
def test_the_weight_is_quantized_where_there_is_a_kernel(name: str, target: str) -> None:
    shape, _, on = FORMS[name]
    dims = [int(size) for size in INPUTS[shape].split(",")]
    data = [{"x": normal(*dims, seed=seed)} for seed in range(8)]
    made = oq.quantize(model(name), target, data, refine=("none",), mode="naive").report
    layers = [
        s for s in made.plan.skips if s.op in {"Conv", "ConvTranspose", "Einsum", "Gemm", "MatMul"}
    ]
    assert (not layers) is (target in on), [s.reason for s in layers]
    found = made.verification
    assert found is not None
    assert all(o.sqnr_db > 15 for r in (found.literal, found.deployed) for o in r.outputs)


def test_a_function_of_the_model_is_a_layer_like_any_other() -> None:
    text = """
        <ir_version: 8, opset_import: ["" : 17, "local" : 1]>
        net (float[2,4] x) => (float[2,8] y) { y = local.layer <gain = 0.5> (x, m, b) }
        <domain: "local", opset_import: ["" : 17]>
        layer <gain> (x, w, c) => (y) { y = Gemm <alpha: float = @gain> (x, w, c) }
    """
    made = onnx.parser.parse_model(text)
    for name in ("m", "b"):
        made.graph.initializer.append(onnx.numpy_helper.from_array(W[name], name))
    for target in TARGETS:
        sites = oq.make_plan(made, target, mode="naive").sites
        assert any(s.role == "weight" for s in sites)
