"""Statistics for a plan: from the cache if it has them, else from the samples.

Batches are as large as the samples' real shapes allow (:mod:`oq.data.sizing`).  If the
activations of a single sample exceed the limit, tensors are calibrated in groups, with a pass over
the data each.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import onnx

from oq.calibration.cache import Cache, check_key, check_needs, load_cache, make_key, save_cache
from oq.calibration.collect import Needs, Progress, collect
from oq.data.sizing import ALONE, LARGE, Sizing
from oq.data.source import Fitted, fingerprint
from oq.errors import DataError, OptionError
from oq.model.footprint import MAX_MEMORY, Footprint
from oq.model.session import Settings
from oq.model.view import GraphView
from oq.numerics.statistics import Need, Statistics, holds, merge_all
from oq.numerics.values import Batch

EVERYTHING = frozenset(Need) - {Need.READERS}
"""The statistics of ``oq calibrate``, which serve every calibrator."""


@dataclass(frozen=True, slots=True)
class Job:
    """A calibration: what is run and what is collected.

    ``max_memory`` is in MB; None is the default, which is exceeded where the data cannot be read
    again, or a single tensor takes more.

    ``batch_size`` None chooses one whose activations fit in the processor's cache.  ``sizing`` is
    that of an earlier run, since some calibrators depend on the batches.

    ``drawn`` describes which samples of the data were drawn, for the key of the cache.
    """

    model: onnx.ModelProto
    view: GraphView
    needs: Needs
    batch_size: int | None
    settings: Settings
    drawn: str = ""
    max_memory: int | None = None
    progress: Progress | None = None
    sizing: Sizing | None = None


def size_batches(job: Job) -> Sizing:
    """The sizing of the job's batches: its own, or one for the tensors it needs."""
    if job.sizing is not None:
        return job.sizing
    limit = 10**6 * (job.max_memory or MAX_MEMORY)
    footprint = Footprint(job.model, job.view.tensors)
    in_order = any(Need.BATCHES in need for need in job.needs.values())
    alone = LARGE if in_order else ALONE
    return Sizing(footprint, limit, job.batch_size, frozenset(job.needs), alone=alone)


@dataclass(frozen=True, slots=True)
class Measured:
    """Statistics per tensor, and the number of samples."""

    statistics: Mapping[str, Statistics]
    samples: int


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
            self.samples = found.samples
        return Measured({t: self.statistics[t] for t in job.needs}, self.samples)


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
                f"no data to calibrate {len(job.needs)} tensors, "
                f"{next(iter(job.needs))!r} first: give --data, or a finished --cache"
            )
        if source is None:
            return Measured({}, 0)
        return _from_samples(job, source)
    found = load_cache(cache) if cache.exists() else None
    if source is None:
        if found is None or not found.complete:
            raise DataError(f"the cache {str(cache)!r} is not finished: give --data as well")
        check_key(found, make_key(job.model, ""), cache, data=False)
        check_needs(found, job.needs, cache)
        return Measured(found.statistics, found.samples)
    key = make_key(job.model, f"{fingerprint(source)} {job.drawn}".strip())
    if found is None:
        found = Cache(key, job.needs, 0, False, {})
    check_key(found, key, cache)
    check_needs(found, job.needs, cache)
    return (
        Measured(found.statistics, found.samples)
        if found.complete
        else _go_on(job, source, found, cache)
    )


def _go_on(job: Job, source: Fitted, begun: Cache, path: Path) -> Measured:
    """From where ``begun`` stopped to the end, saving now and then.

    Groups under ``max_memory`` are saved only all together: between them the samples that were
    folded in would differ from tensor to tensor.
    """

    def keep(samples: int, statistics: Mapping[str, Statistics], complete: bool) -> Cache:
        whole = merge_all(begun.statistics, statistics)
        cache = Cache(begun.key, begun.needs, begun.samples + samples, complete, whole)
        save_cache(cache, path)
        return cache

    count = _Count(job.progress, begun.samples)

    def save(samples: int, statistics: Mapping[str, Statistics]) -> None:
        keep(samples, statistics, complete=False)

    passes = _passes(job, source, begun.samples)
    for group, batches in passes:
        if len(group) < len(job.needs):
            rest = _from_passes(job, chain([(group, batches)], passes), begun.samples)
            finished = keep(rest.samples, rest.statistics, True)
            return Measured(finished.statistics, finished.samples)
        statistics = collect(
            job.model, job.needs, batches, job.settings, count, save, begun.samples, job.sizing
        )
        finished = keep(count.done, statistics, True)
        return Measured(finished.statistics, finished.samples)
    # stopped after the last batch, before the last save
    finished = keep(0, {}, True)
    return Measured(finished.statistics, finished.samples)


@dataclass(slots=True)
class _Count:
    """Called with the samples ``done`` so far, which come on top of those ``before``."""

    progress: Progress | None
    before: int
    done: int = 0

    def __call__(self, samples: int) -> None:
        self.done = samples
        if self.progress is not None:
            self.progress(self.before + samples)


def _from_samples(job: Job, source: Fitted) -> Measured:
    return _from_passes(job, _passes(job, source), 0)


Pass = tuple[tuple[str, ...], Iterator[Batch]]
"""Tensors, and all batches."""


def _from_passes(job: Job, passes: Iterable[Pass], start: int) -> Measured:
    """Of the samples from ``start`` on."""
    statistics: dict[str, Statistics] = {}
    count = _Count(job.progress, start)
    for group, batches in passes:
        needs = {t: job.needs[t] for t in group}
        statistics |= collect(
            job.model, needs, batches, job.settings, count, None, start, job.sizing
        )
    return Measured(statistics, count.done)


def _passes(job: Job, source: Fitted, start: int = 0) -> Iterator[Pass]:
    """The passes over the samples from ``start`` on: tensors whose activations of the first batch
    fit the limit together, and the batches.  None if there are no samples left."""
    left, passes = tuple(job.needs), 0
    while True:
        batches = source.batches(size_batches(job), start=start)
        first = next(batches, None)
        if first is None and start:
            return
        group = left if first is None else _group(job, source, left, first)
        size_batches(job).passes = passes = 1 if len(group) == len(job.needs) else passes + 1
        yield group, batches if first is None else chain([first], batches)
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
