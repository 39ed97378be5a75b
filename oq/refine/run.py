"""Try the steps one after the other; keep those that bring the outputs nearer to the float model.

A step learns from calibration samples and is judged on samples that were held back, so it cannot
make the model worse by fitting what it saw (:mod:`oq.refine.judge`).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from oq.data import Fitted, subset
from oq.errors import DataError
from oq.ready import Ready, divide
from oq.refine.judge import Judge
from oq.refine.order import STEPS
from oq.refine.outcome import Outcome
from oq.refine.subject import Feeds, Subject
from oq.solve import Solution
from oq.view import GraphView

SAMPLES = 64
"""Samples to learn from: means and second moments need no more."""

LEAST_SAMPLES = 8

MEMORY = 256 * 10**6
"""Bytes that one tensor of all samples may take."""

BATCH = 8


@dataclass(frozen=True, slots=True)
class Refined:
    """The subject with what was kept, and the story of every step."""

    subject: Subject
    outcomes: tuple[Outcome, ...] = ()


def improve(
    names: Sequence[str], ready: Ready, solution: Solution, source: Fitted | None, seed: int
) -> Refined:
    """The stage: ``solution`` of ``ready``, refined on samples of ``source`` and judged on those
    that verification holds back."""
    subject = Subject(ready.model, ready.view, ready.plan, solution, ())
    if not names:
        return Refined(subject)
    if source is None:
        return Refined(subject, tuple(_undone(n, "there are no samples") for n in names))
    try:
        used, held = divide(source, seed, True)
        samples, unseen = draw_samples(used, ready.view, seed), feeds_of(held or used)
    except DataError as error:  # a generator that calibration has used up, a stream of a few
        return Refined(subject, tuple(_undone(n, str(error)) for n in names))
    refined = refine(names, replace(subject, samples=samples), unseen)
    return replace(refined, subject=replace(refined.subject, samples=()))


def refine(names: Sequence[str], subject: Subject, held: Sequence[Feeds]) -> Refined:
    """``subject`` after the steps called ``names``, each kept only if ``held`` samples gain."""
    judge = Judge(subject.model, subject.view, tuple(held))
    if not judge.tensors:
        return Refined(subject, tuple(_undone(n, "the model has no float output") for n in names))
    before = judge.sqnr_db(subject.quantized())
    outcomes = []
    for name in names:
        start = time.perf_counter()
        change = STEPS[name].apply(subject)
        tried = subject.put(change.constants)
        after = judge.sqnr_db(tried.quantized())
        kept = after > before
        seconds = time.perf_counter() - start
        outcomes.append(Outcome(name, kept, before, after, seconds, change.note))
        if kept:
            subject, before = tried, after
    return Refined(subject, tuple(outcomes))


def draw_samples(source: Fitted, view: GraphView, seed: int) -> tuple[Feeds, ...]:
    """Batches of :data:`SAMPLES` samples, fewer where a tensor of them would be huge."""
    largest = max((_bytes(view, t) for t in view.tensors), default=0)
    fitting = MEMORY // max(largest, 1)
    count = int(min(SAMPLES, max(fitting, LEAST_SAMPLES)))
    return feeds_of(subset(source, count, seed))


def feeds_of(source: Fitted) -> tuple[Feeds, ...]:
    """The batches of ``source``, without labels."""
    return tuple(b.feeds for b in source.batches(BATCH))


def _bytes(view: GraphView, tensor: str) -> int:
    """Bytes of one sample of a float32 ``tensor``; dynamic axes count as 1."""
    info = view.tensors[tensor]
    if info.shape is None or view.is_constant(tensor):
        return 0
    return 4 * prod(s if isinstance(s, int) else 1 for s in info.shape[1:])


def _undone(name: str, why: str) -> Outcome:
    return Outcome(name, False, float("nan"), float("nan"), 0.0, why)
