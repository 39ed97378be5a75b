"""What of a model does not pass through onnx-graphsurgeon, which keeps only the graph."""

from collections.abc import Mapping, Sequence

import onnx

from oq.spec import Array


def without_graph(model: onnx.ModelProto) -> onnx.ModelProto:
    """Everything of ``model`` but its graph and functions."""
    shell = onnx.ModelProto()
    for field, value in model.ListFields():
        if field.name in {"graph", "functions"}:
            continue
        if field.is_repeated:
            getattr(shell, field.name).extend(value)
        else:
            setattr(shell, field.name, value)
    return shell


def oldest_ir(opsets: Sequence[onnx.OperatorSetIdProto]) -> int:
    """The first IR version with these operator sets; 4 lets initializers not be inputs."""
    return max(4, onnx.helper.find_min_ir_version_for(list(opsets), ignore_unknown=True))


def put_constants(model: onnx.ModelProto, values: Mapping[str, Array]) -> None:
    """Write ``values`` into the initializers of those names, 4-bit ones packed two to a byte."""
    for proto in model.graph.initializer:
        if proto.name in values:
            proto.CopyFrom(onnx.numpy_helper.from_array(values[proto.name], proto.name))
