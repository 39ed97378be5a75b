"""Statistics of some samples, in this process.

Batches are as large as the samples' real shapes allow (:mod:`oq.data.sizing`).  If the
activations of a single sample exceed the limit, tensors are calibrated in groups, with a pass over
the data each.
"""

from collections.abc import Iterator, Sequence
from itertools import chain

from oq.calibration.collect import Count, Save, collect_numbered
from oq.calibration.job import Job, Measured, size_batches
from oq.data.dealing import Numbered, Piece, read
from oq.data.source import Fitted
from oq.errors import DataError, OptionError
from oq.numerics.statistics import EMPTY, Statistics
from oq.numerics.values import Batch


def measure_here(job: Job, source: Fitted, piece: Piece, save: Save | None = None) -> Measured:
    """The statistics of the samples of ``piece``, run by this process; of no values, where it holds
    none.

    Raises:
        DataError: there are no samples in all.
        OptionError: one tensor of a single sample passes ``max_memory``.
    """
    statistics: dict[str, Statistics] = dict.fromkeys(job.needs, EMPTY)
    count, said = Count(job.progress), list[str]()
    for group, batches in _passes(job, source, piece):
        whole = len(group) == len(job.needs)
        needs = {t: job.needs[t] for t in group}
        statistics |= collect_numbered(
            *(job.model, needs, batches, job.settings, count, save if whole else None),
            size_batches(job),
            said.append,
        )
    return Measured(statistics, count.done, tuple(dict.fromkeys(said)))


Pass = tuple[tuple[str, ...], Iterator[Numbered]]
"""Tensors, and all batches."""


def _passes(job: Job, source: Fitted, piece: Piece) -> Iterator[Pass]:
    """The passes over the samples of ``piece``: tensors whose activations of the first batch fit
    the limit together, and the batches.  None if there are no samples left."""
    left, passes, sizing = tuple(job.needs), 0, size_batches(job)
    while True:
        batches = read(source, sizing, piece)
        first = next(batches, None)
        if first is None:
            return
        group = _group(job, source, left, first[1])
        sizing.passes = passes = 1 if len(group) == len(job.needs) else passes + 1
        yield group, chain([first], batches)
        left = left[len(group) :]
        if not left:
            return


def _group(job: Job, source: Fitted, left: Sequence[str], batch: Batch) -> tuple[str, ...]:
    """As many tensors of ``left``, in their order, as fit; at least one.

    Raises:
        OptionError: one alone does not fit a limit that the user has set.
        DataError: the data cannot be read again, and the user has set a limit.
    """
    sizing = size_batches(job)
    sizes = sizing.footprint.of(batch)
    total, count = 0, 0
    for tensor in left:
        total += sizes.get(tensor, 0)
        if total > sizing.limit:
            break
        count += 1
    if count == len(left) or (job.max_memory is None and not source.stream.again):
        return tuple(left)
    if job.max_memory is not None and count == 0:
        many = f"a batch of {batch.samples}" if batch.samples > 1 else "one sample"
        raise OptionError(
            f"--max-memory: tensor {left[0]!r} alone takes {sizes[left[0]] / 1e6:.0f} MB for "
            f"{many}; allow more"
        )
    if not source.stream.again:
        raise DataError(
            f"{source.name}: can be read only once, and --max-memory {job.max_memory} takes "
            "several passes; give a list, or a function that makes a new one"
        )
    return tuple(left[: max(count, 1)])
