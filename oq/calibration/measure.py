"""Statistics for a plan: from the cache if it has them, else from the samples.

If the activations of one batch would exceed ``max_memory``, tensors are calibrated in groups, with
one pass over the data per group; without that limit there is a single pass.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from math import prod
from pathlib import Path

import onnx

from oq.calibration.cache import Cache, check_key, check_needs, load_cache, make_key, save_cache
from oq.calibration.collect import Needs, Progress, collect
from oq.data.source import Fitted, fingerprint
from oq.errors import DataError, OptionError
from oq.model.session import Settings
from oq.model.view import GraphView
from oq.numerics.statistics import Need, Statistics, holds, merge_all
from oq.parallel import cores

EVERYTHING = frozenset(Need) - {Need.READERS}
"""The statistics of ``oq calibrate``, which serve every calibrator."""

CACHE_BYTES = 12 * 10**6
"""Activations of a batch; measured best for the statistics of all activations: with less, calls
dominate, with more, they no longer fit in the processor's cache."""

BATCHES_FROM, BATCHES_TO = 2, 16


@dataclass(frozen=True, slots=True)
class Job:
    """A calibration: what is run and what is collected.  ``max_memory`` is in MB.

    ``batch_size`` None chooses one whose activations fit in the processor's cache.

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


@dataclass(frozen=True, slots=True)
class Measured:
    """Statistics per tensor, and the number of samples."""

    statistics: Mapping[str, Statistics]
    samples: int


@dataclass(slots=True)
class Shared:
    """Statistics shared in memory by several runs on the same samples of one model: each tensor is
    measured once.  ``path``: a cache on disk for the first run.

    All runs use the batch size of the first, since some calibrators depend on it.
    """

    path: Path | None = None
    statistics: dict[str, Statistics] = field(default_factory=dict)
    needs: dict[str, frozenset[Need]] = field(default_factory=dict)
    batch_size: int | None = None
    samples: int = 0

    def measure(self, job: Job, source: Fitted | None) -> Measured:
        """:func:`measure`, for the statistics that are missing."""
        first = self.batch_size is None
        if self.batch_size is None:
            self.batch_size = fitting_batch(job)
        known = self.needs
        lacking = {t: n for t, n in job.needs.items() if t not in known or not n <= known[t]}
        if lacking or first:
            some = replace(job, needs=lacking, batch_size=self.batch_size)
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
        OptionError: one tensor of a single batch passes ``max_memory``.
    """
    if isinstance(cache, Shared):
        return cache.measure(job, source)
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

    batches = source.batches(fitting_batch(job), start=begun.samples)
    first = next(batches, None)
    if first is None and begun.samples:  # stopped after the last batch, before the last save
        finished = keep(0, {}, True)
        return Measured(finished.statistics, finished.samples)
    if len(_groups(job, source)) > 1:
        rest = _from_samples(job, source, begun.samples)
        finished = keep(rest.samples, rest.statistics, True)
        return Measured(finished.statistics, finished.samples)
    if first is not None:
        batches = chain([first], batches)
    statistics = collect(
        job.model, job.needs, batches, job.settings, count, save, first=begun.samples
    )
    finished = keep(count.done, statistics, True)
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


def _from_samples(job: Job, source: Fitted, start: int = 0) -> Measured:
    """Of the samples from ``start`` on, a pass per group."""
    statistics: dict[str, Statistics] = {}
    count = _Count(job.progress, start)
    for group in _groups(job, source):
        needs = {t: job.needs[t] for t in group}
        batches = source.batches(fitting_batch(job), start=start)
        statistics |= collect(job.model, needs, batches, job.settings, count, first=start)
    return Measured(statistics, count.done)


def _groups(job: Job, source: Fitted) -> Sequence[tuple[str, ...]]:
    """The tensors in groups whose activations of one batch, on every core, fit ``max_memory``."""
    if job.max_memory is None:
        return (tuple(job.needs),)
    limit = job.max_memory * 10**6
    samples = next((b.samples for b in source.batches(fitting_batch(job), stop=1)), 1)
    samples = max(samples, fitting_batch(job)) if source.fixed is None else samples
    workers = job.settings.threads or cores()
    groups: list[list[str]] = [[]]
    room = limit
    for tensor in job.needs:
        size = tensor_bytes(job.view, tensor, samples) * workers
        if size > limit:
            raise OptionError(
                f"--max-memory: tensor {tensor!r} alone takes {size / 1e6:.0f} MB for a batch of "
                f"{samples} on {workers} cores; allow more, or lower --batch-size"
            )
        if size > room and groups[-1]:
            groups.append([])
            room = limit
        groups[-1].append(tensor)
        room -= size
    return [tuple(g) for g in groups]


def fitting_batch(job: Job) -> int:
    """The requested batch size, or the one that keeps a batch's activations near
    :data:`CACHE_BYTES` (2 to 16 samples)."""
    if job.batch_size is not None:
        return job.batch_size
    sample = sum(tensor_bytes(job.view, t, 1) for t in job.needs)
    fitting = min(max(CACHE_BYTES // max(sample, 1), BATCHES_FROM), BATCHES_TO)
    return 1 << (fitting.bit_length() - 1)  # a power of two: kernels are faster on those


def tensor_bytes(view: GraphView, tensor: str, samples: int) -> int:
    """Bytes of a float32 ``tensor`` for ``samples`` samples; dynamic axes after the first count as
    1, an unknown shape as 0."""
    shape = view.shape(tensor)
    if shape is None:
        return 0
    sizes = [s if isinstance(s, int) else 1 for s in shape]
    if shape and not isinstance(shape[0], int):
        sizes[0] = samples
    return 4 * prod(sizes)
