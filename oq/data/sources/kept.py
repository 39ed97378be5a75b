"""Batches of a source that can be read one single time, kept so that they can be read again."""

import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oq.numerics.values import Array, Batch

IN_MEMORY = 256 * 10**6
"""Bytes of arrays that are kept in memory; what comes after them goes to a temporary folder, which
is removed with the object."""


@dataclass(frozen=True, slots=True)
class _OnDisk:
    """A batch in a file; the types stand here, since ``.npz`` knows NumPy's own alone."""

    path: Path
    feeds: tuple[tuple[str, np.dtype[np.generic]], ...]
    labels: Array | None
    alike: frozenset[str]

    def load(self) -> Batch:
        with np.load(self.path, allow_pickle=False) as held:
            arrays = {name: held[f"arr_{i}"].view(t) for i, (name, t) in enumerate(self.feeds)}
        return Batch(arrays, self.labels, self.alike)


class Kept:
    """Opens what ``take`` gives, one batch a call until None, as often as wanted: every batch is
    taken once, and kept."""

    def __init__(self, take: Callable[[], Batch | None], limit: int = IN_MEMORY) -> None:
        self._take: Callable[[], Batch | None] | None = take
        self._room = limit
        self._kept: list[Batch | _OnDisk] = []
        self._folder: Path | None = None

    def __call__(self) -> Iterator[Batch]:
        at = 0
        while (batch := self._batch(at)) is not None:
            yield batch
            at += 1

    def _batch(self, at: int) -> Batch | None:
        if at < len(self._kept):
            held = self._kept[at]
            return held if isinstance(held, Batch) else held.load()
        batch = None if self._take is None else self._take()
        if batch is None:
            self._take = None
            return None
        self._room -= sum(array.nbytes for array in batch.feeds.values())
        self._kept.append(_owned(batch) if self._room >= 0 else self._write(batch))
        return batch

    def _write(self, batch: Batch) -> _OnDisk:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="oq-feeds-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        path = self._folder / f"{len(self._kept)}.npz"
        np.savez(path, *batch.feeds.values())
        types = tuple((name, array.dtype) for name, array in batch.feeds.items())
        return _OnDisk(path, types, batch.labels, batch.alike)


def _owned(batch: Batch) -> Batch:
    """``batch`` with arrays of its own: a reader may fill one buffer again and again."""
    feeds = {name: array.copy() for name, array in batch.feeds.items()}
    labels = None if batch.labels is None else batch.labels.copy()
    return Batch(feeds, labels, batch.alike)
