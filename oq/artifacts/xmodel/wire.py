"""Protobuf's wire format, and the field numbers of XIR's messages.

A message is a sequence of (tag, value), tag = number << 3 | wire type: 0 varint, 1 eight bytes, 2 a
length and that many bytes, 5 four bytes.  The schema is XIR's ``graph_proto_v2`` (Xilinx/Vitis-AI,
``src/vai_runtime/xir``), the same from Vitis AI 1.3 to 3.5; a number that is not in it is an error,
so that nothing in a file is passed over.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from oq.errors import ModelError

VARINT, EIGHT, BYTES, FOUR = 0, 1, 2, 5
LONGEST_VARINT = 10


@dataclass(frozen=True, slots=True)
class Field:
    """``kind``: a key of :data:`SCALARS` or :data:`MESSAGES`, or "skip"; ``many`` values of it, or
    a ``table`` from strings to it."""

    name: str
    kind: str
    many: bool = False
    table: bool = False


_VECTORS = ("bool", "int32", "uint32", "int64", "uint64", "float", "double", "string", "Bytes")
_TABLES = ("int32", "uint32", "int64", "uint64", "string", "Bytes")
_TABLES_OF_VECTORS = ("int32", "uint32", "int64", "uint64", "string")
_SINGLE = ("bool", "int32", "uint32", "int64", "uint64", "float", "double", "string", "Bytes")

MESSAGES: Mapping[str, Mapping[int, Field]] = {
    "Graph": {
        1: Field("name", "string"),
        5: Field("ops", "OPNode", many=True),
        10: Field("root", "SubGraph"),
        11: Field("attributes", "AttrValue", table=True),
        101: Field("definitions", "skip", many=True),
    },
    "OPNode": {
        1: Field("name", "string"),
        2: Field("type", "string"),
        3: Field("attributes", "AttrValue", table=True),
        4: Field("arguments", "OpArg", many=True),
        5: Field("tensor", "Tensor"),
    },
    "OpArg": {1: Field("name", "string"), 2: Field("ops", "string", many=True)},
    "Tensor": {
        1: Field("name", "string"),
        2: Field("dims", "uint32", many=True),
        5: Field("data_type", "int32"),
        6: Field("bit_width", "int32"),
        10: Field("attributes", "AttrValue", table=True),
    },
    "SubGraph": {
        1: Field("name", "string"),
        3: Field("ops", "string", many=True),
        5: Field("attributes", "AttrValue", table=True),
        10: Field("children", "SubGraph", many=True),
    },
    "Bytes": {1: Field("value", "bytes")},
    "AttrValue": {
        **{4 + i: Field(kind, kind) for i, kind in enumerate(_SINGLE)},
        **{13 + i: Field(f"{k}s", f"{k}s") for i, k in enumerate(_VECTORS)},
        **{22 + i: Field(f"map {k}", f"map {k}") for i, k in enumerate(_TABLES)},
        **{28 + i: Field(f"map {k}s", f"map {k}s") for i, k in enumerate(_TABLES_OF_VECTORS)},
    },
    **{f"{k}s": {1: Field("values", k, many=True)} for k in _VECTORS},
    **{f"map {k}": {1: Field("values", k, table=True)} for k in _TABLES},
    **{f"map {k}s": {1: Field("values", f"{k}s", table=True)} for k in _TABLES_OF_VECTORS},
}

SCALARS: Mapping[str, int] = {
    "bool": VARINT,
    "int32": VARINT,
    "uint32": VARINT,
    "int64": VARINT,
    "uint64": VARINT,
    "float": FOUR,
    "double": EIGHT,
    "string": BYTES,
    "bytes": BYTES,
}
"""Kind -> its wire type."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """The value of an attribute and its ``case``: the kind that the file gives it."""

    case: str
    value: Any


def parse(data: bytes, message: str = "Graph") -> dict[str, Any]:
    """The fields of a ``message`` by name, absent ones left out.

    Raises:
        ModelError: the bytes end too early, or hold what the schema has not.
    """
    fields, found = MESSAGES[message], dict[str, Any]()
    for number, wire, value in _pairs(data):
        field = fields.get(number)
        if field is None:
            raise ModelError(f"{message} has field {number}, which XIR's schema has not")
        if field.kind == "skip":
            continue
        if field.table:
            key, item = _entry(value, wire, field)
            found.setdefault(field.name, {})[key] = item
        elif field.many:
            found.setdefault(field.name, []).extend(_values(value, wire, field))
        else:
            found[field.name] = _value(value, wire, field.kind)
    return found


def _pairs(data: bytes) -> Iterator[tuple[int, int, Any]]:
    """(field number, wire type, raw value), in the order of the file."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, at = _varint(data, at)
            yield number, wire, value
            continue
        if wire == BYTES:
            size, at = _varint(data, at)
        elif wire in (FOUR, EIGHT):
            size = 4 if wire == FOUR else 8
        else:
            raise ModelError(f"field {number} has wire type {wire}: not a protobuf file")
        if at + size > len(data):
            raise ModelError("the file ends within a field: it is cut off, or no xmodel")
        yield number, wire, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for i in range(LONGEST_VARINT):
        if at + i >= len(data):
            raise ModelError("the file ends within a number: it is cut off, or no xmodel")
        byte = data[at + i]
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, at + i + 1
    raise ModelError("a number has more than 10 bytes: not a protobuf file")


