"""Statistics of samples that are dealt out to workers, joined on the way back.

The statistics of each part travel packed (:mod:`oq.calibration.packing`) and are joined where two
or more have arrived, so that neither this process nor any other holds more than a few.  Since they
merge exactly and batches are those of one reading (:mod:`oq.data.dealing`), the result is that of
one process.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from oq.calibration.collect import Progress
from oq.calibration.job import Job, Measured, size_batches
from oq.calibration.packing import from_bytes, join_bytes, to_bytes
from oq.calibration.passes import measure_here
from oq.data.dealing import Piece, deal, is_empty
from oq.data.source import Fitted
from oq.errors import DataError
from oq.model.session import custom_ops, use_custom_ops
from oq.model.stored import whole
from oq.model.view import GraphView
from oq.parallel import Workers

PARTS = 4
"""Parts per worker: the last of them ends not long after the others, and what a lost worker has
done is done again soon."""

NO_VIEW = GraphView((), (), (), {}, {}, 0)
"""A part's batches are sized already, which is all that the graph is looked at for."""


@dataclass(frozen=True, slots=True)
class Part:
    """Statistics on their way, and what the limit of memory has led to (:class:`Sizing`)."""

    samples: int
    packed: bytes
    least: int | None
    passes: int


@dataclass(frozen=True, slots=True)
class PartWork:
    """Measures a part of the samples on one thread, as runs on several cores do each batch."""

    job: Job
    source: Fitted
    libraries: tuple[Path, ...]

    def __call__(self, piece: Piece, progress: Progress) -> Part:
        """The statistics of ``piece``."""
        use_custom_ops(self.libraries)
        sizing = replace(size_batches(self.job))
        job = replace(self.job, progress=progress, sizing=sizing)
        found = measure_here(job, self.source, piece)
        return Part(found.samples, to_bytes(found.statistics), sizing.least, sizing.passes)


def join_parts(parts: Sequence[Part]) -> Part:
    """One part with the samples and statistics of all ``parts``."""
    return Part(
        sum(p.samples for p in parts),
        join_bytes([p.packed for p in parts]),
        min((p.least for p in parts if p.least is not None), default=None),
        max(p.passes for p in parts),
    )


def measure_apart(job: Job, source: Fitted, start: int, workers: Workers) -> Measured:
    """The statistics of the samples from ``start`` on, dealt out to ``workers``.

    Raises:
        DataError: the data can be read only here, and once.
    """
    if not source.stream.again:
        raise DataError(
            f"{source.name}: can be read only once, by one process; for workers give a path, "
            "package.module:callable, arrays or a ray.data.Dataset"
        )
    sizing = size_batches(job)
    many = workers.slots * (1 if source.grain(sizing) is None else PARTS)
    pieces = [p for p in deal(source, sizing, many, start) if not is_empty(p)]
    settings = replace(job.settings, threads=1)
    bare = replace(
        job,
        model=whole(job.model),  # a worker may not see this machine's temporary files
        view=NO_VIEW,
        settings=settings,
        progress=None,
        workers=None,
        sizing=sizing,
    )
    work = PartWork(bare, source, custom_ops())
    part = workers.fold(work, pieces, join_parts, job.progress)
    if part.least is not None:
        sizing.least = part.least if sizing.least is None else min(part.least, sizing.least)
    sizing.passes = max(sizing.passes, part.passes)
    return Measured(from_bytes(part.packed), part.samples)
