"""Writes a graph of onnx-graphsurgeon as a protobuf.

Graphsurgeon's exporter makes each node and value by itself and then copies it twice into what holds
it.  Here they are made in their place, and each type once, in half of the time; types, most
attributes and constants of rare kinds are still made by that exporter.
"""

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import AttributeProto, helper, numpy_helper
from onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter, update_import_domains

from oq.model.proto_fields import lift_constants

PLAIN = "biuf"
"""Kinds of NumPy types whose bytes are those of a protobuf."""

NOTHING: Mapping[str, Any] = MappingProxyType({})


def export(graph: Any) -> onnx.ModelProto:
    """A gs ``graph`` as a model."""
    model: onnx.ModelProto = helper.make_model(onnx.GraphProto(), opset_imports=domains_of(graph))
    fill(model.graph, graph)
    return model


def domains_of(graph: Any) -> list[onnx.OperatorSetIdProto]:
    """The operator sets of a gs ``graph`` and of its bodies."""
    return list(update_import_domains(graph))


def fill(
    proto: onnx.GraphProto,
    graph: Any,
    optional: Mapping[str, onnx.ValueInfoProto] = NOTHING,
    rules: Mapping[str, str] = NOTHING,
) -> None:
    """Write a gs ``graph`` into the empty ``proto``; ``rules``: the origin of nodes by name, for
    their ``metadata_props``.  Axes inside have the names that inputs have, and no others.

    What graphsurgeon cannot write: 4-bit constants and strings; the ``optional`` inputs and
    outputs, which are those of the file; lists of nothing; and a constant of the outer graph that
    bodies read, of which each gets a copy: it is put back.
    """
    _write(proto, graph, rules)
    for value in (*proto.input, *proto.output):
        if value.name in optional:
            value.CopyFrom(optional[value.name])
    known = {a.dim_param for i in proto.input for a in i.type.tensor_type.shape.dim}
    _write_types(proto, graph, known)
    if any(graph.subgraphs()):
        lift_constants(proto, _shared(graph))


def _write(proto: onnx.GraphProto, graph: Any, rules: Mapping[str, str] = NOTHING) -> None:
    """Write ``graph`` into ``proto``, without the types of intermediate tensors."""
    proto.name = graph.name
    if graph.doc_string:
        proto.doc_string = graph.doc_string
    for node in graph.nodes:
        _write_node(proto.node.add(), node, graph.opset)
        if node.name in rules:
            proto.node[-1].metadata_props.add(key="oq.rule", value=rules[node.name])
    for tensor in graph.tensors().values():
        if isinstance(tensor, gs.Constant):
            _write_constant(proto, tensor)
    for ends, written in ((graph.inputs, proto.input), (graph.outputs, proto.output)):
        written.extend([OnnxExporter.export_value_info_proto(e, do_type_check=False) for e in ends])


def _write_node(proto: onnx.NodeProto, node: Any, opset: int) -> None:
    proto.op_type = node.op
    proto.input.extend([t.name for t in node.inputs])
    proto.output.extend([t.name for t in node.outputs])
    if node.name:
        proto.name = node.name
    if node.domain is not None:
        proto.domain = node.domain
    for name, value in node.attrs.items():
        if type(value) is int:  # most are axes
            proto.attribute.add(name=name, i=value, type=AttributeProto.INT)
        elif isinstance(value, gs.Graph):
            body = proto.attribute.add(name=name, type=AttributeProto.GRAPH).g
            _write(body, value)
            _write_types(body, value, None)
        elif isinstance(value, list) and not value:
            proto.attribute.add(name=name, type=_type_of_list(node, name, opset))
        else:
            proto.attribute.extend(OnnxExporter.export_attributes({name: value}))


def _type_of_list(node: Any, name: str, opset: int) -> Any:
    """The type of an attribute that has no values to tell it."""
    domain, formal = node.domain or "", None
    if onnx.defs.has(node.op, opset, domain):
        formal = onnx.defs.get_schema(node.op, opset, domain).attributes.get(name)
    return AttributeProto.INTS if formal is None else int(formal.type)  # type: ignore[call-overload]


def _write_constant(proto: onnx.GraphProto, tensor: Any) -> None:
    values = tensor._values
    if isinstance(values, gs.ir.tensor.SparseValues):
        proto.sparse_initializer.append(OnnxExporter.export_sparse_tensor_proto(tensor))
    elif isinstance(values, np.ndarray) and _is_packed(values.dtype):
        proto.initializer.append(numpy_helper.from_array(values, tensor.name))
    elif _is_plain(tensor):
        made = proto.initializer.add(name=tensor.name, data_type=_number_of(values.dtype))
        made.dims.extend(values.shape)
        made.raw_data = values.tobytes()
    else:
        proto.initializer.append(OnnxExporter.export_tensor_proto(tensor))


def _is_plain(tensor: Any) -> bool:
    values = tensor._values
    if type(values) is not np.ndarray or tensor.data_location is not None:
        return False
    return values.dtype.kind in PLAIN and tensor.export_dtype is values.dtype


def _write_types(proto: onnx.GraphProto, graph: Any, known: set[str] | None) -> None:
    """The types of what ``graph`` computes; axes have names that are ``known`` (None: any)."""
    ends = {t.name for t in (*graph.inputs, *graph.outputs)}
    made: dict[Any, onnx.TypeProto] = {}
    for name, tensor in graph.tensors().items():
        if not isinstance(tensor, gs.Variable) or name in ends or tensor.dtype is None:
            continue
        kind = tensor.type, tensor.dtype, None if tensor.shape is None else tuple(tensor.shape)
        if kind not in made:
            made[kind] = OnnxExporter.export_value_info_proto(tensor, do_type_check=False).type
            for axis in made[kind].tensor_type.shape.dim:
                if known is not None and axis.dim_param not in known:
                    axis.ClearField("dim_param")
        proto.value_info.add(name=name, type=made[kind])


def _shared(graph: Any) -> set[str]:
    """The names of constants that several of ``graph`` and its bodies read as one, and by which
    none of them means another."""
    held: dict[str, list[int]] = {}
    for part in (graph, *graph.subgraphs(recursive=True)):
        read = {id(t): t for n in part.nodes for t in n.inputs if isinstance(t, gs.Constant)}
        for key, tensor in read.items():
            held.setdefault(tensor.name, []).append(key)
    return {name for name, keys in held.items() if len(keys) > 1 and len(set(keys)) == 1}


@functools.cache
def _is_packed(dtype: Any) -> bool:
    """Whether several values are one byte, or a value is a string."""
    return dtype == np.object_ or str(dtype).endswith("int4")


@functools.cache
def _number_of(dtype: Any) -> int:
    """ONNX's number of a NumPy type."""
    return int(helper.np_dtype_to_tensor_dtype(dtype))
