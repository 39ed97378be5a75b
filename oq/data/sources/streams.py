"""Streams of numbered batches: the rows of a table, complete items, or a selection of them."""

import hashlib
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from oq.numerics.values import Batch


class Table(Protocol):
    """Samples in rows, with known count and access by row number."""

    @property
    def name(self) -> str:
        """The data as given by the user, for messages."""

    @property
    def count(self) -> int:
        """Number of rows."""

    def take(self, rows: Iterable[int], size: int) -> Iterator[Batch]:
        """The ascending ``rows`` in batches of ``size``, reading in one direction only.

        A batch may be smaller than ``size`` at the end and where the sample shape changes.
        """

    def locate(self, row: int) -> str:
        """The location of a row for messages: ``sample 3`` or a file."""

    def digest(self) -> str | None:
        """SHA-256 of the samples, in hexadecimal; None if it cannot be computed."""


class Stream(Protocol):
    """Batches one after the other, each with the number by which `locate` finds its samples."""

    @property
    def name(self) -> str:
        """The data as given by the user, for messages."""

    @property
    def count(self) -> int | None:
        """Number of samples, None if not known beforehand."""

    def read(self, size: int, start: int, stop: int | None) -> Iterator[tuple[int, Batch]]:
        """(number of its first sample, batch) for samples ``start..stop-1``."""

    def locate(self, index: int) -> str:
        """The location of a sample for messages."""

    def digest(self) -> str | None:
        """SHA-256 of the samples, in hexadecimal; None if it cannot be computed."""


class RowSelection(Protocol):
    """Ascending row numbers; a range, a tuple, or computed."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> int: ...


@dataclass(frozen=True, slots=True)
class Rows:
    """The stream of a table: all its rows, or those of ``picks``.

    ``start`` and ``stop`` count rows, like a Python slice.  ``note``: what the user should know of
    them, or "".
    """

    table: Table
    picks: RowSelection | None = None
    note: str = ""

    @property
    def name(self) -> str:
        return self.table.name

    @property
    def count(self) -> int:
        return self.table.count if self.picks is None else len(self.picks)

    def _rows(self) -> RowSelection:
        return range(self.table.count) if self.picks is None else self.picks

    @property
    def again(self) -> bool:
        """A table can always be read again."""
        return True

    def read(self, size: int, start: int, stop: int | None) -> Iterator[tuple[int, Batch]]:
        chosen = range(self.count)[start:stop]
        picks = self._rows()
        at = chosen.start
        for batch in self.table.take((picks[index] for index in chosen), size):
            yield at, batch
            at += batch.samples

    def locate(self, index: int) -> str:
        return self.table.locate(self._rows()[index])

    def digest(self) -> str | None:
        return _choice_digest(self.table.digest(), self.picks)


@dataclass(frozen=True, slots=True)
class Items:
    """Complete feeds, passed on one by one: ``size`` does not apply.

    An item counts as many samples as the common length of the first axis of its feeds, or 1 if
    there is none.  ``start`` and ``stop`` count these samples, and an item is never split: it
    belongs to the slice that contains its first sample, so adjacent slices never share or lose one.

    ``open`` returns a fresh iterator over the user's items, ``convert`` turns one into a batch,
    ``sizes`` has the number of samples in each item if known beforehand.  ``again``: whether that
    may be done more than once.  ``note``: what the user should know of how it is read.
    """

    name: str
    open: Callable[[], Iterator[Any]]
    convert: Callable[[Any], Batch]
    sizes: tuple[int, ...] | None = None
    hash: Callable[[], str] | None = None
    again: bool = True
    note: str = ""

    @property
    def count(self) -> int | None:
        return None if self.sizes is None else sum(self.sizes)

    def read(self, size: int, start: int, stop: int | None) -> Iterator[tuple[int, Batch]]:
        at = 0
        if stop is not None and stop <= 0:
            return
        for item in self.open():
            batch = self.convert(item)
            if at >= start:
                yield at, batch
            at += batch.samples or 1
            if stop is not None and at >= stop:
                return

    def locate(self, index: int) -> str:
        return f"sample {index}"

    def digest(self) -> str | None:
        return None if self.hash is None else self.hash()


@dataclass(frozen=True, slots=True)
class Chosen:
    """Some items of a stream of items: those whose number is in ``keep``.

    Reading ends after ``limit`` samples.
    """

    inner: "Items | Chosen"
    keep: Container[int]
    limit: int | None = None

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def sizes(self) -> tuple[int, ...] | None:
        """As in `Items`."""
        if self.inner.sizes is None or self.limit is not None:
            return None
        return tuple(size for item, size in enumerate(self.inner.sizes) if item in self.keep)

    @property
    def count(self) -> int | None:
        return None if self.sizes is None else sum(self.sizes)

    @property
    def again(self) -> bool:
        """As in `Items`."""
        return self.inner.again

    @property
    def note(self) -> str:
        """As in `Items`."""
        return self.inner.note

    def read(self, size: int, start: int, stop: int | None) -> Iterator[tuple[int, Batch]]:
        ends = [end for end in (stop, self.limit) if end is not None]
        at = 0
        if ends and min(ends) <= 0:
            return
        for item, (index, batch) in enumerate(self.inner.read(size, 0, None)):
            if item not in self.keep:
                continue
            if at >= start:
                yield index, batch
            at += batch.samples or 1
            if ends and at >= min(ends):
                return

    def locate(self, index: int) -> str:
        return self.inner.locate(index)

    def digest(self) -> str | None:
        return _choice_digest(self.inner.digest(), (self.keep, self.limit))


def _choice_digest(inner: str | None, choice: object) -> str | None:
    """The digest of a choice from what ``inner`` is the digest of; all of it where None."""
    if inner is None or choice is None:
        return inner
    return hashlib.sha256(f"{inner} {choice!r}".encode()).hexdigest()
