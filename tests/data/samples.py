"""Samples that carry their number, and thirteen samples for every kind of file."""

from itertools import pairwise

import numpy as np

from oq.data.source import Fitted
from oq.numerics.values import Array, Batch, Shape, TensorInfo


def info(shape: Shape | None, dtype: str | None = "float32", name: str = "x") -> TensorInfo:
    return TensorInfo(name, dtype, shape)


X = info(("n", 2))
Y = info(("n",), "int64", "y")
FIXED = info((4, 2))


def rows(count: int) -> Array:
    """Row i holds 2i and 2i + 1; axes (sample, 2)."""
    return np.arange(count * 2, dtype=np.float32).reshape(count, 2)


COUNT = 13
XS = rows(COUNT)
YS = np.arange(COUNT, dtype=np.int64) * 10
LABELS = np.arange(COUNT, dtype=np.int64) + 100


def concat(batches: list[Batch], name: str = "x") -> Array:
    """The samples of all batches."""
    return np.concatenate([batch.feeds[name] for batch in batches]) if batches else XS[:0]


def collect(source: Fitted, size: int = 3, start: int = 0, stop: int | None = None) -> list[int]:
    """The numbers of the samples a source of `rows` gives."""
    found: list[int] = []
    for batch in source.batches(size, start, stop):
        found += [int(row[0]) // 2 for row in batch.feeds["x"]]
    return found


def items(sizes: list[int]) -> list[dict[str, Array]]:
    """Complete feeds of these many samples, numbered through."""
    ends = np.cumsum([0, *sizes])
    whole = rows(int(ends[-1]))
    return [{"x": whole[a:b]} for a, b in pairwise(ends)]
