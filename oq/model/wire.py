"""A model file read without its weights, and written without holding them, by protobuf's encoding.

A message is a sequence of fields: a key ``8 number + kind`` as a varint, then a varint (kind 0),
8 bytes (1), a length and so many bytes (2), or 4 bytes (5).  A varint has 7 bits to a byte, the
lowest first, and the top bit set in all bytes but the last (protobuf.dev, "Encoding").  Numbers of
fields are those of ``onnx.proto``.
"""

import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import onnx
from google.protobuf.message import DecodeError
from onnx import GraphProto, ModelProto, TensorProto

from oq.model import stored
from oq.model.proto_fields import copy_fields
from oq.model.stored import (
    ALIGNMENT,
    Place,
    bytes_at,
    is_stored,
    place_of,
    put_place,
)

GRAPH, INITIALIZER, RAW_DATA = 7, 5, 9
"""Field numbers: of the graph in a model, an initializer in a graph, raw data in a tensor."""

Write = Callable[[bytes | memoryview], object]
"""Of a file, or the update of a hash."""

Message = TypeVar("Message", ModelProto, TensorProto)

VARINT, EIGHT, BYTES, FOUR = 0, 1, 2, 5
"""Kinds of fields."""

FIXED = {EIGHT: 8, FOUR: 4}


@dataclass(frozen=True, slots=True)
class _Field:
    """A field: from ``start`` of its key to ``end``; its content begins at ``content``."""

    number: int
    kind: int
    start: int
    content: int
    end: int


