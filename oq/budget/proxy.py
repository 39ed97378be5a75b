"""Fast scores: the output error with only one layer quantized.

The ranking of ``oq sensitivity`` with the scales of the run, without refinement, on held-out
calibration samples.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx

from oq.budget.strategy import Ranked
from oq.calibration.job import Job
from oq.calibration.measure import Shared
from oq.calibration.ranges import known_ranges
from oq.data.samples import BATCH, divide, feed_defaults, in_float32, open_samples
from oq.data.sizing import Sizing
from oq.data.source import Fitted
from oq.model.footprint import Footprint
from oq.model.session import Settings
from oq.parallel import Workers
from oq.planning.overrides import Overrides
from oq.planning.setup import choose_target, make_methods, needs_of, plan_model
from oq.ranking.candidates import Solved, find_candidates, solve_all
from oq.ranking.variants import TASK_VARIANTS, Variant
from oq.refine.recalibrate import Calibration


@dataclass(frozen=True, slots=True)
class Ranker:
    """The plan with everything in int8, its grids, and the samples to compare on."""

    solved: Solved
    held: Fitted
    workers: Workers | None = None

    def rank(self, known: Mapping[str, Ranked]) -> Iterator[Ranked]:
        """Score every layer that is not ``known``, :data:`TASK_VARIANTS` at a time per worker."""
        planned = self.solved.planned
        new = [layer for layer in find_candidates(planned) if layer.node not in known]
        if not new:
            return
        footprint = Footprint(planned.model, planned.view.tensors)
        batches = self.held.batches(Sizing(footprint, wanted=BATCH, models=TASK_VARIANTS))
        workers = self.workers
        many = TASK_VARIANTS * (1 if workers is None else workers.slots)
        with self.solved.open_bench(batches, workers=workers) as bench:
            for i in range(0, len(new), many):
                some = new[i : i + many]
                alone = [Variant((*layer.parameters, *layer.activations)) for layer in some]
                for layer, effect in zip(some, bench.run(alone), strict=True):
                    error = math.inf if math.isnan(effect.error) else effect.error
                    yield Ranked(layer.node, error, layer.macs)

    def in_graph_order(self, known: Mapping[str, Ranked]) -> tuple[Ranked, ...]:
        """The ``known`` layers of the plan; if no shape determines the MACs, each counts 1."""
        layers = find_candidates(self.solved.planned)
        found = tuple(known[layer.node] for layer in layers)
        if any(one.macs for one in found):
            return found
        return tuple(replace(one, macs=1) for one in found)


def make_ranker(
    loaded: onnx.ModelProto,
    target: str,
    data: object,
    shared: Shared,
    *,
    calibrator: str | None = None,
    settings: Mapping[str, Any] | None = None,
    weights: str | None = None,
    samples: int | None = None,
    batch_size: int | None = None,
    preprocess: str | Path | None = None,
    rename: Mapping[str, str] | None = None,
    ranges: str | Path | None = None,
    max_memory: int | None = None,
    provider: str = "cpu",
    ray: Workers | None = None,
    seed: int = 0,
    overrides: Overrides,
) -> Ranker:
    """The ranker of a run; options as for :func:`oq.quantize`, statistics from ``shared``."""
    profile, rest = choose_target(target, settings if settings is not None else {})
    methods = make_methods(
        profile.calibrator if calibrator is None else calibrator, rest, overrides
    )
    source = open_samples(loaded, data, preprocess, samples, seed, rename)
    used, held = divide(source, seed, True)
    planned = plan_model(feed_defaults(loaded, source), profile, overrides)
    used = in_float32(used, planned.own.inputs)
    held = None if held is None else in_float32(held, planned.own.inputs)
    known = {} if ranges is None else known_ranges(planned, ranges)
    needs = {t: n for t, n in needs_of(planned, methods).items() if t not in known}
    job = Job(planned.model, planned.view, needs, batch_size, Settings(provider=provider))
    job = replace(job, max_memory=max_memory, workers=ray)
    how = profile.weight_range if weights is None else weights
    recalibration = Calibration(planned, methods, job, known, how, calibrator is not None)
    seen = recalibration.measure(used, shared).statistics
    return Ranker(solve_all(recalibration, seen), used if held is None else held, ray)
