"""``.npz`` files decompressed in blocks of rows: no array is ever loaded as a whole.

An ``.npz`` is a zip of ``.npy`` members, and an ``.npy`` in C order stores its samples one after
the other, so a member can be decompressed and split into batches in a single pass.
"""

import zipfile
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import accumulate, groupby
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from oq.data.sources.arrays import BROKEN_NPY, hash_file, hash_files
from oq.data.sources.batches import chunk, find_runs, regroup
from oq.data.sources.layout import LABELS, count_samples, find_layout
from oq.errors import DataError, one_line
from oq.numerics.values import Array, Batch, TensorInfo

_BLOCK = 1 << 18
"""Bytes read at once: large enough for zlib, small compared with a batch."""

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
"""Version 3.0 differs only in Unicode field names, and oq reads no arrays with fields."""


@dataclass(frozen=True, slots=True)
class Member:
    """One array of an ``.npz``: its key, element type and shape."""

    key: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


@contextmanager
def _telling(name: str) -> Iterator[None]:
    """Turn what zipfile, zlib and NumPy raise on a broken file into a DataError."""
    try:
        yield
    except (*BROKEN_NPY, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise DataError(
            f"{name}: cannot be read as an .npz, damaged or cut short: {one_line(error)}"
        ) from error


def _read_header(stream: IO[bytes], name: str, key: str) -> Member:
    """Read the head of an ``.npy`` and leave ``stream`` at its first value."""
    version = np.lib.format.read_magic(stream)
    if version not in _HEADERS:
        raise DataError(f"{name}: array {key!r} has fields or an unknown format; expected numbers")
    shape, fortran, dtype = _HEADERS[version](stream)
    if dtype.hasobject or dtype.kind == "V":
        raise DataError(
            f"{name}: array {key!r} holds Python objects or fields; expected numbers or str"
        )
    if fortran:
        raise DataError(
            f"{name}: array {key!r} is stored in Fortran order, which cannot be read sample by"
            " sample; save numpy.ascontiguousarray(array) instead"
        )
    return Member(key, dtype, shape)


class _Cursor:
    """A position in a member's rows that only moves forward."""

    def __init__(self, stream: IO[bytes], name: str, key: str) -> None:
        self._stream = stream
        self._member = _read_header(stream, name, key)
        self._row = 0
        self._bytes = prod(self._member.shape[1:]) * self._member.dtype.itemsize

    def read(self, rows: Sequence[int]) -> Array:
        """The ascending ``rows``, none before the last row read; axes (sample, ...)."""
        out = np.empty((len(rows), *self._member.shape[1:]), self._member.dtype)
        if not self._bytes:
            return out
        view = out.reshape(-1).view(np.uint8).data
        for first, length in find_runs(rows):
            self._skip((first - self._row) * self._bytes)
            self._fill(view[: length * self._bytes])
            view = view[length * self._bytes :]
            self._row = first + length
        return out

    def _skip(self, left: int) -> None:
        scratch = memoryview(bytearray(min(left, _BLOCK)))
        while left:
            step = min(left, _BLOCK)
            self._fill(scratch[:step])
            left -= step

    def _fill(self, view: memoryview) -> None:
        at = 0
        while at < len(view):
            block = self._stream.read(min(len(view) - at, _BLOCK))
            if not block:
                raise EOFError(f"array {self._member.key!r} ends before its last sample")
            view[at : at + len(block)] = block
            at += len(block)


@dataclass(frozen=True, slots=True)
class NpzTable:
    """The rows of the arrays ``keys`` of an ``.npz``, with what goes to every row ``alike``."""

    name: str
    path: Path
    count: int
    keys: tuple[str, ...]
    labelled: bool
    alike: Mapping[str, Array] = field(default_factory=dict)

    def take(self, rows: Iterable[int], size: int) -> Iterator[Batch]:
        with ExitStack() as stack:
            with _telling(self.name):
                archive = stack.enter_context(zipfile.ZipFile(self.path))
                cursors = {
                    key: _Cursor(stack.enter_context(archive.open(f"{key}.npy")), self.name, key)
                    for key in (*self.keys, *((LABELS,) if self.labelled else ()))
                }
            for part in chunk(rows, size):
                with _telling(self.name):
                    arrays = {key: cursor.read(part) for key, cursor in cursors.items()}
                labels = arrays.pop(LABELS) if self.labelled else None
                yield Batch({**arrays, **self.alike}, labels, frozenset(self.alike))

    def locate(self, row: int) -> str:
        return f"sample {row}"

    def digest(self) -> str:
        return hash_file(self.path)


def open_npz(path: Path, name: str, inputs: Sequence[TensorInfo]) -> NpzTable:
    """The rows of ``path``, whose keys are input names, and ``labels``; reads only the headers, and
    what goes to every sample alike.

    Raises:
        DataError: not a zip, damaged, Python objects, Fortran order, or arrays that do not agree
            in their number of samples.
    """
    with _telling(name), zipfile.ZipFile(path) as archive:
        members = []
        for entry in archive.namelist():
            if entry.endswith(".npy"):
                with archive.open(entry) as stream:
                    members.append(_read_header(stream, name, entry.removesuffix(".npy")))
    shapes = {member.key: member.shape for member in members}
    layout = find_layout(shapes, inputs)
    count = count_samples(name, shapes, layout)
    with _telling(name), np.load(path, allow_pickle=False) as file:
        alike = {key: file[key] for key in shapes if key in layout.alike}
    labelled = LABELS in shapes and LABELS not in {info.name for info in inputs}
    keys = (k for k in shapes if k not in alike and (k != LABELS or not labelled))
    return NpzTable(name, path, count, tuple(keys), labelled, alike)


@dataclass(frozen=True, slots=True)
class FolderTable:
    """The rows of several ``.npz`` files, one file after the other.

    A batch may span two files if their samples have the same shape.
    """

    name: str
    root: Path
    parts: tuple[NpzTable, ...]
    ends: tuple[int, ...]

    @property
    def count(self) -> int:
        return self.ends[-1]

    def take(self, rows: Iterable[int], size: int) -> Iterator[Batch]:
        yield from regroup(self._pieces(rows, size), size, exact=False)

    def _pieces(self, rows: Iterable[int], size: int) -> Iterator[Batch]:
        for number, group in groupby(rows, lambda row: bisect_right(self.ends, row)):
            part = self.parts[number]
            first = self.ends[number] - part.count
            yield from part.take((row - first for row in group), size)

    def locate(self, row: int) -> str:
        number = bisect_right(self.ends, row)
        part = self.parts[number]
        return f"sample {row - self.ends[number] + part.count} of {part.path.name}"

    def digest(self) -> str:
        return hash_files(self.root, [part.path.name for part in self.parts])


def open_npz_folder(root: Path, name: str, inputs: Sequence[TensorInfo]) -> FolderTable:
    """The rows of all ``.npz`` files in ``root``, in the order of their names.

    Raises:
        DataError: see `open_npz`; or a file with other keys than the first one.
    """
    files = sorted(root.glob("*.npz"))
    parts = tuple(open_npz(file, f"{name}/{file.name}", inputs) for file in files)
    first = parts[0]
    for part in parts:
        if _all_keys(part) != _all_keys(first):
            raise DataError(
                f"{part.name}: has {_list_keys(part)} where {first.name} has {_list_keys(first)};"
                " every file of the folder needs the same keys"
            )
    return FolderTable(name, root, parts, tuple(accumulate(part.count for part in parts)))


def _all_keys(table: NpzTable) -> list[str]:
    return [*sorted((*table.keys, *table.alike)), *([LABELS] * table.labelled)]


def _list_keys(table: NpzTable) -> str:
    return ", ".join(map(repr, _all_keys(table)))
