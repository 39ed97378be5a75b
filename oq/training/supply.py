"""The samples of a training run: in another order in each epoch, as many as fit at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from oq.data.source import Fitted, subset
from oq.data.sources.batches import regroup
from oq.numerics.values import Batch

Lesson = tuple[Batch, ...]
"""The batches of one step of the optimizer: one, or several that a model with a fixed batch size,
or complete feeds of several shapes, take one after the other."""


@dataclass(slots=True)
class Supply:
    """``source`` in epochs of ``count`` samples: all of them, or, where ``limit`` bytes do not hold
    them, another draw in each epoch.

    The order of an epoch depends on ``seed`` and its number alone.  A step gets ``batch`` samples.
    """

    source: Fitted
    batch: int
    limit: int
    seed: int
    _held: tuple[Batch, ...] = ()

    @property
    def most(self) -> int:
        """Samples that ``limit`` bytes hold, at least those of one step."""
        first = next(self.source.batches(1))
        size = sum(a.nbytes for a in first.feeds.values()) // max(first.samples, 1)
        return max(self.batch, self.limit // max(size, 1))

    def units(self, epoch: int) -> Sequence[Batch]:
        """The samples of an epoch, each alone, or as the model's fixed batch size has them."""
        if self._held:
            return self._held
        most = self.most
        if self.source.count is not None and self.source.count <= most:
            self._held = tuple(self.source.batches(1))
            return self._held
        return tuple(subset(self.source, most, self.seed + epoch).batches(1))

    def lessons(self, epoch: int) -> Iterator[Lesson]:
        """The steps of an epoch, in its order."""
        units = self.units(epoch)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(units))
        shuffled = [units[i] for i in order]
        if self.source.fixed is None:
            parts: Iterator[Batch] = regroup(shuffled, self.batch, exact=False)
        else:
            parts = iter(shuffled)
        yield from _gathered(parts, self.batch)

    @property
    def count(self) -> int:
        """Samples of an epoch."""
        return sum(b.samples for b in self.units(0))


def _gathered(parts: Iterator[Batch], size: int) -> Iterator[Lesson]:
    """``parts`` in tuples of ``size`` samples or a few more, fewer at the end."""
    pending: list[Batch] = []
    for part in parts:
        pending.append(part)
        if sum(b.samples for b in pending) >= size:
            yield tuple(pending)
            pending = []
    if pending:
        yield tuple(pending)
