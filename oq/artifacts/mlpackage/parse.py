"""From the bytes of a package to a :class:`Program` and a :class:`Description`."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from oq.artifacts.mlpackage.blobs import Blobs, open_blobs
from oq.artifacts.mlpackage.dtypes import BITS, DTYPES, numpy_dtype, unpack, width
from oq.artifacts.mlpackage.folder import within
from oq.artifacts.mlpackage.program import (
    DICTIONARY,
    Binding,
    Constant,
    Operation,
    Program,
    TensorType,
)
from oq.artifacts.mlpackage.schema import message_class
from oq.errors import ModelError, one_line
from oq.numerics.values import Array

CONST = "const"
"""The operation whose attribute ``val`` is a constant."""

FOLDER = "@model_path/"
"""How names of files of weights begin: the folder of ``model.mlmodel``."""

HELD: Mapping[str, frozenset[str]] = {
    "floats": frozenset({"float32"}),
    "ints": frozenset({"int32", "int16", "uint16", "int8", "uint8", "uint32"}),
    "bools": frozenset({"bool"}),
    "strings": frozenset({"string"}),
    "longInts": frozenset({"int64", "uint64"}),
    "doubles": frozenset({"float64"}),
    "bytes": frozenset({"float16", "int8", "uint8", "uint32", "int16", "uint16", *BITS}),
}
"""Field of a value -> the types whose values it holds."""


def read_model(path: Path) -> Any:
    """The message ``Model`` in the file at ``path``.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        return message_class().FromString(path.read_bytes())
    except OSError as error:
        raise ModelError(f"cannot read {str(path)!r}: {error.strerror}") from error
    except DecodeError as error:
        raise ModelError(f"{str(path)!r} is not a Core ML model: {one_line(error)}") from error


def read_program(model: Any, folder: Path) -> Program:
    """The function of ``model`` that runs by default; files of weights lie below ``folder``.

    Raises:
        ModelError: it is not an ML program, is damaged, or holds what oq does not read.
    """
    if not model.HasField("mlProgram"):
        raise ModelError("the package holds no ML program (a neural network or another model)")
    functions = dict(model.mlProgram.functions)
    name = model.description.defaultFunctionName or "main"
    if name not in functions:
        raise ModelError(f"the program has no function {name!r}; available: {', '.join(functions)}")
    function = functions[name]
    block = function.block_specializations.get(function.opset)
    if block is None:
        raise ModelError(f"function {name!r} has no block for its opset {function.opset!r}")
    reader = _Reader(folder)
    inputs = {i.name: _tensor_type(i.type, i.name) for i in function.inputs}
    for operation in block.operations:
        reader.add(operation)
    seen = {*inputs, *reader.constants}
    for made in reader.operations:
        _insist_defined(made.name, (b for bound in made.inputs.values() for b in bound), seen)
        for output, _ in made.outputs:
            if output in seen:
                raise ModelError(f"two values of the program are called {output!r}")
            seen.add(output)
    outputs = tuple(block.outputs)
    _insist_defined("the function", outputs, seen)
    return Program(function.opset, inputs, outputs, tuple(reader.operations), reader.constants)


def _insist_defined(where: str, bindings: Iterable[Binding], seen: set[str]) -> None:
    for binding in bindings:
        if isinstance(binding, str) and binding not in seen:
            raise ModelError(f"{where!r} reads {binding!r}, which nothing before it computes")


