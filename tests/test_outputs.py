"""Outputs that people have, for every target: sequences, maps, optional values, strings, constants
that no node computes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import oq
from oq.errors import ModelError
from oq.planning import registry
from tests.small import normal, small

TARGETS = registry.names("targets")
X = normal(8, 6)
WEIGHTS = {"w1": normal(6, 8, seed=1), "w2": normal(8, 3, seed=2)}
LAYERS = "a = MatMul(x, w1) r = Relu(a) b = MatMul(r, w2)"


def ending(nodes: str, *outputs: onnx.ValueInfoProto, opset: int = 17) -> onnx.ModelProto:
    """Two layers, x[n,6] to b[n,3], and ``nodes`` behind them."""
    text = f"net (float[n,6] x) => (float[n,3] b) {{ {LAYERS} {nodes} }}"
    model = small(text, WEIGHTS, opset=opset)
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    return model


def tensor(name: str, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, None)


def parts() -> onnx.ModelProto:
    """A sequence beside an array."""
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    value = helper.make_value_info("s", kind)
    return ending("s = SplitToSequence <axis = 1> (b)", tensor("b"), value)


def only_parts() -> onnx.ModelProto:
    return ending(
        "s = SplitToSequence <axis = 1> (b)",
        helper.make_value_info(
            "s",
            helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, None)),
        ),
    )


def maybe() -> onnx.ModelProto:
    kind = helper.make_optional_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    return ending("o = Optional(b)", tensor("b"), helper.make_value_info("o", kind))


def probabilities() -> onnx.ModelProto:
    """The sequence of maps that converters of classifiers write."""
    model = ending("i = ArgMax <axis = 1, keepdims = 0> (b)", tensor("i", TensorProto.INT64))
    model.graph.node.append(
        helper.make_node("ZipMap", ["b"], ["p"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2])
    )
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    kind = helper.make_map_type_proto(
        TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    )
    model.graph.output.append(helper.make_value_info("p", helper.make_sequence_type_proto(kind)))
    return model


def word() -> onnx.ModelProto:
    """The name of the class, and nothing else."""
    model = ending("i = ArgMax <axis = 1, keepdims = 0> (b)", tensor("y", TensorProto.STRING))
    names = np.array(["cat", "dog", "owl"], object)
    model.graph.initializer.append(numpy_helper.from_array(names, "names"))
    model.graph.node.append(helper.make_node("Gather", ["names", "i"], ["y"]))
    return model


Builder = Callable[[], onnx.ModelProto]

MODELS: tuple[Builder, ...] = (parts, only_parts, maybe, probabilities, word)
NUMBERLESS = {"only_parts", "word"}
UNREAD = {"parts", "maybe", "probabilities"}
"""What OpenVINO does not load, the float model no more than the quantized one."""

NOTE = "no output is an array of numbers, so the two models cannot be compared"


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("build", MODELS, ids=lambda f: f.__name__)
def test_outputs_of_any_type(build: Builder, target: str) -> None:
    model = build()
    if target == "openvino" and build.__name__ in UNREAD:
        with pytest.raises(ModelError, match=r"OpenVINO cannot load the model: .*No conversion"):
            oq.quantize(model, target, {"x": X}, refine="none")
        return
    result = oq.quantize(model, target, {"x": X}, refine="none")
    assert result.report.plan.sites
    onnx.checker.check_model(result.model, full_check=True)
    kinds = [[o.type.WhichOneof("value") for o in m.graph.output] for m in (model, result.model)]
    assert kinds[0] == kinds[1]
    ort.InferenceSession(result.model.SerializeToString()).run(None, {"x": X})
    assert (NOTE in result.report.notes) == (build.__name__ in NUMBERLESS)
    assert (result.report.verification is None) == (build.__name__ in NUMBERLESS)


def test_a_model_of_constants_alone_is_said_to_have_no_layer(tmp_path: Path) -> None:
    model = small("net () => (float[2] w) { w = Identity(w) }")
    del model.graph.node[:]
    model.graph.initializer.append(numpy_helper.from_array(normal(2), "w"))
    onnx.save(model, tmp_path / "m.onnx")
    assert not oq.make_plan(tmp_path / "m.onnx", "ort").sites
    with pytest.raises(ModelError, match="the model has no inputs: it computes a constant"):
        oq.quantize(tmp_path / "m.onnx", "ort", "random")
