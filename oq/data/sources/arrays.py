"""Arrays in memory, and an ``.npy`` file read through a memory map."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from oq.data.sources.batches import chunk, pick_rows
from oq.data.sources.layout import LABELS, count_samples, find_layout
from oq.errors import DataError, one_line
from oq.numerics.values import Array, Batch, TensorInfo

_BLOCK = 1 << 20

BROKEN_NPY = (EOFError, OSError, SyntaxError, TokenError, ValueError)
"""Exceptions of NumPy for a damaged ``.npy``: its header is parsed as a Python literal."""


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def hash_files(root: Path, files: Iterable[str]) -> str:
    """SHA-256 over names below ``root`` and contents of ``files``, in their order."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file}\0{hash_file(root / file)}\n".encode())
    return digest.hexdigest()


def hash_arrays(arrays: Mapping[str, Array]) -> str:
    """SHA-256 over names, types, shapes and values, in the order of the names."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name}\0{array.dtype.str}{array.shape}\n".encode())
        # In blocks of rows, so that a memory map or a transposed array is never copied whole.
        rows = array if array.ndim else array[None]
        step = max(1, _BLOCK * len(rows) // max(1, rows.nbytes))
        for start in range(0, len(rows), step):
            digest.update(rows[start : start + step].tobytes())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class ArrayTable:
    """Arrays with axes (sample, ...), of which batches are views, and those that go to every sample
    ``alike``."""

    name: str
    count: int
    arrays: Mapping[str, Array]
    labels: Array | None = None
    path: Path | None = None
    alike: Mapping[str, Array] = field(default_factory=dict)

    def take(self, rows: Iterable[int], size: int) -> Iterator[Batch]:
        for part in chunk(rows, size):
            feeds = {name: pick_rows(array, part) for name, array in self.arrays.items()}
            labels = None if self.labels is None else pick_rows(self.labels, part)
            yield Batch({**feeds, **self.alike}, labels, frozenset(self.alike))

    def __reduce__(self) -> tuple[Any, ...]:
        """How it travels: a file is opened there."""
        mapped = self.path is not None
        arrays = {} if mapped else self.arrays
        alike = {} if mapped else self.alike
        keys = (tuple(self.arrays), tuple(self.alike))
        return _arrive, (self.name, self.count, arrays, self.labels, self.path, alike, keys)

    def locate(self, row: int) -> str:
        return f"sample {row}"

    def digest(self) -> str:
        if self.path is not None:
            return hash_file(self.path)
        labels = {} if self.labels is None else {LABELS: self.labels}
        return hash_arrays({**self.arrays, **self.alike, **labels})


def _arrive(
    name: str,
    count: int,
    arrays: Mapping[str, Array],
    labels: Array | None,
    path: Path | None,
    alike: Mapping[str, Array],
    keys: tuple[Sequence[str], Sequence[str]],
) -> ArrayTable:
    """The table that was sent; the one array of a file is mapped again.

    Raises:
        DataError: the file is not here.
    """
    if path is not None:
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except BROKEN_NPY as error:
            raise DataError(f"{name}: cannot be read here: {one_line(error)}") from error
        arrays, alike = dict.fromkeys(keys[0], array), dict.fromkeys(keys[1], array)
    return ArrayTable(name, count, arrays, labels, path, alike)


def make_table(name: str, arrays: Mapping[str, Array], inputs: Sequence[TensorInfo]) -> ArrayTable:
    """A table of arrays in memory, with the labels separated.

    Raises:
        DataError: see `count_samples`; or an array of Python objects.
    """
    for key, array in arrays.items():
        if array.dtype.hasobject:
            raise DataError(f"{name}: array {key!r} holds Python objects; expected numbers")
    shapes = {key: array.shape for key, array in arrays.items()}
    layout = find_layout(shapes, inputs)
    count = count_samples(name, shapes, layout)
    feeds = {key: array for key, array in arrays.items() if key not in layout.alike}
    alike = {key: arrays[key] for key in layout.alike}
    named = {info.name for info in inputs}
    labels = None if LABELS in named else feeds.pop(LABELS, None)
    return ArrayTable(name, count, feeds, labels, alike=alike)


def open_npy(path: Path, name: str, feed: str, inputs: Sequence[TensorInfo]) -> ArrayTable:
    """The rows of an ``.npy``, memory-mapped and read on demand.

    Raises:
        DataError: not an ``.npy``, truncated, of Python objects, or without samples.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except BROKEN_NPY as error:
        # An array of length 0 cannot be mapped; it is told apart by reading it, which is free.
        if "empty file" not in str(error):
            raise DataError(
                f"{name}: cannot be read as an .npy of numbers: {one_line(error)}"
            ) from error
        array = np.load(path, allow_pickle=False)
    if not isinstance(array, np.ndarray):
        array.close()
        raise DataError(f"{name}: is an .npz by its content; rename it to end in .npz")
    return replace(make_table(name, {feed: array}, inputs), path=path)
