"""Splitting and concatenating batches along the sample axis."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import islice

import numpy as np

from oq.numerics.values import Array, Batch


def chunk(rows: Iterable[int], size: int) -> Iterator[Sequence[int]]:
    """``rows`` in lists of ``size``; the last may be shorter.

    >>> list(chunk(range(5), 2))
    [[0, 1], [2, 3], [4]]
    """
    iterator = iter(rows)
    while part := list(islice(iterator, size)):
        yield part


def find_runs(rows: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ascending ``rows`` as (first, length) of each run of consecutive rows.

    >>> list(find_runs([2, 3, 4, 9]))
    [(2, 3), (9, 1)]
    """
    start = 0
    for at in range(1, len(rows) + 1):
        if at == len(rows) or rows[at] != rows[at - 1] + 1:
            yield rows[start], at - start
            start = at


def pick_rows(array: Array, rows: Sequence[int]) -> Array:
    """``array[rows]`` for ascending ``rows``: a view if they are consecutive, else a copy."""
    if rows[-1] - rows[0] + 1 == len(rows):
        return array[rows[0] : rows[-1] + 1]
    return array[list(rows)]


def join(parts: Sequence[Batch]) -> Batch:
    """One batch with the samples of all ``parts``, which have the same kind (see `_kind`)."""
    if len(parts) == 1:
        return parts[0]
    labels = [part.labels for part in parts if part.labels is not None]
    first = parts[0]
    feeds = {
        name: array if name in first.alike else np.concatenate([p.feeds[name] for p in parts])
        for name, array in first.feeds.items()
    }
    return Batch(feeds, np.concatenate(labels) if labels else None, first.alike)


def _kind(batch: Batch) -> object:
    """What two batches must have in common to be joined."""
    feeds = {
        name: (array.shape, array.tobytes()) if name in batch.alike else array.shape[1:]
        for name, array in batch.feeds.items()
    }
    return feeds, [a.dtype for a in batch.feeds.values()], batch.labels is None


def regroup(
    parts: Iterable[Batch], size: int | Callable[[Batch], int], exact: bool
) -> Generator[Batch, None, int]:
    """``parts`` regrouped into batches of ``size`` samples, a number or what a function says of
    samples of these shapes; returns the number of samples left out.

    At the end, and where the sample shape changes, fewer than ``size`` samples may remain:
    ``exact`` leaves them out, else they become a smaller batch.  A batch whose feeds have no common
    first axis cannot be split and is passed on unchanged.
    """
    pending: list[Batch] = []
    total = dropped = most = 0
    for part in parts:
        count = part.rows if part.divisible else None
        if pending and (count is None or _kind(part) != _kind(pending[0])):
            if exact:
                dropped += total
            else:
                yield join(pending)
            pending, total = [], 0
        if count is None:
            yield part
            continue
        if not pending:
            most = size if isinstance(size, int) else size(part)
        pending.append(part)
        total += count
        if total >= most:
            whole = join(pending)
            for at in range(0, total - most + 1, most):
                yield whole.part(at, at + most)
            rest = total % most
            pending, total = ([whole.part(total - rest, total)], rest) if rest else ([], 0)
    if pending and not exact:
        yield join(pending)
        total = 0
    return dropped + total
