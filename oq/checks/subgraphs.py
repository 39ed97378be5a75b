"""The bodies of If, Loop and Scan as separate models, so that they can be checked like any other.

A body reads tensors of the outer graph.  Constants among them are copied into it, and the others
become its inputs, with the types known outside.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx

from oq.model.bodies import bodies_of, captured_by


@dataclass(frozen=True, slots=True)
class Body:
    """One subgraph: ``path`` is the node and attribute that contain it, outermost first."""

    path: str
    model: onnx.ModelProto


def bodies(model: onnx.ModelProto) -> Iterator[Body]:
    """Every subgraph of ``model``, nested ones included, outer ones first."""
    yield from _inside(model, model.graph, "")


def _inside(model: onnx.ModelProto, graph: onnx.GraphProto, prefix: str) -> Iterator[Body]:
    inner = [(node, *found) for node in graph.node for found in bodies_of(node)]
    if not inner:
        return
    types = {v.name: v for v in (*graph.input, *graph.value_info, *graph.output)}
    constants = {t.name: t for t in graph.initializer}
    for node, attribute, graph_inside in inner:
        path = f"{prefix}{node.name or node.op_type}/{attribute}/"
        body = _alone(model, graph_inside, types, constants)
        yield Body(path, body)
        yield from _inside(model, body.graph, path)


def _alone(
    model: onnx.ModelProto,
    graph: onnx.GraphProto,
    types: Mapping[str, onnx.ValueInfoProto],
    constants: Mapping[str, onnx.TensorProto],
) -> onnx.ModelProto:
    body = onnx.ModelProto(ir_version=model.ir_version)
    body.opset_import.extend(model.opset_import)
    body.graph.CopyFrom(graph)
    for name in captured_by(graph):
        if name in constants:
            body.graph.initializer.append(constants[name])
        else:
            body.graph.input.append(types.get(name, onnx.ValueInfoProto(name=name)))
    return body