def read_apart(path: Path) -> ModelProto:
    """The model at ``path`` with the raw data of large initializers left in the file.

    Raises:
        DecodeError: the file is not a protobuf of a model.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages:
        light = bytearray()
        for field in _fields(pages, 0, len(pages)):
            if field.number == GRAPH and field.kind == BYTES:
                graph = _light_graph(pages, field, path.resolve())
                light += _key(GRAPH) + _varint(len(graph)) + graph
            else:
                light += pages[field.start : field.end]
    return _parsed(ModelProto(), bytes(light))


def _parsed(message: Message, data: bytes) -> Message:
    message.ParseFromString(data)
    return message


def _light_graph(pages: mmap.mmap, graph: _Field, path: Path) -> bytearray:
    light = bytearray()
    for field in _fields(pages, graph.content, graph.end):
        is_large = field.end - field.content >= stored.LEAST_TENSOR
        if field.number == INITIALIZER and field.kind == BYTES and is_large:
            tensor = _light_tensor(pages, field, path).SerializeToString()
            light += _key(INITIALIZER) + _varint(len(tensor)) + tensor
        else:
            light += pages[field.start : field.end]
    return light


def _light_tensor(pages: mmap.mmap, tensor: _Field, path: Path) -> TensorProto:
    """The initializer, stored where its raw data lies; as it is if it has little or none."""
    rest, raw = bytearray(), None
    for field in _fields(pages, tensor.content, tensor.end):
        if field.number == RAW_DATA and field.kind == BYTES:
            raw = field
        else:
            rest += pages[field.start : field.end]
    if raw is None or raw.end - raw.content < stored.LEAST_TENSOR:
        return _parsed(TensorProto(), pages[tensor.content : tensor.end])
    light = _parsed(TensorProto(), bytes(rest))
    put_place(light, Place(path, raw.content, raw.end - raw.content))
    return light


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[_Field]:
    """The fields of the message from ``start`` to ``end``."""
    at = start
    while at < end:
        key, content = _read_varint(data, at, end)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            _, stop = _read_varint(data, content, end)
        elif kind == BYTES:
            size, content = _read_varint(data, content, end)
            stop = content + size
        elif kind in FIXED:
            stop = content + FIXED[kind]
        else:
            raise DecodeError(f"a field of kind {kind}")
        if stop > end:
            raise DecodeError("a field goes beyond its message")
        yield _Field(number, kind, at, content, stop)
        at = stop


def _read_varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    """The number at ``at``, and where it ends."""
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
    raise DecodeError("a varint does not end")


def _varint(value: int) -> bytes:
    made = bytearray()
    while value >= 128:
        made.append(value & 127 | 128)
        value >>= 7
    made.append(value)
    return bytes(made)


def _key(number: int) -> bytes:
    return _varint(number << 3 | BYTES)


# -- writing -------------------------------------------------------------------------------------


def full_bytes(model: ModelProto) -> int:
    """Bytes of ``model`` as :func:`write_full` writes it."""
    head, initializers, tail, rest = _parts(model)
    graph = len(head) + len(tail)
    for tensor in initializers:
        size = _tensor_bytes(tensor)
        graph += len(_key(INITIALIZER)) + len(_varint(size)) + size
    before, after = rest
    return len(before) + len(_key(GRAPH)) + len(_varint(graph)) + graph + len(after)


def write_full(model: ModelProto, write: Write) -> None:
    """Write ``model`` with all values, as ``SerializeToString(deterministic=True)`` would of a
    model that holds them, one tensor at a time."""
    head, initializers, tail, (before, after) = _parts(model)
    sizes = [_tensor_bytes(t) for t in initializers]
    graph = len(head) + len(tail)
    graph += sum(len(_key(INITIALIZER)) + len(_varint(size)) + size for size in sizes)
    write(before + _key(GRAPH) + _varint(graph) + head)
    for tensor, size in zip(initializers, sizes, strict=True):
        write(_key(INITIALIZER) + _varint(size))
        _write_tensor(tensor, write)
    write(tail + after)


def _parts(
    model: ModelProto,
) -> tuple[bytes, list[TensorProto], bytes, tuple[bytes, bytes]]:
    """What stands before the initializers of the graph, they, and what stands behind them; and what
    stands before and behind the graph."""
    names = [f.name for f in GraphProto.DESCRIPTOR.fields if f.number < INITIALIZER]
    head = _some(model.graph, GraphProto(), names)
    tail = _some(model.graph, GraphProto(), [*_others(GraphProto, [*names, "initializer"])])
    early = [f.name for f in ModelProto.DESCRIPTOR.fields if f.number < GRAPH]
    before = _some(model, ModelProto(), early)
    after = _some(model, ModelProto(), [*_others(ModelProto, [*early, "graph"])])
    return head, list(model.graph.initializer), tail, (before, after)


def _others(kind: type, names: list[str]) -> Iterator[str]:
    return (f.name for f in kind.DESCRIPTOR.fields if f.name not in names)  # type: ignore[attr-defined]


def _some(
    source: ModelProto | GraphProto, copy: ModelProto | GraphProto, names: list[str]
) -> bytes:
    """The fields ``names`` of ``source``, as bytes."""
    copy_fields(source, copy, without={*_others(type(source), names)})
    return bytes(copy.SerializeToString(deterministic=True))


def _tensor_parts(tensor: TensorProto) -> tuple[bytes, bytes]:
    """The fields of a stored ``tensor`` before and behind its raw data."""
    fields = TensorProto.DESCRIPTOR.fields
    parts = []
    for names in (
        [f.name for f in fields if f.number < RAW_DATA],
        [f.name for f in fields if f.number > RAW_DATA],
    ):
        part = TensorProto()
        unsaid = {"external_data", "data_location"}
        copy_fields(tensor, part, without={*_others(TensorProto, names), *unsaid})
        parts.append(bytes(part.SerializeToString(deterministic=True)))
    return parts[0], parts[1]


def _tensor_bytes(tensor: TensorProto) -> int:
    if not is_stored(tensor):
        return int(tensor.ByteSize())
    before, after = _tensor_parts(tensor)
    size = place_of(tensor).size
    return len(before) + len(_key(RAW_DATA)) + len(_varint(size)) + size + len(after)


def _write_tensor(tensor: TensorProto, write: Write) -> None:
    if not is_stored(tensor):
        write(tensor.SerializeToString(deterministic=True))
        return
    before, after = _tensor_parts(tensor)
    place = place_of(tensor)
    write(before + _key(RAW_DATA) + _varint(place.size))
    write(bytes_at(place))
    write(after)


def write_apart(model: ModelProto, file: BinaryIO, data: BinaryIO, location: str) -> None:
    """Write ``model`` with the values of its initializers of 1 kB and more in ``data``, a file
    called ``location`` beside it.  Values begin at pages, where runtimes can map them."""
    light = onnx.ModelProto()
    copy_fields(model, light, without={"graph"})
    copy_fields(model.graph, light.graph, without={"initializer"})
    at = 0
    for tensor in model.graph.initializer:
        kept = light.graph.initializer.add()
        values = bytes_at(place_of(tensor)) if is_stored(tensor) else tensor.raw_data
        if len(values) < LEAST_APART:
            kept.CopyFrom(tensor)
            continue
        copy_fields(tensor, kept, without={"raw_data", "external_data"})
        at += data.write(b"\0" * (-at % ALIGNMENT))
        put_place(kept, Place(Path(location), at, len(values)))
        at += data.write(values)
    file.write(light.SerializeToString(deterministic=True))


LEAST_APART = 1024
"""Bytes of a tensor that goes to the file beside a model of 2 GB and more."""
