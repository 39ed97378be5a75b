"""The tensors that nodes read, including those read by bodies of If, Loop and Scan; submodels."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from oq.model.ops import CONDITION
from oq.numerics.values import TensorInfo


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


def decides_by_values(graph: onnx.GraphProto) -> bool:
    """Whether an If or Loop of ``graph`` looks at values of an input that has axes (a network that
    stops early): of several samples at a time, one decides for all."""
    kinds = {v.name: v.type.tensor_type for v in graph.input}
    scalars = {
        name for name, kind in kinds.items() if kind.HasField("shape") and not kind.shape.dim
    }
    axes = kinds.keys() - scalars - {t.name for t in graph.initializer}
    for node in graph.node:
        slot = CONDITION.get(node.op_type)
        if slot is not None and slot < len(node.input) and node.input[slot] in axes:
            return True
        if node.op_type not in SIZES and not axes.isdisjoint(reads_of(node)):
            axes.update(t for t in node.output if t)
    return False


SIZES = frozenset({"Shape", "Size"})
"""Ops that look at no values."""


def is_optional(value: onnx.ValueInfoProto) -> bool:
    """Whether ``value`` is an optional tensor."""
    kind = value.type
    if not kind.HasField("optional_type"):
        return False
    return bool(kind.optional_type.elem_type.HasField("tensor_type"))


def declare(name: str, like: Any) -> onnx.ValueInfoProto:
    """A graph input of NumPy type ``like`` and any shape; ``[dtype]`` is a sequence of such.  Like
    an array it has as many axes as that: onnxruntime runs no Scan whose inputs are of any rank.
    Like a vector of integers it is as long: onnxruntime loads no Resize to sizes of any number.
    A :class:`TensorInfo` says all itself."""
    if isinstance(like, list):
        element = helper.np_dtype_to_tensor_dtype(np.dtype(like[0]))
        return helper.make_tensor_sequence_value_info(name, element, None)
    dtype: Any = like
    shape: Sequence[int | str | None] | None = None
    if isinstance(like, TensorInfo):
        dtype, shape = like.dtype, like.shape
    elif isinstance(like, np.ndarray):
        dtype, shape = like.dtype, sizes(like)
    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape
    )


def sizes(values: NDArray[Any]) -> list[int | None]:
    """Of the axes of an input like ``values``: see :func:`declare`."""
    if values.ndim == 1 and values.dtype.kind in "iu":
        return [len(values)]
    return [None] * values.ndim


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
