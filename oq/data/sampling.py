"""Selection of samples: a reproducible draw, a held-out part, or random numbers."""

import bisect
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from oq.data.sources.batches import chunk
from oq.data.sources.fitted import Fitted
from oq.data.sources.layout import has_samples_axis, lay_out
from oq.data.sources.streams import Chosen, Items, Rows, RowSelection
from oq.errors import DataError, OptionError
from oq.numerics.values import FLOAT_DTYPES, STRING, Array, Batch, TensorInfo


@dataclass(frozen=True, slots=True)
class SelectedRows:
    """Ascending row numbers, as a `RowSelection` and as a container."""

    numbers: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int, /) -> int:
        return self.numbers[index]

    def __contains__(self, number: object) -> bool:
        at = bisect.bisect_left(self.numbers, number) if isinstance(number, int) else 0
        return at < len(self.numbers) and self.numbers[at] == number


@dataclass(frozen=True, slots=True)
class ComposedRows:
    """``inner[outer[i]]``: a selection from a selection."""

    outer: RowSelection
    inner: RowSelection

    def __len__(self) -> int:
        return len(self.outer)

    def __getitem__(self, index: int, /) -> int:
        return self.inner[self.outer[index]]


@dataclass(frozen=True, slots=True)
class KeptBlocks:
    """The remaining rows of ``count`` when each ``every``-th ``block`` of rows is held out."""

    count: int
    every: int
    block: int = 1

    def __len__(self) -> int:
        return self.count - len(HeldOutBlocks(self.count, self.every, self.block))

    def __getitem__(self, index: int, /) -> int:
        held = self.count // self.block // self.every
        return index + min(index // ((self.every - 1) * self.block), held) * self.block


@dataclass(frozen=True, slots=True)
class HeldOutBlocks:
    """The complement of `KeptBlocks`: blocks ``every - 1``, ``2 * every - 1``, ..."""

    count: int
    every: int
    block: int = 1

    def __len__(self) -> int:
        return self.count // self.block // self.every * self.block

    def __getitem__(self, index: int, /) -> int:
        block, row = divmod(index, self.block)
        return ((block + 1) * self.every - 1) * self.block + row


@dataclass(frozen=True, slots=True)
class EveryNth:
    """The numbers ``every - 1``, ``2 * every - 1``, ..., or all others if not ``held``."""

    every: int
    held: bool

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and ((number + 1) % self.every == 0) == self.held


@dataclass(frozen=True, slots=True)
class AllRows:
    """The selection of all rows."""

    def __contains__(self, number: object) -> bool:
        return True


def _pick(rows: Rows, picks: RowSelection) -> Rows:
    return replace(rows, picks=picks if rows.picks is None else ComposedRows(picks, rows.picks))


def subset(source: Fitted, samples: int, seed: int) -> Fitted:
    """``samples`` of the samples, drawn without replacement by ``seed``, in their original order.

    The whole source if it has no more.  Complete feeds are drawn as a whole, until they contain
    ``samples`` samples or more.  If the count is not known beforehand, the first ``samples`` are
    taken instead.

    Raises:
        OptionError: ``samples`` below 1.
    """
    if samples < 1:
        raise OptionError(f"samples is {samples}; expected 1 or more")
    if source.count is not None and source.count <= samples:
        return source
    # Python's generator, because NumPy promises no stable stream between versions.
    draw = random.Random(seed)
    stream = source.stream
    if isinstance(stream, Rows):
        drawn = SelectedRows(tuple(sorted(draw.sample(range(stream.count), samples))))
        return replace(source, stream=_pick(stream, drawn))
    if stream.sizes is None:
        return replace(source, stream=Chosen(stream, AllRows(), samples))
    items, total = [], 0
    for item in draw.sample(range(len(stream.sizes)), len(stream.sizes)):
        if total < samples:
            items.append(item)
            total += stream.sizes[item]
    return replace(source, stream=Chosen(stream, SelectedRows(tuple(sorted(items)))))


def split(source: Fitted, held_back: int) -> tuple[Fitted, Fitted]:
    """(the rest, every ``held_back``-th sample).

    Complete feeds are held out as a whole, every ``held_back``-th of them.  For a model with a
    fixed batch size, samples are held out in whole batches.  If there are fewer than ``held_back``,
    the last one is held out.

    Raises:
        OptionError: ``held_back`` below 2.
        DataError: only one sample, or only one batch for a model with a fixed batch.
    """
    if held_back < 2:
        raise OptionError(f"held_back is {held_back}; expected 2 or more")
    stream = source.stream
    block = source.fixed or 1
    if isinstance(stream, Rows):
        units: int | None = stream.count // block
    else:
        units = None if stream.sizes is None else len(stream.sizes)
    if units is not None and units < 2:
        kind = f"batches of {block}" if block > 1 else "samples"
        raise DataError(f"{source.name}: has {units} {kind}; expected 2 or more to hold some back")
    every = held_back if units is None else min(held_back, units)
    if isinstance(stream, Rows):
        kept = _pick(stream, KeptBlocks(stream.count, every, block))
        held = _pick(stream, HeldOutBlocks(stream.count, every, block))
        return replace(source, stream=kept), replace(source, stream=held)
    return (
        replace(source, stream=Chosen(stream, EveryNth(every, held=False))),
        replace(source, stream=Chosen(stream, EveryNth(every, held=True))),
    )


RANDOM = "random numbers"
"""The name of a random source."""


@dataclass(frozen=True, slots=True)
class RandomTable:
    """Rows of random numbers of ``shapes``; row i depends only on ``seed`` and i."""

    count: int
    seed: int
    dtypes: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def name(self) -> str:
        return RANDOM

    def take(self, rows: Iterable[int], size: int) -> Iterator[Batch]:
        for part in chunk(rows, size):
            samples = [self._make(row) for row in part]
            yield Batch({key: np.stack([row[key] for row in samples]) for key in self.dtypes})

    def _make(self, row: int) -> dict[str, Array]:
        generator = np.random.default_rng([self.seed, row])
        return {
            key: _draw(generator, dtype, self.shapes[key]) for key, dtype in self.dtypes.items()
        }

    def locate(self, row: int) -> str:
        return f"sample {row}"

    def digest(self) -> str | None:
        return None


def _draw(generator: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> Array:
    """Standard normal floats; bytes over their full range, as pixels are; else 0 or 1."""
    if dtype in FLOAT_DTYPES:
        return generator.standard_normal(shape).astype(dtype)
    if dtype in ("uint8", "int8"):
        limits = np.iinfo(dtype)
        return generator.integers(limits.min, limits.max + 1, shape).astype(dtype)
    if dtype == STRING:
        return generator.integers(0, 2, shape).astype(np.str_)
    # 0 and 1 are in range for every index, token and mask.
    return generator.integers(0, 2, shape).astype(dtype)


LARGEST = 2**31
"""Values of a random sample: beyond it a declared shape is a fault."""


def random_source(
    inputs: Sequence[TensorInfo],
    samples: int,
    seed: int,
    sizes: Mapping[str, int] | None = None,
) -> Fitted:
    """``samples`` samples of random numbers in the model's shapes.

    A dynamic axis has length 1, or the one that ``sizes`` has for its name.  If the inputs have no
    common batch axis, every sample is a complete feed.

    Raises:
        OptionError: ``samples`` below 1.
        DataError: the model does not tell an input's type or rank.
    """
    if samples < 1:
        raise OptionError(f"samples is {samples}; expected 1 or more")
    known = sizes or {}
    dtypes: dict[str, str] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for info in inputs:
        if info.shape is None or info.dtype is None:
            raise DataError(
                f"{RANDOM}: the model does not tell type and shape of input {info.name!r}"
            )
        dtypes[info.name] = info.dtype
        shapes[info.name] = tuple(
            axis if isinstance(axis, int) and axis > 0 else known.get(str(axis), 1)
            for axis in info.shape
        )
        if prod(shapes[info.name]) > LARGEST:
            declared = f"{info.dtype}{list(info.shape)}"
            raise DataError(f"{RANDOM}: input {info.name!r} is {declared}, too large to make up")
    if has_samples_axis(inputs) and all(shapes.values()):
        rows = {key: shape[1:] for key, shape in shapes.items()}
        return Fitted(Rows(RandomTable(samples, seed, dtypes, rows)), tuple(inputs))
    table = RandomTable(samples, seed, dtypes, shapes)

    def convert(row: int) -> Batch:
        feeds = next(table.take([row], 1)).feeds
        return lay_out(Batch({key: array[0] for key, array in feeds.items()}), inputs)

    return Fitted(Items(RANDOM, lambda: iter(range(samples)), convert), tuple(inputs))
