"""The float model that quantized ones are compared with."""

import onnx

from oq.comparison.shared_tensors import ONCE
from oq.errors import ModelError
from oq.model.graph import Graph
from oq.model.restore_types import restore_types
from oq.model.session import Session
from oq.prepare.widen_floats import widen_floats


def reference_of(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` itself where onnxruntime runs it; else, if it is bfloat16 or float64, of which
    onnxruntime's CPU has few operators, the same in float32 with the inputs and outputs that it
    has."""
    widened, own = widen_floats(model)
    if own.most in {None, "float16"}:
        return model
    try:
        Session(model, ONCE)
    except ModelError:
        graph = Graph(widened)
        restore_types(graph, own.inputs, own.outputs)
        return graph.to_model()
    return model
