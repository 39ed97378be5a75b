"""A source of batches that fit a model: the type of data passed to all stages."""

import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Protocol

from oq.data.preprocess import Preprocess
from oq.data.sources.batches import regroup
from oq.data.sources.fit import Place, fit_batch
from oq.data.sources.layout import fixed_batch, is_size, unfold
from oq.data.sources.names import Names
from oq.data.sources.pixels import transform_batch
from oq.data.sources.streams import Chosen, Items, Rows
from oq.errors import DataError, OptionError
from oq.numerics.values import Batch, TensorInfo

Size = int | Callable[[Batch], int]
"""Samples at a time: a number, or what a function says of samples of these shapes."""

BLOCK = 1024
"""Rows of a model with free axes beyond the first are joined to batches within blocks of so many,
so that where a batch ends depends on its block alone, and blocks can be read apart."""

_log = logging.getLogger(__name__)


class Source(Protocol):
    """The interface that the stages need: a name for messages, a count for progress, and
    batches."""

    @property
    def name(self) -> str:
        """The data as given by the user."""

    @property
    def count(self) -> int | None:
        """Number of samples, None if not known beforehand."""

    def batches(self, size: Size, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        """Samples ``start..stop-1``; see `Fitted.batches`."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """The samples of ``stream``, every batch checked against the model's inputs.

    ``preprocess`` is applied to feeds of uint8 images.  ``names``: what the data call the inputs;
    every feed passes through it here, whatever kind of data it comes from.
    """

    stream: Rows | Items | Chosen
    inputs: tuple[TensorInfo, ...]
    preprocess: Preprocess | None = None
    names: Names = field(default_factory=Names)

    @property
    def name(self) -> str:
        """The data as given by the user, for messages."""
        return self.stream.name

    @property
    def count(self) -> int | None:
        """Number of samples, `dropped` ones included; None if not known beforehand."""
        return self.stream.count

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of how the data is read."""
        return tuple(note for note in (self.names.note, self.stream.note) if note)

    @property
    def fixed(self) -> int | None:
        """The fixed batch size of the model, None if it is dynamic."""
        return fixed_batch(self.inputs)

    @property
    def dropped(self) -> int | None:
        """The number of samples at the end that do not fill a batch of the model's fixed size.

        None if not known beforehand; it is logged when the end is reached.
        """
        if self.fixed is None:
            return 0
        return None if self.count is None else self.count % self.fixed

    def batches(self, size: Size, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        """Samples ``start..stop-1`` in order, ``size`` at a time.

        * A model with a fixed batch size gets batches of exactly that size, whatever ``size`` is;
          the remainder at the end is dropped, and a warning is logged.
        * Otherwise rows (files, arrays, images) come in batches of ``size``, fewer at the end and
          where the sample shape changes.
        * Otherwise complete feeds (iterables, readers, test data sets) are passed on unchanged,
          whatever ``size`` is, and never split: each belongs to the slice that contains its first
          sample.

        Raises:
            DataError: a batch does not fit the model, or there are no samples at all.
            OptionError: ``size`` below 1.
        """
        if isinstance(size, int) and size < 1:
            raise OptionError(f"batch size is {size}; expected 1 or more")
        return self._read(size, start, stop)

    def _read(self, size: Size, start: int, stop: int | None) -> Iterator[Batch]:
        fixed = self.fixed
        parts = self._parts(size if fixed is None else fixed, start, stop)
        given = dropped = 0
        if fixed is None:
            for batch in parts:
                given += 1
                yield batch
        else:
            groups = regroup(parts, fixed, exact=True)
            while True:
                try:
                    batch = next(groups)
                except StopIteration as end:
                    dropped = end.value
                    break
                given += 1
                yield batch
        self._report(given, dropped, whole=start == 0 and stop is None)

    def _parts(self, size: Size, start: int, stop: int | None) -> Iterator[Batch]:
        """The stream in batches of ``size``, as far as it is not one of complete feeds."""
        if isinstance(size, int) or not isinstance(self.stream, Rows):
            return self._fit(size if isinstance(size, int) else 1, start, stop)
        if self._varies:
            end = self.stream.count if stop is None else min(stop, self.stream.count)
            ends = [*range(start - start % BLOCK + BLOCK, end, BLOCK), end]
            blocks = zip([start, *ends], ends, strict=False)
            return chain.from_iterable(
                regroup(self._fit(1, first, last), size, exact=False) for first, last in blocks
            )
        first = next(self._fit(1, start, start + 1), None)
        known = 1 if first is None else size(first)
        return regroup(self._fit(known, start, stop), known, exact=False)

    @property
    def _varies(self) -> bool:
        """Whether samples may differ in shape."""
        return any(i.shape is None or not all(map(is_size, i.shape[1:])) for i in self.inputs)

    def grain(self, size: Callable[[Batch], int]) -> int | None:
        """The number of samples between whose multiples every batch of ``size`` lies, wherever
        reading starts; None where only reading all of them tells (complete feeds, or samples of
        several shapes for a fixed batch)."""
        if not isinstance(self.stream, Rows) or (self._varies and self.fixed is not None):
            return None
        row = list(self._fit(1, 0, 1))
        if len(row) != 1 or row[0].rows != 1 or not row[0].divisible:
            return None  # a row holds a feed, or states that go to all samples alike
        return self.fixed or (BLOCK if self._varies else size(row[0]))

    def _report(self, given: int, dropped: int, whole: bool) -> None:
        """Say what was left out, and refuse data that turned out to have nothing."""
        if whole and not given:
            found = f"only {dropped} samples, too few for" if dropped else "no samples for"
            need = f"the model's fixed batch of {self.fixed}" if dropped else "the model"
            raise DataError(f"{self.name}: has {found} {need}; expected at least one batch")
        if dropped:
            _log.warning(
                "%s: %d samples do not fill the model's fixed batch of %s and are left out",
                self.name,
                dropped,
                self.fixed,
            )

    def _fit(self, size: int, start: int, stop: int | None) -> Iterator[Batch]:
        for first, given in self.stream.read(size, start, stop):
            batch = self.names.apply(given, self.inputs, self.name)
            planned = batch if self.preprocess is None else self._transform(batch, self.preprocess)
            at = first
            for feed in unfold(planned, self.inputs, self.fixed):
                place = Place(self.name, at, self.stream.locate)
                yield fit_batch(feed, self.inputs, place, regrouped=self.fixed is not None)
                at += feed.samples

    def _transform(self, batch: Batch, preprocess: Preprocess) -> Batch:
        """``batch`` with its images preprocessed.

        Raises:
            DataError: there are none.
        """
        images = {
            name: transform_batch(array, preprocess, f"{self.name}: {name!r}")
            for name, array in batch.feeds.items()
            if array.dtype.name == "uint8" and array.ndim == 4 and batch.rows != 0
        }
        if not images:
            found = ", ".join(f"{k!r}: {a.dtype.name} {a.shape}" for k, a in batch.feeds.items())
            raise DataError(
                f"{self.name}: preprocessing needs uint8 images with axes (sample, height, width,"
                f" channel) or (sample, channel, height, width); found {found}"
            )
        return Batch({**batch.feeds, **images}, batch.labels)


def fingerprint(source: Fitted) -> str:
    """SHA-256 of the samples, in hexadecimal: the bytes of files, the values of arrays.

    ``"unknown"`` for data from Python code (generators, loaders, callables).
    """
    digest = source.stream.digest()
    if digest is None:
        return "unknown"
    for read in (source.preprocess, sorted(source.names.arrays.items())):
        if read:
            digest = hashlib.sha256(f"{digest} {read!r}".encode()).hexdigest()
    return digest


def has_labels(source: Fitted) -> bool:
    """Whether the first sample has a label."""
    return any(batch.labels is not None for batch in source.batches(1, stop=1))
