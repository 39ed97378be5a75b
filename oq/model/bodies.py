"""The tensors that nodes read, including those read by bodies of If, Loop and Scan; submodels."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

from oq.numerics.values import Array


def bodies_of(node: onnx.NodeProto) -> Iterator[tuple[str, onnx.GraphProto]]:
    """(attribute, graph) for every subgraph of ``node``."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.name, attribute.g


def graphs_in(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """``graph`` and all bodies in it."""
    yield graph
    for node in graph.node:
        for _, body in bodies_of(node):
            yield from graphs_in(body)


def nodes_in(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of ``graph``, each before those of its bodies."""
    for node in graph.node:
        yield node
        for _, body in bodies_of(node):
            yield from nodes_in(body)


def reads_of(node: onnx.NodeProto) -> Iterator[str]:
    """The tensors that ``node`` reads, including outer tensors read by its subgraphs."""
    yield from (name for name in node.input if name)
    for _, body in bodies_of(node):
        yield from captured_by(body)


def captured_by(body: onnx.GraphProto) -> list[str]:
    """The outer tensors that ``body`` and its nested graphs read."""
    defined = {v.name for v in body.input} | {t.name for t in body.initializer}
    defined |= {t for n in body.node for t in n.output}
    reads = [t for n in body.node for t in n.input] + [v.name for v in body.output]
    for node in body.node:
        for _, inner in bodies_of(node):
            reads += captured_by(inner)
    return [name for name in dict.fromkeys(reads) if name and name not in defined]


def is_optional(value: onnx.ValueInfoProto) -> bool:
    """Whether ``value`` is an optional tensor."""
    kind = value.type
    if not kind.HasField("optional_type"):
        return False
    return bool(kind.optional_type.elem_type.HasField("tensor_type"))


def declare(name: str, like: Any) -> onnx.ValueInfoProto:
    """A graph input of NumPy type ``like`` and any shape; ``[dtype]`` is a sequence of such.  Like
    an array it has as many axes as that: onnxruntime runs no Scan whose inputs are of any rank,
    and no Resize to sizes whose number is free, so that a list of integers has its length."""
    if isinstance(like, list):
        element = helper.np_dtype_to_tensor_dtype(np.dtype(like[0]))
        return helper.make_tensor_sequence_value_info(name, element, None)
    dtype, shape = like, None
    if isinstance(like, np.ndarray):
        dtype, shape = like.dtype, [like.size] if is_list(like) else [None] * like.ndim
    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape
    )


def is_list(values: Array) -> bool:
    """Whether ``values`` may be sizes or axes: integers in a row."""
    return bool(values.ndim == 1 and values.dtype.kind == "i")


def make_piece(
    model: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    given: Mapping[str, Any],
    outputs: Iterable[str],
    constants: Sequence[onnx.TensorProto] = (),
) -> onnx.ModelProto:
    """A model of some ``nodes`` of ``model``: it computes ``outputs`` from ``given``: name ->
    dtype or an array like it; optional inputs that are not given stay optional."""
    reads = {t for node in nodes for t in reads_of(node)} - set(given)
    left_out = (v for v in model.graph.input if v.name in reads and is_optional(v))
    graph = helper.make_graph(
        nodes,
        "piece",
        [*(declare(name, dtype) for name, dtype in given.items()), *left_out],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        constants,
    )
    return helper.make_model(
        graph,
        functions=model.functions,
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
    )
