"""Infers dtype and rank of every tensor: by ONNX shape inference, and by onnxruntime if that fails.

A tensor of unknown type cannot be planned, and ignoring it would silently leave it in float.
"""

import onnx

from oq.model.graph import Graph
from oq.model.proto_fields import read_type
from oq.model.session import infer
from oq.numerics.values import TensorInfo
from oq.prepare.outcome import Outcome

SMALL = 1024
"""Maximum size in bytes of constants whose values are used in shape inference."""


def infer_types(graph: Graph) -> Outcome:
    """Annotate every tensor that a node computes."""
    types = _by_onnx(graph)
    computed = [t for n in graph.view().nodes for t in n.outputs if t]
    unknown = [t for t in computed if t not in types or types[t].shape is None]
    if unknown:
        types |= infer(graph.to_model(), unknown)
    graph.set_types(types)
    still = [t for t in computed if t not in types or types[t].dtype is None]
    refusals = tuple(f"tensor {t!r} has no type that ONNX or onnxruntime can infer" for t in still)
    return Outcome(len(types), refusals)


def infer_with_onnx(graph: Graph) -> Outcome:
    """Annotate what ONNX's inference finds: for files that onnxruntime may refuse to load."""
    types = _by_onnx(graph)
    graph.set_types(types)
    return Outcome(len(types))


def _by_onnx(graph: Graph) -> dict[str, TensorInfo]:
    inferred = onnx.shape_inference.infer_shapes(_without_weights(graph), data_prop=True)
    return {v.name: read_type(v) for v in (*inferred.graph.value_info, *inferred.graph.output)}


def _without_weights(graph: Graph) -> onnx.ModelProto:
    """The model with large floats left out: ONNX infers from their shapes, and takes at most 2 GB.

    Small ones stay, since the scales of a Resize decide a shape.
    """
    model = graph.to_model()
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.raw_data) > SMALL:
            tensor.ClearField("raw_data")
    return model
