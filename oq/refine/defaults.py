"""What the user asked for, compared with what the target's defaults give.

A calibrator, a method for the ranges of weights and steps of refinement, each fine by itself, can
lose much together; the held-back samples know.  The cost is bounded: the defaults are solved from
the same statistics (what they need beyond is measured in one more pass), and refined on
:data:`SAMPLES` samples, which is what a default run costs at most.
"""

from dataclasses import dataclass, replace

from oq.calibration.job import Measured, size_batches
from oq.calibration.measure import measure_missing
from oq.data.source import Fitted
from oq.errors import DataError
from oq.model.view import GraphView
from oq.numerics.calibrator import Methods
from oq.planning.outputs import never_clip_logits
from oq.planning.setup import needs_of
from oq.planning.spec import Own, Plan
from oq.refine.judge import Judge
from oq.refine.recalibrate import Calibration
from oq.refine.run import Refined, feeds_to_judge, improve, size_refinement, split_samples

SAMPLES = 32
"""Samples that the defaults are refined on: enough to tell a decibel from none."""

CLEARLY_DB = 1.0
"""Less differs from one choice of samples to the next."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the run would have used, had the user named no calibrator, no method for weights, no
    ranges and no steps."""

    methods: Methods
    weights: str
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AgainstDefaults:
    """The mean SQNR of the outputs on held-back samples in dB, in the target's own rounding:
    of what the user asked for, and of the defaults."""

    asked_db: float
    default_db: float

    @property
    def is_worse(self) -> bool:
        """Whether what the user asked for is clearly worse."""
        return self.default_db - self.asked_db >= CLEARLY_DB


def compare_with_defaults(
    defaults: Defaults,
    asked: Calibration,
    refined: Refined,
    measured: Measured,
    source: Fitted,
    calibrated: Fitted,
    seed: int,
) -> AgainstDefaults | None:
    """``refined``, which came of the calibration ``asked``, judged beside the ``defaults``; None if
    the samples cannot be read once more, or the model has no float output."""
    planned, engine = asked.planned, asked.planned.target.verified_in
    try:
        _, unseen = split_samples(source, engine, seed)
        held = feeds_to_judge(unseen, planned.view, size_refinement(asked), seed)
    except DataError:
        return None
    judge = Judge(planned.model, planned.view, held, engine)
    if not judge.tensors:
        return None
    plain = _without_choices(asked, defaults)
    seen = measure_missing(plain.job, calibrated, measured.statistics)
    found = improve(
        *(defaults.steps, plain, plain.solve(seen), seen),
        *(source, calibrated, seed, SAMPLES),
    )
    ours, theirs = (judge.compare(r.subject.quantized()).db for r in (refined, found))
    return AgainstDefaults(ours, theirs)


def _without_choices(asked: Calibration, defaults: Defaults) -> Calibration:
    """The calibration of the same layers, without what the user chose of calibrators."""
    plan = without_calibrators(asked.planned.plan, asked.planned.view)
    planned = replace(asked.planned, plan=plan)
    needs = needs_of(planned, defaults.methods)
    job = replace(asked.job, needs=needs, sizing=size_batches(asked.job))
    return Calibration(planned, defaults.methods, job, {}, defaults.weights, False)


def without_calibrators(plan: Plan, view: GraphView) -> Plan:
    """``plan`` with the same grids to find, none of them by a calibrator of its own."""
    sites = (
        replace(s, spec=replace(s.spec, calibrator=None)) if isinstance(s.spec, Own) else s
        for s in plan.sites
    )
    return never_clip_logits(replace(plan, sites=tuple(sites)), view)