def _entry(value: Any, wire: int, field: Field) -> tuple[str, Any]:
    """One entry of a map: a message of 1 key, 2 value."""
    _expect(wire, BYTES, field.name)
    key, item = "", None
    for number, inner, raw in _pairs(value):
        if number == 1:
            key = _value(raw, inner, "string")
        elif number == 2:
            item = _value(raw, inner, field.kind)
        else:
            raise ModelError(f"an entry of {field.name!r} has field {number}")
    return key, item


def _values(value: Any, wire: int, field: Field) -> list[Any]:
    """What one occurrence of a repeated field adds: several numbers where they are packed."""
    native = SCALARS.get(field.kind)
    if wire != BYTES or native in (None, BYTES):
        return [_value(value, wire, field.kind)]
    if native == VARINT:
        found, at = [], 0
        while at < len(value):
            number, at = _varint(value, at)
            found.append(_value(number, VARINT, field.kind))
        return found
    width = 4 if native == FOUR else 8
    if len(value) % width:
        raise ModelError(f"{field.name!r} has a size of {len(value)} bytes")
    return [_value(value[i : i + width], native, field.kind) for i in range(0, len(value), width)]


def _value(raw: Any, wire: int, kind: str) -> Any:
    _expect(wire, SCALARS.get(kind, BYTES), kind)
    if kind in _SCALAR:
        return _SCALAR[kind](raw)
    if kind == "AttrValue":
        found = parse(raw, kind)
        if len(found) != 1:
            raise ModelError(f"an attribute has {len(found)} values")
        ((case, value),) = found.items()
        return Attribute(case, value)
    inner = parse(raw, kind)
    if kind == "Bytes":
        return inner.get("value", b"")
    if kind in _VALUED:
        return tuple(inner.get("values", ())) if kind[:3] != "map" else inner.get("values", {})
    return inner


_VALUED = frozenset(k for k, f in MESSAGES.items() if 1 in f and f[1].name == "values")
"""Messages that only wrap one repeated field."""


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelError("a name is not UTF-8: the file is damaged, or no xmodel") from error


def _signed(bits: int, raw: int) -> int:
    raw &= 2**bits - 1
    return raw - 2**bits if raw >= 2 ** (bits - 1) else raw


_SCALAR: Mapping[str, Any] = {
    "bool": bool,
    "int32": lambda raw: _signed(32, raw),
    "uint32": lambda raw: raw & (2**32 - 1),
    "int64": lambda raw: _signed(64, raw),
    "uint64": int,
    "float": lambda raw: struct.unpack("<f", raw)[0],
    "double": lambda raw: struct.unpack("<d", raw)[0],
    "string": _text,
    "bytes": bytes,
}


def _expect(wire: int, wanted: int, what: str) -> None:
    if wire != wanted:
        raise ModelError(f"{what!r} has wire type {wire}, not {wanted}: no xmodel, or damaged")
