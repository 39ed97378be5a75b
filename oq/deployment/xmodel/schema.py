"""XIR's messages for Google's protobuf runtime, from a description in its own language.

The reader (:mod:`oq.artifacts.xmodel`) has its own table of field numbers and its own parser, so
that a wrong number on either side shows.  Source: ``graph_proto_v2.proto`` of Xilinx/Vitis-AI, the
same from Vitis AI 1.3 to 3.5.
"""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "oq.xir"

TEXT = """
Graph: graph_name=1 string, op_node=5 *OPNode, subg_root=10 SubGraph, graph_attr=11 {AttrValue
OPNode: op_name=1 string, op_type=2 string, op_attr=3 {AttrValue, args=4 *OpArg, \
    output_tensor=5 Tensor
OpArg: arg_name=1 string, arg_ops=2 *string
Tensor: tensor_name=1 string, tensor_dim=2 *uint32, data_type=5 int32, tensor_bit_width=6 int32
SubGraph: subgraph_name=1 string, op_name=3 *string
Bytes: value=1 bytes
Int32Vec: value=1 *int32
FloatVec: value=1 *float
StringVec: value=1 *string
MapString2String: value=1 {string
MapString2Int32Vec: value=1 {Int32Vec
AttrValue: bool_value=4 bool, int32_value=5 int32, float_value=9 float, string_value=11 string, \
    bytes_value=12 Bytes, int32_vec_value=14 Int32Vec, float_vec_value=18 FloatVec, \
    string_vec_value=20 StringVec, map_string_2_string_value=26 MapString2String, \
    map_string_2_int32_vec_value=28 MapString2Int32Vec
"""
"""Message: field=number type; ``*`` repeated, ``{`` a map from strings.  The messages and fields
that oq writes."""

ONE_OF = frozenset({"AttrValue"})
"""Messages of which one field is set, false and 0 included."""

Proto = descriptor_pb2.FieldDescriptorProto
KINDS: Mapping[str, int] = {
    "bool": Proto.TYPE_BOOL,
    "bytes": Proto.TYPE_BYTES,
    "float": Proto.TYPE_FLOAT,
    "int32": Proto.TYPE_INT32,
    "string": Proto.TYPE_STRING,
    "uint32": Proto.TYPE_UINT32,
}


@functools.cache
def message_class(name: str) -> Any:
    """The class of the message ``name``."""
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name="oq_xir.proto", package=PACKAGE, syntax="proto3")
    for line in TEXT.strip().splitlines():
        message, _, fields = line.partition(": ")
        _describe(file.message_type.add(name=message), fields)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))


def _describe(message: Any, fields: str) -> None:
    if message.name in ONE_OF:
        message.oneof_decl.add(name="value")
    for name, number, mark, kind in _fields(fields):
        added = message.field.add(name=name, number=number, label=Proto.LABEL_OPTIONAL)
        if message.name in ONE_OF:
            added.oneof_index = 0
        if mark == "{":
            kind = _entry(message, name, kind)
        if mark:
            added.label = Proto.LABEL_REPEATED
        _type(added, kind)


def _entry(message: Any, name: str, kind: str) -> str:
    """The nested message of a map's entries."""
    title = "".join(part.capitalize() for part in name.split("_")) + "Entry"
    entry = message.nested_type.add(name=title)
    entry.options.map_entry = True
    for number, (field, what) in enumerate((("key", "string"), ("value", kind)), 1):
        _type(entry.field.add(name=field, number=number, label=Proto.LABEL_OPTIONAL), what)
    return f"{message.name}.{title}"


def _type(field: Any, kind: str) -> None:
    field.type = KINDS.get(kind, Proto.TYPE_MESSAGE)
    if kind not in KINDS:
        field.type_name = f".{PACKAGE}.{kind}"


def _fields(text: str) -> Iterator[tuple[str, int, str, str]]:
    """(name, number, mark, kind) of every field."""
    for item in text.split(","):
        left, _, kind = item.strip().partition(" ")
        name, _, number = left.partition("=")
        mark = kind[0] if kind[0] in "*{" else ""
        yield name, int(number), mark, kind.removeprefix(mark)
