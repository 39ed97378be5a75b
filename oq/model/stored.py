"""Weights that stay in files: a tensor that says where its values lie, not what they are.

Inside oq a model of many MB carries its large initializers as ONNX external data whose location is
an absolute path: in the user's own file, or in the files of a :class:`Spill`, where what oq makes
goes.  Copies of such a model are small; :func:`values_of` maps the values of one tensor at a time.
No such model leaves oq: :func:`whole` reads everything, and what is saved holds the values
(:mod:`oq.model.wire`).
"""

import mmap
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from oq.errors import OptionError, one_line
from oq.model.proto_fields import copy_fields, without_graph
from oq.numerics.values import Array

LEAST_MODEL = 2**26
"""Bytes from which on the weights of a model stay in files."""

LEAST_TENSOR = 2**16
"""Bytes of a tensor that stays in a file; what shapes and types depend on is smaller."""

ALIGNMENT = 4096
"""Of values in files: the page of a processor, so that runtimes can map them."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the values of a tensor lie: ``size`` bytes from ``offset`` of the file at ``path``."""

    path: Path
    offset: int
    size: int


def is_stored(tensor: onnx.TensorProto) -> bool:
    """Whether the values of ``tensor`` lie in a file."""
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def holds_stored(model: onnx.ModelProto) -> bool:
    """Whether ``model`` has initializers whose values lie in files."""
    return any(is_stored(t) for t in model.graph.initializer)


def is_placed(tensor: onnx.TensorProto) -> bool:
    """Whether the stored ``tensor`` names its file as oq does, by an absolute path."""
    said = {e.key: e.value for e in tensor.external_data}
    return Path(said.get("location", "")).is_absolute() and "length" in said


def place_of(tensor: onnx.TensorProto) -> Place:
    """Where the values of the stored ``tensor`` lie."""
    said = {e.key: e.value for e in tensor.external_data}
    return Place(Path(said["location"]), int(said.get("offset", 0)), int(said["length"]))


def put_place(tensor: onnx.TensorProto, place: Place) -> None:
    """Let ``tensor`` be stored at ``place``, and hold no values."""
    for name in ("raw_data", "external_data"):
        tensor.ClearField(name)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (
        ("location", str(place.path)),
        ("offset", str(place.offset)),
        ("length", str(place.size)),
    ):
        tensor.external_data.add(key=key, value=value)


def bytes_at(place: Place) -> memoryview:
    """The bytes at ``place``, mapped for reading; the mapping ends with the last view of it."""
    if not place.size:
        return memoryview(b"")
    skipped = place.offset % mmap.ALLOCATIONGRANULARITY
    size, start = skipped + place.size, place.offset - skipped
    with place.path.open("rb") as file:
        pages = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ, offset=start)
    return memoryview(pages)[skipped:]


def values_of(tensor: onnx.TensorProto) -> Array:
    """The values of ``tensor``; those in a file are mapped and cannot be written to."""
    if not is_stored(tensor):
        return np.asarray(numpy_helper.to_array(tensor))
    data, dtype = bytes_at(place_of(tensor)), helper.tensor_dtype_to_np_dtype(tensor.data_type)
    if str(dtype).endswith(("int4", "e2m1fn", "int2")):  # several values to a byte
        return np.asarray(numpy_helper.to_array(with_values(tensor)))
    return np.frombuffer(data, dtype).reshape(tuple(tensor.dims))


def with_values(tensor: onnx.TensorProto) -> onnx.TensorProto:
    """``tensor`` with its values in memory; itself where they are."""
    if not is_stored(tensor):
        return tensor
    held = TensorProto()
    held.CopyFrom(tensor)
    for name in ("external_data", "data_location"):
        held.ClearField(name)
    held.raw_data = bytes(bytes_at(place_of(tensor)))
    return held


def whole(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with all values in memory, for what reads protobufs; itself where they are."""
    if not holds_stored(model):
        return model
    full = onnx.ModelProto()
    full.CopyFrom(model)
    for tensor in full.graph.initializer:
        if is_stored(tensor):
            tensor.CopyFrom(with_values(tensor))
    return full


@dataclass(slots=True, weakref_slot=True)
class Spill:
    """Files for the weights that a run makes; they go with the last that holds this object, or when
    the process ends."""

    _folder: Path | None = None
    _size: int = 0
    _path: Path | None = field(default=None)

    def put(self, name: str, values: Array) -> onnx.TensorProto:
        """The stored tensor ``name`` with ``values``.

        Raises:
            OptionError: the folder for temporary files is full, or cannot be written.
        """
        kind = helper.np_dtype_to_tensor_dtype(values.dtype)
        if str(values.dtype).endswith(("int4", "e2m1fn", "int2")):
            raw = memoryview(numpy_helper.from_array(values, name).raw_data)
        else:
            raw = np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
        tensor = TensorProto(name=name, data_type=kind, dims=values.shape)
        put_place(tensor, self._append(raw))
        return tensor

    def keep(self, tensor: onnx.TensorProto) -> onnx.TensorProto:
        """``tensor`` with its raw data in a file."""
        kept = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        put_place(kept, self._append(memoryview(tensor.raw_data)))
        return kept

    def _append(self, raw: memoryview) -> Place:
        try:
            path = self._open()
            offset = -(-self._size // ALIGNMENT) * ALIGNMENT
            with path.open("r+b") as file:
                file.seek(offset)
                file.write(raw)
        except OSError as error:
            why = error.strerror or one_line(error)
            raise OptionError(
                f"cannot keep weights in {tempfile.gettempdir()!r}: {why}; name a folder with room "
                "by the environment variable TMPDIR"
            ) from error
        self._size = offset + len(raw)
        return Place(path, offset, len(raw))

    def _open(self) -> Path:
        if self._path is None:
            folder = tempfile.TemporaryDirectory(prefix="oq-")
            weakref.finalize(self, folder.cleanup)
            self._path = Path(folder.name).resolve() / "weights"
            self._path.touch()
        return self._path


_runs: list[Spill] = []
"""The spills of the runs in progress, innermost last."""


@contextmanager
def spilling() -> Iterator[Spill]:
    """A run whose large constants go to files; what it returns must hold the spill as long as its
    models."""
    spill = Spill()
    _runs.append(spill)
    try:
        yield spill
    finally:
        _runs.remove(spill)


def is_spilling() -> bool:
    """Whether a run is in progress."""
    return bool(_runs)


def spill_of(model: onnx.ModelProto) -> Spill | None:
    """Where large constants go that are made for ``model``: None where its own are in memory, or
    no run is in progress."""
    return _runs[-1] if _runs and holds_stored(model) else None


def put_away(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with its large initializers in files, if it is large, is in memory, and a run is in
    progress; a copy, without having copied them."""
    heavy = [t for t in model.graph.initializer if len(t.raw_data) >= LEAST_TENSOR]
    if not _runs or sum(len(t.raw_data) for t in heavy) < LEAST_MODEL:
        return model
    kept = {t.name: _runs[-1].keep(t) for t in heavy}
    return with_initializers(model, kept)


def with_initializers(
    model: onnx.ModelProto, others: Mapping[str, onnx.TensorProto]
) -> onnx.ModelProto:
    """A copy of ``model`` with ``others`` in place of the initializers of those names."""
    copy = without_graph(model)
    copy.functions.extend(model.functions)
    copy_fields(model.graph, copy.graph, without={"initializer"})
    copy.graph.initializer.extend(others.get(t.name, t) for t in model.graph.initializer)
    return copy
