"""Statistics for a plan: from the cache if it has them, else from the samples, in this process
(:mod:`oq.calibration.passes`) or by workers (:mod:`oq.calibration.parts`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from oq.calibration.cache import (
    Cache,
    Shards,
    check_key,
    check_needs,
    check_shards,
    load_cache,
    make_key,
    save_cache,
)
from oq.calibration.collect import Count, Save
from oq.calibration.job import Job, Measured, size_batches
from oq.calibration.parts import measure_apart
from oq.calibration.passes import measure_here
from oq.data.dealing import WHOLE, Piece
from oq.data.sizing import Sizing
from oq.data.source import Fitted, fingerprint
from oq.errors import DataError
from oq.numerics.statistics import Need, Statistics, holds, merge_all
from oq.wording import counted


@dataclass(slots=True)
class Shared:
    """Statistics shared in memory by several runs on the same samples of one model: each tensor is
    measured once.  ``path``: a cache on disk for the first run.

    All runs use the batches of the first, since some calibrators depend on them.
    """

    path: Path | None = None
    statistics: dict[str, Statistics] = field(default_factory=dict)
    needs: dict[str, frozenset[Need]] = field(default_factory=dict)
    sizing: Sizing | None = None
    samples: int = 0
    notes: tuple[str, ...] = ()

    def measure(self, job: Job, source: Fitted | None) -> Measured:
        """:func:`measure`, for the statistics that are missing."""
        first = self.sizing is None
        if self.sizing is None:
            self.sizing = size_batches(job)
        known = self.needs
        lacking = {t: n for t, n in job.needs.items() if t not in known or not n <= known[t]}
        if lacking or first:
            some = replace(job, needs=lacking, sizing=self.sizing)
            found = measure(some, source, self.path if first else None)
            self.statistics |= found.statistics
            self.needs |= lacking
            self.samples, self.notes = found.samples, self.notes or found.notes
        return Measured({t: self.statistics[t] for t in job.needs}, self.samples, self.notes)


def missing(
    needs: Mapping[str, frozenset[Need]], known: Mapping[str, Statistics]
) -> dict[str, frozenset[Need]]:
    """Those of ``needs`` that ``known`` does not hold."""
    return {t: n for t, n in needs.items() if not holds(known.get(t), n)}


def measure_missing(
    job: Job, source: Fitted | None, known: Mapping[str, Statistics]
) -> Mapping[str, Statistics]:
    """``known``, and the statistics that ``job`` needs beyond it."""
    lacking = missing(job.needs, known)
    if not lacking:
        return known
    return {**known, **measure(replace(job, needs=lacking, progress=None), source).statistics}


def measure(job: Job, source: Fitted | None, cache: Path | Shared | None = None) -> Measured:
    """The statistics that ``job`` needs; ``source`` may be None if ``cache`` is complete.

    Raises:
        DataError: the cache is stale, or there are neither samples nor a complete cache.
        OptionError: one tensor of a single sample passes ``max_memory``.
    """
    if isinstance(cache, Shared):
        return cache.measure(job, source)
    job = replace(job, sizing=size_batches(job))
    if cache is None:
        if source is None and job.needs:
            raise DataError(
                f"{counted(len(job.needs), 'tensor')} cannot be calibrated without data (the first "
                f"is {next(iter(job.needs))!r}): give --data, or a finished --cache"
            )
        if source is None:
            return Measured({}, 0)
        return _from_samples(job, source, _piece(job, source))
    found = load_cache(cache) if cache.exists() else None
    wanted = None if job.shard is None else Shards((job.shard.number,), job.shard.of)
    if source is None:
        if found is None or not found.complete:
            raise DataError(f"the cache {str(cache)!r} is not finished: give --data as well")
        check_key(found, make_key(job.model, "", job.target), cache, data=False)
        check_shards(found, wanted, cache)
        check_needs(found, job.needs, cache)
        return Measured(found.statistics, found.samples)
    data = f"{fingerprint(source)} {job.drawn}".strip()
    key = make_key(job.model, data, job.target)
    if found is None:
        found = Cache(key, job.needs, 0, False, {}, wanted)
    check_key(found, key, cache)
    check_shards(found, wanted, cache)
    check_needs(found, job.needs, cache)
    return (
        Measured(found.statistics, found.samples)
        if found.complete
        else _go_on(job, source, found, cache)
    )


def _go_on(job: Job, source: Fitted, begun: Cache, path: Path) -> Measured:
    """From where ``begun`` stopped to the end, saving now and then.

    Groups under ``max_memory`` are saved only all together: between them the samples that were
    folded in would differ from tensor to tensor.  So are the parts of workers.
    """

    def keep(samples: int, statistics: Mapping[str, Statistics], complete: bool) -> Measured:
        whole = merge_all(begun.statistics, statistics)
        done = begun.samples + samples
        save_cache(replace(begun, samples=done, complete=complete, statistics=whole), path)
        return Measured(whole, done)

    def save(samples: int, statistics: Mapping[str, Statistics]) -> None:
        keep(samples, statistics, complete=False)

    piece = _piece(job, source).after(begun.samples)
    job = replace(job, progress=Count(job.progress, begun.samples))
    found = _from_samples(job, source, piece, save)
    return replace(keep(found.samples, found.statistics, complete=True), notes=found.notes)


def _piece(job: Job, source: Fitted) -> Piece:
    """The samples of the job: its shard's, or all."""
    return WHOLE if job.shard is None else job.shard.piece(source, size_batches(job))


def _from_samples(job: Job, source: Fitted, piece: Piece, save: Save | None = None) -> Measured:
    """The statistics of ``piece``: workers save nothing before the end."""
    if job.workers is not None:
        return measure_apart(job, source, piece.start, job.workers)
    return measure_here(job, source, piece, save)
