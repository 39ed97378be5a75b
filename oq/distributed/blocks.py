"""A ``ray.data.Dataset`` as rows of arrays, one block at a time, wherever its blocks are."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Any

import numpy as np

from oq.errors import DataError
from oq.numerics.values import Array, Batch

LABELS = "labels"


def is_dataset(data: object) -> bool:
    """Whether ``data`` is a ``ray.data.Dataset``, without importing Ray."""
    return type(data).__module__.startswith("ray.data") and hasattr(data, "to_numpy_refs")


@dataclass(frozen=True, slots=True)
class BlockTable:
    """The rows of the blocks behind ``references``, which end at ``ends``; ``labelled``: whether
    the column ``labels`` holds labels."""

    name: str
    references: tuple[Any, ...]
    ends: tuple[int, ...]
    labelled: bool

    @property
    def count(self) -> int:
        """Number of rows."""
        return self.ends[-1]

    def take(self, rows: Iterable[int], size: int) -> Iterator[Batch]:
        """The ascending ``rows`` in batches of ``size``, fewer at the end of a block."""
        for number, group in groupby(rows, lambda row: bisect_right(self.ends, row)):
            first = self.ends[number - 1] if number else 0
            block = _load(self.references[number])
            wanted = [row - first for row in group]
            for at in range(0, len(wanted), size):
                yield self._batch(block, wanted[at : at + size])

    def _batch(self, block: Mapping[str, Array], rows: Sequence[int]) -> Batch:
        arrays = {column: self._stack(a, rows, column) for column, a in block.items()}
        labels = arrays.pop(LABELS, None) if self.labelled else None
        return Batch(arrays, labels)

    def _stack(self, column: Array, rows: Sequence[int], name: str) -> Array:
        """Some rows of a column; tensors of several shapes are objects, stacked where they
        agree."""
        chosen = column[rows[0] : rows[-1] + 1] if _adjoin(rows) else column[list(rows)]
        if not chosen.dtype.hasobject or all(isinstance(v, str) for v in chosen):
            return chosen.astype(np.str_) if chosen.dtype.hasobject else chosen
        try:
            return np.stack([np.asarray(value) for value in chosen])
        except ValueError as error:
            raise DataError(
                f"{self.name}: column {name!r} has samples of several shapes where the model "
                "takes one"
            ) from error

    def locate(self, row: int) -> str:
        """The location of a row for messages."""
        return f"row {row}"

    def digest(self) -> None:
        """Unknown: nobody reads all of it twice."""
        return None


def _adjoin(rows: Sequence[int]) -> bool:
    return rows[-1] - rows[0] + 1 == len(rows)


def _load(reference: Any) -> Mapping[str, Array]:
    import ray

    found: Mapping[str, Array] = ray.get(reference)
    return found


def open_dataset(data: Any, inputs: Sequence[str]) -> BlockTable:
    """The rows of ``data`` in their order, computed once and kept by the cluster; columns are
    called as the ``inputs`` are, and ``labels``.

    Raises:
        DataError: there are no rows.
    """
    import ray

    data.context.execution_options.preserve_order = True
    references = data.to_numpy_refs()
    counts = ray.get([ray.remote(num_cpus=0)(_count).remote(r) for r in references])
    blocks = [(r, n) for r, n in zip(references, counts, strict=True) if n]
    if not blocks:
        raise DataError("ray.data.Dataset: has no rows")
    ends = tuple(accumulate(n for _, n in blocks))
    references = tuple(r for r, _ in blocks)
    return BlockTable("ray.data.Dataset", references, ends, LABELS not in inputs)


def _count(block: Mapping[str, Array]) -> int:
    return len(next(iter(block.values()))) if block else 0
