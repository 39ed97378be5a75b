"""(model, tensors, samples) -> Statistics per tensor.

Batches are distributed over the cores, one single-threaded run each.  Since statistics merge
exactly (:mod:`oq.numerics.statistics`), the result does not depend on which core sees which batch.
Small operators lose no time to synchronization, and statistics are updated in parallel with
inference.  At most one batch per core is in memory.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import onnx

from oq.calibration.on_device import DeviceRunner, Tell
from oq.data.dealing import Numbered, number
from oq.data.sizing import Sizing
from oq.errors import DataError
from oq.model.session import Session, Settings, expose
from oq.numerics.statistics import EMPTY, Accumulator, Need, Statistics, merge
from oq.numerics.values import Array, Batch
from oq.parallel import cores

Progress = Callable[[int], None]
"""Called with the number of samples done so far."""

Needs = Mapping[str, frozenset[Need]]
"""Tensor -> the statistics to collect beyond counts and extremes."""

Save = Callable[[int, Mapping[str, Statistics]], None]
"""Called with the number of samples done and their statistics."""

SAVE_SECONDS = 10.0


def collect(
    model: onnx.ModelProto,
    tensors: Sequence[str] | Needs,
    batches: Iterable[Batch],
    settings: Settings | None = None,
    progress: Progress | None = None,
    save: Save | None = None,
    first: int = 0,
    sizing: Sizing | None = None,
) -> dict[str, Statistics]:
    """Add every batch to the statistics of ``tensors``.

    ``save``, if given, is called with the statistics of all samples so far every
    :data:`SAVE_SECONDS`. ``first`` is the index of the first sample, if earlier ones were processed
    before.  With ``sizing`` batches run side by side only as far as its limit allows.

    Raises:
        DataError: there are no samples, or the model fails on one.
    """
    needs = tensors if isinstance(tensors, Mapping) else dict.fromkeys(tensors, frozenset())
    settings = Settings() if settings is None else settings
    count = Count(progress)
    merged = collect_numbered(model, needs, number(batches, first), settings, count, save, sizing)
    if count.done == 0:
        raise DataError("the calibration data holds no samples")
    return merged


@dataclass(slots=True)
class Count:
    """Called with the samples ``done`` so far, which come on top of those ``before``."""

    progress: Progress | None = None
    before: int = 0
    done: int = 0

    def __call__(self, samples: int) -> None:
        self.done = samples
        if self.progress is not None:
            self.progress(self.before + samples)


def collect_numbered(
    model: onnx.ModelProto,
    needs: Needs,
    batches: Iterator[Numbered],
    settings: Settings,
    progress: Progress | None = None,
    save: Save | None = None,
    sizing: Sizing | None = None,
    tell: Tell | None = None,
) -> dict[str, Statistics]:
    """:func:`collect` of any batches of some data, each with the number of its first sample in all
    of it; of none, the statistics of no values.  ``tell`` is called with remarks for the report."""
    feed = _Feed(batches, progress, sizing)
    workers, runner = _load(model, needs, settings, tell)
    merged = dict.fromkeys(needs, EMPTY)
    while not feed.exhausted:
        feed.run_for(SAVE_SECONDS if save is not None else float("inf"))
        for part in _spread(workers, lambda: _work(runner, needs, feed), feed):
            merged = {t: merge(merged[t], part[t].statistics()) for t in needs}
        if save is not None and feed.done and not feed.exhausted:
            save(feed.done, merged)
    return merged


def _load(
    model: onnx.ModelProto, needs: Needs, settings: Settings, tell: Tell | None
) -> "tuple[int, _Runner | DeviceRunner]":
    """How many batches run side by side, and what runs one: a device has one at a time."""
    if settings.provider != "cpu":
        return 1, DeviceRunner(model, needs, settings, tell or (lambda _: None))
    workers = settings.threads or cores()
    one = replace(settings, threads=1) if workers > 1 else settings
    return workers, _Runner(model, tuple(needs), one)


def _spread(
    workers: int, work: Callable[[], dict[str, Accumulator]], feed: "_Feed"
) -> list[dict[str, Accumulator]]:
    if workers == 1:
        return [work()]
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(work) for _ in range(workers)]
        try:
            return [f.result() for f in futures]
        except BaseException:
            feed.stop()  # Ctrl-C reaches only this thread
            raise


def _work(runner: "_Runner | DeviceRunner", needs: Needs, feed: "_Feed") -> dict[str, Accumulator]:
    """One worker: takes batches until there are no more."""
    found = {tensor: Accumulator(need) for tensor, need in needs.items()}
    try:
        for first, batch in feed.take():
            runner.fold(found, first, batch)
            feed.finish(batch)
    except BaseException:
        feed.stop()
        raise
    return found


@dataclass(frozen=True, slots=True)
class _Runner:
    """The model with ``tensors`` exposed."""

    model: onnx.ModelProto
    tensors: tuple[str, ...]
    settings: Settings
    computed: tuple[str, ...] = field(init=False)
    session: Session | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        fed = {i.name for i in self.model.graph.input}
        object.__setattr__(self, "computed", tuple(t for t in self.tensors if t not in fed))
        if self.computed:
            session = Session(expose(self.model, self.computed), self.settings)
            object.__setattr__(self, "session", session)

    def fold(self, found: Mapping[str, Accumulator], first: int, batch: Batch) -> None:
        """Add the values of ``batch``, which starts at sample ``first``, to those ``found``."""
        for tensor, values in self._run(batch):
            found[tensor].add(values, first)

    def _run(self, batch: Batch) -> Iterator[tuple[str, Array]]:
        """Every tensor with its values for ``batch``."""
        yield from ((t, batch.feeds[t]) for t in self.tensors if t in batch.feeds)
        if self.session is not None:
            yield from zip(self.computed, self.session.run(batch.feeds, self.computed), strict=True)


class _Feed:
    """Batches handed to several workers, with the number of each one's first sample."""

    def __init__(
        self,
        batches: Iterator[Numbered],
        progress: Progress | None,
        sizing: Sizing | None,
    ) -> None:
        self._batches = batches
        self._progress = progress
        self._lock = threading.Condition()
        self._sizing = sizing
        self._busy: dict[int, int] = {}
        self._stopped = False
        self._deadline = float("inf")
        self.exhausted = False
        self.done = 0

    def run_for(self, seconds: float) -> None:
        """Give out batches for ``seconds``, then pause."""
        self._deadline = time.monotonic() + seconds

    def take(self) -> Iterator[Numbered]:
        """Batches until there are no more, or some worker failed."""
        while True:
            with self._lock:
                if self._stopped or self.exhausted or time.monotonic() > self._deadline:
                    return
                found = next(self._batches, None)
                if found is None:
                    self.exhausted = True
                    return
                self._wait_for_room(found[1])
            yield found

    def _wait_for_room(self, batch: Batch) -> None:
        """Until ``batch`` fits the limit beside those that run, or none does."""
        if self._sizing is None:
            return
        cost, limit = self._sizing.cost(batch), self._sizing.limit
        self._lock.wait_for(
            lambda: self._stopped or not self._busy or sum(self._busy.values()) + cost <= limit
        )
        self._busy[id(batch)] = cost

    def finish(self, batch: Batch) -> None:
        """Count the samples of ``batch`` as done."""
        with self._lock:
            self._busy.pop(id(batch), None)
            self._lock.notify_all()
            self.done += batch.samples
            if self._progress is not None:
                self._progress(self.done)

    def stop(self) -> None:
        """Hand out no further batch."""
        with self._lock:
            self._stopped = True
            self._lock.notify_all()