@dataclass(frozen=True, slots=True)
class _Reader:
    folder: Path
    operations: list[Operation] = field(default_factory=list)
    constants: dict[str, Constant] = field(default_factory=dict)
    files: dict[str, Blobs] = field(default_factory=dict)

    def add(self, message: Any) -> None:
        """Read one operation."""
        _insist_known(message, message.type)
        outputs = tuple((o.name, _tensor_type(o.type, o.name)) for o in message.outputs)
        if message.type == CONST:
            if len(outputs) != 1:
                raise ModelError(f"a constant of the program has {len(outputs)} names")
            ((name, declared),) = outputs
            value = self.value(message.attributes["val"], name)
            if value.type != declared:
                raise ModelError(f"constant {name!r} holds {value.type}, declared is {declared}")
            self.constants[name] = value
            return
        if not outputs:
            raise ModelError(f"an operation {message.type!r} of the program gives nothing")
        name = outputs[0][0]
        inputs = {key: self.bindings(a, name) for key, a in message.inputs.items()}
        # Of iOS 16 and 17, the arguments of constexpr operations are attributes.
        inputs |= {
            key: (self.value(v, name),) for key, v in message.attributes.items() if key != "name"
        }
        made = Operation(message.type, name, inputs, outputs, len(message.blocks))
        self.operations.append(made)

    def bindings(self, argument: Any, where: str) -> tuple[Binding, ...]:
        found: list[Binding] = []
        for binding in argument.arguments:
            _insist_known(binding, where)
            held = binding.HasField("value")
            found.append(self.value(binding.value, where) if held else binding.name)
        return tuple(found)

    def value(self, message: Any, where: str) -> Constant:
        """The constant in a message ``Value``."""
        _insist_known(message, where)
        if message.immediateValue.HasField("list"):
            items = [self.value(v, where).values for v in message.immediateValue.list.values]
            of = _tensor_type(message.type.listType.type, where)
            return Constant(TensorType(of.dtype, (len(items),)), np.array(items))
        kind = _tensor_type(message.type, where)
        sizes = tuple(s for s in kind.shape or () if s is not None)
        if kind.shape is None or len(sizes) != len(kind.shape):
            raise ModelError(f"constant of {where!r} has no fixed shape")
        count = math.prod(sizes)
        if message.HasField("blobFileValue"):
            blob = message.blobFileValue
            flat = self.file(blob.fileName).read(blob.offset, kind.dtype, count)
        else:
            flat = _immediate(message.immediateValue.tensor, kind.dtype, count, where)
        return Constant(kind, flat.reshape(sizes), message.HasField("blobFileValue"))

    def file(self, name: str) -> Blobs:
        if name not in self.files:
            if not name.startswith(FOLDER):
                raise ModelError(f"weights in {name!r}: they lie below {FOLDER!r}")
            self.files[name] = open_blobs(within(self.folder, name.removeprefix(FOLDER)))
        return self.files[name]


def _immediate(message: Any, dtype: str, count: int, where: str) -> Array:
    """The values that are written in place, flat."""
    held = [name for name in HELD if message.HasField(name)]
    if len(held) != 1 or dtype not in HELD[held[0]]:
        there = ", ".join(held) or "nothing"
        raise ModelError(f"a value of {where!r} is {dtype}, and holds {there}")
    raw = getattr(message, held[0]).values
    if isinstance(raw, bytes):
        if len(raw) != -(-count * width(dtype) // 8):
            raise ModelError(f"a value of {where!r} is {count} x {dtype} in {len(raw)} bytes")
        if dtype in BITS:
            return unpack(np.frombuffer(raw, np.uint8), count, dtype)
        return np.frombuffer(raw, numpy_dtype(dtype))
    found = np.array(list(raw), np.str_ if dtype == "string" else numpy_dtype(dtype))
    if found.size != count:
        raise ModelError(f"a value of {where!r} is {count} x {dtype}, and holds {found.size}")
    return found


def _tensor_type(message: Any, where: str) -> TensorType:
    if message.HasField("listType"):
        return TensorType(
            _tensor_type(message.listType.type, where).dtype, (_size(message.listType.length),)
        )
    if message.HasField("dictionaryType"):
        return TensorType(DICTIONARY, None)
    if not message.HasField("tensorType"):
        raise ModelError(f"{where!r} is not a tensor (a state or a tuple)")
    tensor = message.tensorType
    if tensor.dataType not in DTYPES:
        raise ModelError(f"{where!r} has data type {tensor.dataType}, which oq does not read")
    dtype = DTYPES[tensor.dataType]
    if any(d.unknown.variadic for d in tensor.dimensions) or tensor.rank < 0:
        return TensorType(dtype, None)
    if tensor.rank != len(tensor.dimensions):
        raise ModelError(f"{where!r} has rank {tensor.rank} and {len(tensor.dimensions)} axes")
    return TensorType(dtype, tuple(_size(d) for d in tensor.dimensions))


def _size(dimension: Any) -> int | None:
    return int(dimension.constant.size) if dimension.HasField("constant") else None


def _insist_known(message: Any, where: str) -> None:
    unknown = UnknownFieldSet(message)
    if len(unknown):
        raise ModelError(f"{where!r} has field {unknown[0].field_number}, which oq does not read")
