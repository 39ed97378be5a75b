"""float16 models are quantized like float32 ones, on every target, and compared with themselves."""

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16

import oq
from oq.model.qdq import PAIR
from tests.graphs import IMAGE, Net
from tests.small import random_feeds, reference

TARGETS = ("trt", "coreml", "dpu", "ort")
DATA = {
    "x": np.random.default_rng(7).normal(size=(32, *map(int, IMAGE[1:]))).astype(np.float32),
}


def float32_model() -> onnx.ModelProto:
    net = Net()
    net.node("Relu", [net.conv(net.input("x"), "a", width=32)], "b")
    names = ["b", net.weight("w_c", 32, 32, 3, 3), net.weight("b_c", 32)]
    net.node("Conv", names, "c", pads=[1, 1, 1, 1])
    net.node("Relu", ["c"], "d")
    net.node("GlobalAveragePool", ["d"], "e")
    net.node("Flatten", ["e"], "f")
    net.node("Gemm", ["f", net.weight("w_g", 32, 32), net.weight("b_g", 32)], "y", transB=1)
    return net.model("y", opset=17)


def halved(model: onnx.ModelProto, **settings: object) -> onnx.ModelProto:
    """What onnxruntime's converter (onnxconverter-common's) makes of ``model``."""
    made: onnx.ModelProto = convert_float_to_float16(model, disable_shape_infer=True, **settings)
    return made


def pure() -> onnx.ModelProto:
    return halved(float32_model())


def with_float32_ends() -> onnx.ModelProto:
    return halved(float32_model(), keep_io_types=True)


def with_an_island() -> onnx.ModelProto:
    return halved(float32_model(), node_block_list=["n_c", "n_d"])


def retyped(kind: int) -> onnx.ModelProto:
    """The model in a type of which onnxruntime's CPU has no convolution, float32 at both ends."""
    model = float32_model()
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor).astype(dtype)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    first, last = model.graph.node[0], model.graph.node[-1]
    first.input[0], last.output[0] = "x_cast", "y_cast"
    model.graph.node.insert(0, helper.make_node("Cast", ["x"], ["x_cast"], "n_in", to=kind))
    model.graph.node.append(helper.make_node("Cast", ["y_cast"], ["y"], "n_out", to=1))
    del model.graph.value_info[:]
    model.opset_import[0].version = 22
    return model


MODELS: Mapping[str, Callable[[], onnx.ModelProto]] = {
    "pure": pure,
    "ends": with_float32_ends,
    "island": with_an_island,
    "bfloat16": lambda: retyped(TensorProto.BFLOAT16),
    "float64": lambda: retyped(TensorProto.DOUBLE),
}


def quantized(model: onnx.ModelProto, target: str, **options: object) -> oq.Result:
    return oq.quantize(model, target, DATA, calibrator="minmax", refine=("none",), **options)  # type: ignore[arg-type]


def activations(made: oq.Result) -> list[str]:
    """The quantized activations; the converter renames tensors at an island's shore."""
    sites = (s for s in made.report.plan.sites if s.role == "activation")
    return [s.tensor.removesuffix("_cast_to_fp16") for s in sites]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("form", MODELS)
def test_the_same_layers_as_of_the_float32_model_and_close_to_the_model_itself(
    form: str, target: str
) -> None:
    model = MODELS[form]()
    made = quantized(model, target)
    plain = quantized(float32_model(), target, verify=False)
    assert made.report.plan.groups == plain.report.plan.groups
    assert activations(made) == activations(plain)
    assert list(made.model.graph.input) == list(model.graph.input)
    assert [(o.name, o.type) for o in made.model.graph.output] == [
        (o.name, o.type) for o in model.graph.output
    ]
    found = made.report.verification
    assert found is not None and found.literal.outputs[0].sqnr_db > 25
    assert any("calibrated in float32" in n for n in made.report.notes)
    if form not in {"bfloat16", "float64"}:
        feeds = random_feeds(model)
        exact, rounded = reference(model, feeds)["y"], reference(made.model, feeds)["y"]
        assert exact.dtype == rounded.dtype
        error = (exact - rounded).astype(np.float64)
        assert (error**2).sum() < (exact.astype(np.float64) ** 2).sum() / 300


def types_of(model: onnx.ModelProto) -> dict[str, int]:
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.graph.value_info[:]
    graph = onnx.shape_inference.infer_shapes(bare, strict_mode=True).graph
    found = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.output)}
    return found | {t.name: t.data_type for t in graph.initializer}


@pytest.mark.parametrize("form", ["pure", "ends"])
def test_tensorrt_gets_float16_around_its_pairs(form: str) -> None:
    made = quantized(MODELS[form](), "trt", verify=False).model
    types = types_of(made)
    ops = [n.op_type for n in made.graph.node]
    assert {types[n.input[1]] for n in made.graph.node if n.op_type in PAIR} == {10}
    layers = [n for n in made.graph.node if n.op_type in {"Conv", "Gemm"}]
    assert len(layers) == 3 and {types[n.output[0]] for n in layers} == {10}
    assert ops.count("Cast") == (0 if form == "pure" else 2)
    assert made.opset_import[0].version >= 19


def test_tensorrt_keeps_an_island_in_float32_without_casts_inside_its_kernel() -> None:
    made = quantized(with_an_island(), "trt", verify=False).model
    types = types_of(made)
    nodes = {n.name: n for n in made.graph.node}
    assert types[nodes["n_c"].output[0]] == 1 and types[nodes["n_a"].output[0]] == 10
    makers = {t: n.op_type for n in made.graph.node for t in n.output}
    assert {makers.get(t) for t in nodes["n_c"].input[:2]} == {"DequantizeLinear"}


@pytest.mark.parametrize("target", ["coreml", "dpu", "ort"])
def test_other_targets_get_float32_between_casts_at_both_ends(target: str) -> None:
    made = quantized(pure(), target, verify=False).model
    types = types_of(made)
    casts = [n for n in made.graph.node if n.op_type == "Cast"]
    assert len(casts) == 2 and casts[0].input[0] == "x" and casts[1].output[0] == "y"
    assert 10 not in {k for t, k in types.items() if t != "y"}


def test_float32_is_left_in_float32_on_request() -> None:
    made = quantized(pure(), "trt", verify=False, settings={"high_precision": "fp32"}).model
    types = types_of(made)
    assert {types[n.input[1]] for n in made.graph.node if n.op_type in PAIR} == {1}


def test_an_interface_in_bfloat16_is_refused_in_a_sentence() -> None:
    model = retyped(TensorProto.BFLOAT16)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.BFLOAT16
    with pytest.raises(oq.OqError, match="input 'x' is bfloat16"):
        quantized(model, "ort")


def test_small_scales_are_not_multiplied_in_float16_by_onnxruntime() -> None:
    """Its optimizer would quantize biases with the product of two float16 scales."""
    small = {"x": (DATA["x"] / 100).astype(np.float16)}
    made = oq.quantize(pure(), "trt", small, calibrator="minmax", refine=("none",))
    found = made.report.verification
    assert found is not None
    assert found.deployed.outputs[0].sqnr_db > found.literal.outputs[0].sqnr_db - 6
