"""Samples dealt out in parts whose batches, all together, are those of one reading.

Some calibrators see batches, and kernels may round otherwise in batches of another size: so no
part cuts a batch in two.  Rows are dealt in ranges that start where a batch does, and each part
reads its own.  Of complete feeds, whose number need not be known, part ``i`` of ``n`` takes every
``n``-th batch; it reads all of them and runs its own.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from oq.data.sources.fitted import Fitted
from oq.errors import OptionError
from oq.numerics.values import Batch

Numbered = tuple[int, Batch]
"""The number of its first sample, and the batch."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Samples ``start..stop-1`` (None: to the end), and of their batches the ``nth`` of every
    ``every``, from 0; ``done`` samples of those have been seen before."""

    start: int = 0
    stop: int | None = None
    nth: int = 0
    every: int = 1
    done: int = 0

    @property
    def whole(self) -> bool:
        """Whether it is all there is."""
        return self == WHOLE

    def after(self, done: int) -> "Piece":
        """What is left when the first ``done`` of its samples, whole batches, have been seen."""
        if self.every == 1:
            return replace(self, start=self.start + done)
        return replace(self, done=self.done + done)


WHOLE = Piece()


@dataclass(frozen=True, slots=True)
class Shard:
    """Part ``number`` of ``of`` that samples are dealt out in, from 1.

    >>> Shard.parse("3/16")
    Shard(number=3, of=16)
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """From ``3/16``.

        Raises:
            OptionError: ``text`` is of another form, or there is no such part.
        """
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise OptionError(f"--shard {text!r}: expected NUMBER/OF, such as 3/16, from 1 on")
        return cls(int(number), int(of))

    def piece(self, source: Fitted, size: Callable[[Batch], int]) -> Piece:
        """Its samples; none where there are fewer batches than parts."""
        return deal(source, size, self.of)[self.number - 1]


def deal(
    source: Fitted, size: Callable[[Batch], int], parts: int, start: int = 0
) -> tuple[Piece, ...]:
    """The samples from ``start`` on in ``parts`` of about the same number of batches; some are
    empty where there are fewer batches than parts."""
    grain, count = source.grain(size), source.count
    if grain is None or count is None:
        return tuple(Piece(start, None, i, parts) for i in range(parts))
    first = start // grain
    units = max(-(-count // grain) - first, 1)
    ends = [max(start, grain * (first + units * i // parts)) for i in range(1, parts)]
    stops = [None if i == parts - 1 else end for i, end in enumerate([*ends, count])]
    return tuple(Piece(a, b) for a, b in zip([start, *ends], stops, strict=True))


def share(samples: int | None, shard: Shard | None) -> int | None:
    """How many of ``samples`` are those of ``shard``, about."""
    return samples if samples is None or shard is None else samples // shard.of


def is_empty(piece: Piece) -> bool:
    """Whether ``piece`` is known to hold no samples."""
    return piece.stop is not None and piece.stop <= piece.start


def read(source: Fitted, size: Callable[[Batch], int], piece: Piece) -> Iterator[Numbered]:
    """The batches of ``piece``, numbered as in the whole."""
    if is_empty(piece):
        return
    # where a batch may hold samples of two feeds, its start is found by reading all before it
    start = piece.start if piece.start and source.grain(size) is not None else 0
    left = _from(piece.start, number(source.batches(size, start, piece.stop), start))
    seen = 0
    for at, batch in islice(left, piece.nth, None, piece.every):
        if seen >= piece.done:
            yield at, batch
        seen += batch.samples


def number(batches: Iterable[Batch], first: int = 0) -> Iterator[Numbered]:
    """``batches`` with the numbers of their first samples, from ``first`` on."""
    for batch in batches:
        yield first, batch
        first += batch.samples


def _from(start: int, batches: Iterator[Numbered]) -> Iterator[Numbered]:
    return ((first, batch) for first, batch in batches if first >= start)
