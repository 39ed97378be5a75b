"""Tries the steps one after the other; keeps those that raise the output SQNR.

A step is fitted on calibration samples and judged on held-out samples, so that overfitting does not
pass (:mod:`oq.refine.judge`).

An early step changes the float model.  Its ranges are measured again, and the later steps that were
kept are repeated on it, so that two finished models are compared.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from oq.calibration.job import size_batches
from oq.data.samples import BATCH, divide
from oq.data.sizing import Sizing
from oq.data.source import Fitted, subset
from oq.emission.solve import Solution
from oq.engines.engine import find_engine
from oq.errors import DataError
from oq.model.stored import spilling
from oq.model.view import GraphView
from oq.numerics.statistics import Statistics
from oq.numerics.values import Batch
from oq.parallel import cores, one_blas_thread
from oq.planning import registry
from oq.planning.outputs import find_logits
from oq.planning.setup import Planned, needs_of
from oq.progress import LOG, Watch
from oq.refine.add_biases import add_zero_biases, drop_unused_biases
from oq.refine.channel_statistics import float_means
from oq.refine.judge import Judge, Verdict, is_better
from oq.refine.order import STEPS, calibrator_ahead
from oq.refine.outcome import Outcome
from oq.refine.recalibrate import Calibration
from oq.refine.step import Step
from oq.refine.subject import Feeds, Subject

SAMPLES_FROM, SAMPLES_TO = 16, 128
"""Samples to learn from: means and second moments need no more.  Fewer where those of the largest
tensor take more than a part of the limit of memory."""

MEMORY = 52 * 10**6
"""Maximum size in bytes of the largest tensor for these samples: the cost of a step grows with
it."""

SHARES = 4
"""Parts of the limit of memory: batches side by side, or tensors that a step keeps at a time."""

BLIND_DB = 10.0
"""SQNR below which the effect of an early step is hidden by other errors: on MobileNet for ``dpu``,
``rescale`` gains 5 dB once the mean errors are corrected, and anything from -0.02 to 1.4 before."""

SIMULATED = 32
"""Maximum number of held-back samples where the target's engine simulates a device, which takes
four times as long as onnxruntime."""

Recalibrate = Callable[[Subject, str | None], Subject]
"""(subject with a new float model, calibrator or None) -> the subject with grids."""


@dataclass(frozen=True, slots=True)
class Refined:
    """The subject with the steps that were kept, and the outcome of every step."""

    subject: Subject
    outcomes: tuple[Outcome, ...] = ()
    planned: Planned | None = None
    """Replaces the original plan when the model is written: its layers have biases."""


def improve(
    names: Sequence[str],
    recalibration: Calibration,
    solution: Solution,
    seen: Mapping[str, Statistics],
    source: Fitted | None,
    calibrated: Fitted | None,
    seed: int,
    most: int = SAMPLES_TO,
    watch: Watch | None = None,
) -> Refined:
    """Refine ``solution`` on ``most`` samples of ``source``, judged on the held-out samples.
    Ranges are measured again on the samples ``calibrated``; ``seen`` are the statistics of the run;
    ``watch`` is told of every step and layer.

    Layers without a bias have a zero bias while steps are tried (:mod:`oq.refine.add_biases`), and
    keep it only if a step that was kept changed it.
    """
    planned = recalibration.planned
    engine = planned.target.verified_in
    subject = Subject(planned.model, planned.view, planned.plan, solution, ())
    if not names:
        return Refined(subject)
    idle = _nothing_to_refine(planned, source is None or calibrated is None)
    if idle or source is None or calibrated is None:
        return Refined(subject, tuple(_undone(n, idle) for n in names))
    sizing = size_refinement(recalibration)
    try:
        used, held = split_samples(source, engine, seed)
        samples = feeds_to_learn(used, sizing, seed, most)
        unseen = feeds_to_judge(held, planned.view, sizing, seed)
    except DataError as error:  # a generator that calibration has used up, a stream of a few
        return Refined(subject, tuple(_undone(n, str(error)) for n in names))
    refused = ((name, _why_not(STEPS[name], recalibration, calibrated)) for name in names)
    denied = {name: why for name, why in refused if why is not None}

    planned, given = add_zero_biases(recalibration.planned)
    if given:
        recalibration = replace(recalibration, planned=planned)
        solution = recalibration.solve(seen)

    def recalibrate(changed: Subject, calibrator: str | None) -> Subject:
        return recalibration.recalibrate(changed, calibrated, calibrator)

    legalize = planned.target.legalize
    begun = Subject(
        *(planned.model, planned.view, planned.plan, solution, samples, calibrated),
        seen=seen,
        legalize=legalize,
        sizing=sizing,
        engine=engine,
        watch=watch,
    )
    allowed = [n for n in names if n not in denied]
    with one_blas_thread():
        refined = refine(allowed, begun, unseen, recalibrate)
    told = (*refined.outcomes, *(_undone(n, why) for n, why in denied.items()))
    kept = _settled(refined.subject, begun, subject, given)
    outcomes = tuple(sorted(told, key=lambda o: list(STEPS).index(o.step)))
    return Refined(kept, outcomes, planned if kept.plan is planned.plan else None)


def measure_ahead(
    recalibration: Calibration, names: Sequence[str], calibrated: Fitted | None
) -> Calibration:
    """``recalibration``, measuring in its one pass also what the first of the steps ``names`` with
    a calibrator of its own will ask for, if that is known before any step is tried."""
    if calibrated is None:
        return recalibration
    planned, job = recalibration.planned, recalibration.job
    steps = [n for n in names if _why_not(STEPS[n], recalibration, calibrated) is None]
    name = calibrator_ahead(steps, planned.view, planned.plan)
    if name is None:
        return recalibration
    methods = replace(recalibration.methods, default=registry.calibrator(name))
    more = {t: n for t, n in needs_of(planned, methods).items() if t in job.needs}
    needs = {t: n | more.get(t, frozenset()) for t, n in job.needs.items()}
    return replace(recalibration, job=replace(job, needs=needs))


def _nothing_to_refine(planned: Planned, unfed: bool) -> str:
    """Why no step is worth trying; empty if one may be."""
    if not planned.plan.sites:
        bodies = any(body.plan.sites for body in planned.inside)
        return "only layers in bodies of If, Loop or Scan are quantized" if bodies else NOTHING
    return "there are no samples" if unfed else ""


NOTHING = "nothing is quantized"


def _why_not(step: Step, recalibration: Calibration, calibrated: Fitted) -> str | None:
    """None, or why ``step`` is not for this run."""
    if step.early and recalibration.known:
        return "the ranges were given"
    if step.calibrator and recalibration.calibrated:
        return "a calibrator was given"
    count = calibrated.count
    if count is not None and count < step.fewest:
        return f"{count} samples are too few to estimate rare values; {step.fewest} are needed"
    return None


def _settled(found: Subject, begun: Subject, plain: Subject, given: frozenset[str]) -> Subject:
    """``found``, refined from ``begun``, without the ``given`` biases where none of them is used;
    ``plain``, which never had them, where nothing was kept at all."""
    if found is begun:
        return plain
    dropped = drop_unused_biases(plain, found, given) if given else None
    return replace(dropped or found, samples=(), source=None)


def refine(
    names: Sequence[str], subject: Subject, held: Sequence[Feeds], recalibrate: Recalibrate
) -> Refined:
    """``subject`` after the steps ``names``, each kept only if it is better on the ``held`` samples
    (:func:`~oq.refine.judge.is_better`).

    An early step that is dropped below :data:`BLIND_DB` is tried once more after the next late step
    that is kept.
    """
    most, sizing = cores(), subject.sizing
    at_once = sizing.beside(Batch(held[0]), most) if held and sizing is not None else None
    judge = Judge(subject.model, subject.view, tuple(held), subject.engine, at_once)
    if not judge.tensors:
        return Refined(subject, tuple(_undone(n, "the model has no float output") for n in names))
    before = _judged(judge, subject)
    outcomes: dict[str, Outcome] = {}
    late: list[str] = []
    calibrator: str | None = None
    waiting, hidden = deque(names), list[str]()
    while waiting:
        name = waiting.popleft()
        start, step = time.perf_counter(), STEPS[name]
        staged = replace(subject, stage=f"refine {name}")
        staged.tell()
        chosen = step.calibrator or calibrator
        tried, note = _try(step, staged, late, recalibrate, chosen)
        if tried is staged:
            outcomes[name] = _undone(name, note)
            LOG.debug("refine %s", outcomes[name])
            continue
        after = _judged(judge, tried)
        kept, second = is_better(after, before), name in outcomes
        spent = time.perf_counter() - start + (outcomes[name].seconds if second else 0)
        said = note if kept else _with_losses(note, after, before)
        found = (name, kept, before.db, after.db, spent)
        outcomes[name] = Outcome(*found, said, judge.measure)
        LOG.info("refine %s", outcomes[name])
        if not kept:
            hidden += [name] * (step.early and before.db < BLIND_DB and not second)
            continue
        subject, before, calibrator = tried, after, chosen
        if not step.early:
            late = [*(n for n in late if n not in step.instead), name]
            waiting.extendleft(reversed(hidden))
            hidden.clear()
    return Refined(subject, tuple(outcomes.values()))


def _judged(judge: Judge, subject: Subject) -> Verdict:
    """How near ``subject`` is, quantized; the files of its weights go again."""
    with spilling():
        return judge.compare(subject.quantized())


def _with_losses(note: str, after: Verdict, before: Verdict) -> str:
    """``note``, and the first of what the step would have destroyed, if that alone is why it is
    dropped."""
    lost = next(after.lost(before), None) if after.db > before.db else None
    return "; ".join(filter(None, (note, lost)))


def _try(
    step: Step,
    subject: Subject,
    late: Sequence[str],
    recalibrate: Recalibrate,
    calibrator: str | None,
) -> tuple[Subject, str]:
    """``subject`` with ``step`` (``subject`` itself if it has nothing to do), and its remark."""
    if not step.early:
        return _done(step, subject)
    plain = replace(subject, constants=subject.early)
    change = step.apply(plain)
    if not change.constants and step.calibrator is None:
        return subject, change.note
    tried = recalibrate(plain.remade(change), calibrator)
    for name in late:
        tried, _ = _done(STEPS[name], tried)
    return tried, change.note


def _done(step: Step, subject: Subject) -> tuple[Subject, str]:
    """``subject`` with what a late ``step`` makes of it, and its remark; itself where the step
    changes nothing, which need not be judged."""
    known = replace(subject, means=float_means(subject))
    change = step.apply(known)
    if not change.constants and not change.grids:
        return subject, change.note
    return known.put(change.constants, change.grids), change.note


def size_refinement(recalibration: Calibration) -> Sizing:
    """The sizing of batches that steps keep whole, and of those they are judged on."""
    known = size_batches(recalibration.job)
    every = frozenset(recalibration.planned.view.tensors)
    return Sizing(known.footprint, known.limit, BATCH, every, shares=SHARES)


def split_samples(source: Fitted, engine: str, seed: int) -> tuple[Fitted, Fitted]:
    """The samples to learn from, and those that are held back: some of them where ``engine`` is
    slow.

    Raises:
        DataError: the samples cannot be read once more.
    """
    used, held = divide(source, seed, True)
    unseen = used if held is None else held
    return used, subset(unseen, SIMULATED, seed) if find_engine(engine).rounds else unseen


def feeds_to_learn(used: Fitted, sizing: Sizing, seed: int, most: int) -> tuple[Feeds, ...]:
    """Batches for the steps: as many samples as :data:`MEMORY` allows for the largest tensor at its
    real shape, and ``most`` at most."""
    largest = max(max(_sizes(used, sizing).values(), default=0), 1)
    least = max(1, min(SAMPLES_FROM, sizing.limit // SHARES // largest))
    count = int(min(most, max(MEMORY // largest, least)))
    return _feeds(subset(used, count, seed), sizing)


def feeds_to_judge(held: Fitted, view: GraphView, sizing: Sizing, seed: int) -> tuple[Feeds, ...]:
    """Batches to judge steps on: as many samples as keep what is judged within a part of the
    limit."""
    sizes = _sizes(held, sizing)
    inputs = {i.name for i in view.inputs}
    judged = sum(sizes.get(t, 0) for t in {*find_logits(view), *inputs})
    count = max(1, sizing.limit // SHARES // (2 * max(judged, 1)))
    return _feeds(subset(held, count, seed), sizing)


def _sizes(source: Fitted, sizing: Sizing) -> dict[str, int]:
    """Tensor -> its bytes for one sample like the first of ``source``."""
    first = next(source.batches(1))
    return {t: n // max(first.samples, 1) for t, n in sizing.footprint.of(first).items()}


def _feeds(source: Fitted, sizing: Sizing) -> tuple[Feeds, ...]:
    """The batches of ``source``, without labels."""
    return tuple(b.feeds for b in source.batches(sizing))


def _undone(name: str, why: str) -> Outcome:
    return Outcome(name, False, float("nan"), float("nan"), 0.0, why)
