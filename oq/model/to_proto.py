"""Writes a graph of onnx-graphsurgeon as a protobuf.

Graphsurgeon's exporter makes each node and value by itself and then copies it twice into what holds
it.  Here they are made in their place, and each type once, in half of the time; attributes, types
and constants of rare kinds are still made by that exporter.
"""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import AttributeProto, helper, numpy_helper
from onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter, update_import_domains

from oq.model.bodies import graphs_in
from oq.model.proto_fields import lift_constants

PLAIN = "biuf"
"""Kinds of NumPy types whose bytes are those of a protobuf."""


def export(graph: Any) -> onnx.ModelProto:
    """A gs ``graph`` as a model."""
    model: onnx.ModelProto = helper.make_model(onnx.GraphProto(), opset_imports=domains_of(graph))
    fill(model.graph, graph, {}, {})
    return model


def domains_of(graph: Any) -> list[onnx.OperatorSetIdProto]:
    """The operator sets of a gs ``graph`` and of its bodies."""
    return list(update_import_domains(graph))


def fill(
    proto: onnx.GraphProto,
    graph: Any,
    optional: Mapping[str, onnx.ValueInfoProto],
    rules: Mapping[str, str],
) -> None:
    """Write a gs ``graph`` into the empty ``proto``; ``rules``: the origin of nodes by name, for
    their ``metadata_props``.  Axes inside have the names that inputs have, and no others.

    What graphsurgeon cannot write: 4-bit constants, which onnx packs; the ``optional`` inputs and
    outputs, which are those of the file; and a constant of the outer graph that bodies read, of
    which each gets a copy: it is put back.
    """
    tensors = graph.tensors()
    proto.name = graph.name
    if graph.doc_string:
        proto.doc_string = graph.doc_string
    small = {n: t.values for n, t in tensors.items() if _is_4_bit(t)}
    for name, values in small.items():
        tensors[name].values = np.zeros(values.shape, np.int8)
    for node in graph.nodes:
        _write_node(node, proto.node.add(), rules)
    for name, values in small.items():
        tensors[name].values = values
    for tensor in tensors.values():
        if isinstance(tensor, gs.Constant):
            _write_constant(tensor, proto)
    for ends, written in ((graph.inputs, proto.input), (graph.outputs, proto.output)):
        for end in ends:
            value = OnnxExporter.export_value_info_proto(end, do_type_check=False)
            written.append(optional.get(end.name, value))
    _write_types(graph, tensors, proto)
    if any(graph.subgraphs()):
        _drop_typeless(proto)
        lift_constants(proto, _shared(graph))


def _write_node(node: Any, proto: onnx.NodeProto, rules: Mapping[str, str]) -> None:
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
        else:
            proto.attribute.extend(OnnxExporter.export_attributes({name: value}))
    if node.name in rules:
        proto.metadata_props.add(key="oq.rule", value=rules[node.name])


def _write_constant(tensor: Any, proto: onnx.GraphProto) -> None:
    values = tensor._values
    if isinstance(values, gs.ir.tensor.SparseValues):
        proto.sparse_initializer.append(OnnxExporter.export_sparse_tensor_proto(tensor))
    elif _is_4_bit(tensor):
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


def _is_4_bit(tensor: Any) -> bool:
    values = getattr(tensor, "_values", None)
    return isinstance(values, np.ndarray) and _name_of(values.dtype).endswith("int4")


def _write_types(graph: Any, tensors: Mapping[str, Any], proto: onnx.GraphProto) -> None:
    ends = {t.name for t in (*graph.inputs, *graph.outputs)}
    known = {a.dim_param for i in proto.input for a in i.type.tensor_type.shape.dim}
    made: dict[Any, onnx.TypeProto] = {}
    for name, tensor in tensors.items():
        if not isinstance(tensor, gs.Variable) or name in ends or tensor.dtype is None:
            continue
        kind = tensor.type, tensor.dtype, None if tensor.shape is None else tuple(tensor.shape)
        if kind not in made:
            made[kind] = OnnxExporter.export_value_info_proto(tensor, do_type_check=False).type
            for axis in made[kind].tensor_type.shape.dim:
                if axis.dim_param not in known:
                    axis.ClearField("dim_param")
        proto.value_info.add(name=name, type=made[kind])


def _drop_typeless(graph: onnx.GraphProto) -> None:
    """A sequence or an optional comes out as a value of no type, which ONNX's checker refuses."""
    for part in graphs_in(graph):
        typed = [v for v in part.value_info if v.type.WhichOneof("value") is not None]
        if len(typed) < len(part.value_info):
            kept = [onnx.ValueInfoProto.FromString(v.SerializeToString()) for v in typed]
            part.ClearField("value_info")
            part.value_info.extend(kept)


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
def _name_of(dtype: Any) -> str:
    return str(dtype)


@functools.cache
def _number_of(dtype: Any) -> int:
    """ONNX's number of a NumPy type."""
    return int(helper.np_dtype_to_tensor_dtype(dtype))
