"""Ranks layers by sensitivity: each quantized alone, and all but each, from a single calibration.

A **layer** is a kernel of the plan: a weighted op with the ops fused into it, an Add, a pooling.
Its sites are its constants (the weight side) and its quantized inputs (the activation side); a site
that no kernel reads belongs to the kernel that computes it.  The error of a part of the plan is
defined in :mod:`oq.ranking.variants`.  *All but one layer* is the file of ``--keep-float`` for that
layer.

The list of layers to keep in float grows greedily from the top of the ranking until it removes
:data:`ENOUGH` of the whole model's error; every step is measured, since errors do not simply add
up.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import onnx

from oq.calibration.job import Job, size_batches
from oq.data.samples import BATCH, feed_defaults, in_float32, open_samples
from oq.data.sizing import Sizing
from oq.data.source import Data, Fitted
from oq.distributed.cluster import open_workers
from oq.errors import ModelError
from oq.exporting.load import Model, load
from oq.model.input_shapes import Shapes
from oq.model.session import Settings
from oq.parallel import Workers, cores
from oq.planning.overrides import Choice, Layer, Mode, make_overrides
from oq.planning.setup import (
    Planned,
    choose_target,
    make_methods,
    needs_of,
    plan_model,
)
from oq.planning.spec import Group
from oq.progress import Clock, Counter, Watch
from oq.ranking.candidates import Candidate, find_candidates, parts_without, solve_all
from oq.ranking.variants import (
    TASK_VARIANTS,
    Bench,
    Effect,
    Variant,
)
from oq.refine.recalibrate import Calibration
from oq.wording import Told, counted

SAMPLES = 64

UNSEEN = "all layers that target {target} quantizes in this model are in bodies that no sample runs"

ENOUGH = 0.5
"""Fraction of the output error (power) that the layers to keep in float must remove: 3 dB."""

WINDOW = 4
"""Number of layers of the ranking that are tried at a time."""


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """One layer.  All in decibels (inf: no error, None: it has no such sites) except ``share``.

    ``sqnr_db``: of the outputs with only this layer quantized; ``weights_db``, ``activations_db``:
    with only its constants, only its inputs quantized.  ``local_db``: of the layer's own output
    then. ``without_db``: of the outputs with all layers but this one quantized.  ``share``: its
    error in percent of the sum over layers.  ``agreement``: percentage of samples with the float
    model's top-1 when only this layer is quantized.
    """

    rank: int
    node: str
    ops: tuple[str, ...]
    share: float
    sqnr_db: float
    weights_db: float | None
    activations_db: float | None
    local_db: float
    without_db: float
    agreement: float | None


@dataclass(frozen=True, slots=True)
class Kept:
    """The outputs when ``node`` and all before it in the list stay in float."""

    node: str
    sqnr_db: float
    agreement: float | None


@dataclass(frozen=True, slots=True, repr=False)
class Ranking(Told):
    """All layers, worst first, and those worth keeping in float (``keep``: the nodes of
    :attr:`kept`, for ``--keep-float``).  ``inside``: layers in bodies of If, Loop and Scan that are
    quantized without a plan (weights in blocks, ranges at run time) and not ranked; in all figures
    they are in float."""

    WORDS: ClassVar[str] = "oq.ranking.table:ranking_lines"

    model: str
    target: str
    data: str
    samples: int
    sqnr_db: float
    agreement: float | None
    layers: tuple[Sensitivity, ...]
    kept: tuple[Kept, ...]
    inside: tuple[str, ...] = ()

    def short(self) -> str:
        """Layers, and the worst of them."""
        worst = f", worst {self.layers[0].node!r}" if self.layers else ""
        return f"{self.target}: {counted(len(self.layers), 'layer')}{worst}"

    @property
    def keep(self) -> tuple[str, ...]:
        """Node names to keep in float."""
        return tuple(k.node for k in self.kept)


def sensitivity(
    model: Model,
    target: str,
    data: Data,
    *,
    calibrator: str | None = None,
    settings: Mapping[str, Any] | None = None,
    calibrator_for: Sequence[Choice] = (),
    weights: str | None = None,
    samples: int | None = SAMPLES,
    batch_size: int = BATCH,
    preprocess: str | Path | None = None,
    rename: Mapping[str, str] | None = None,
    shape: Shapes | None = None,
    keep_float: Sequence[str] = (),
    layers: Sequence[Layer] = (),
    mode: Mode = "hybrid",
    jobs: int = 1,
    ray: str | Workers | None = None,
    seed: int = 0,
    watch: Watch | None = None,
) -> Ranking:
    """Rank the layers of ``model`` by the error that quantizing each for ``target`` causes.

    Options as for :func:`oq.quantize`; the same ``samples`` are used for calibration and
    comparison. ``jobs`` is the number of processes (0: one per core), which does not change the
    result; with more than one, a script needs ``if __name__ == "__main__":``, since they are
    spawned.  ``ray``: the CPUs of a Ray cluster take their place.

    Raises:
        OqError: the model, the data or an option cannot be used.
        ModelError: the target quantizes nothing in the model.
    """
    profile, rest = choose_target(target, settings if settings is not None else {})
    overrides = make_overrides(keep_float, calibrator_for, layers, mode, calibrator)
    methods = make_methods(calibrator or profile.calibrator, rest, overrides)
    loaded = load(model, shapes=shape)
    source = _open(loaded, data, preprocess, samples, seed, rename)
    planned = plan_model(feed_defaults(loaded, source), profile, overrides)
    source = in_float32(source, planned.own.inputs)
    inside = layers_unranked(planned)
    _check_candidates(find_candidates(planned), target, inside)
    with open_workers(ray) as workers:
        clock = Clock(watch)
        job = Job(planned.model, planned.view, needs_of(planned, methods), None, Settings())
        counter, how = Counter("calibrate", source.count, watch), weights or profile.weight_range
        job = replace(job, progress=counter, workers=workers)
        recalibration = Calibration(planned, methods, job, {}, how, calibrator is not None)
        with clock.stage("calibrate"):
            measured = recalibration.measure(source, None)
        solved = solve_all(recalibration, measured.statistics)
        if not (kernels := find_candidates(solved.planned)):
            raise ModelError(UNSEEN.format(target=target))
        sizing = Sizing(size_batches(job).footprint, wanted=batch_size, models=TASK_VARIANTS)
        batches = source.batches(sizing)
        with clock.stage("layers"), solved.open_bench(batches, jobs or cores(), workers) as bench:
            whole, rows, kept = rank(bench, solved.planned, kernels, watch)
    name = str(model) if isinstance(model, str | Path) else loaded.graph.name
    figures = decibels(whole.error), whole.agreement
    return Ranking(name, target, source.name, measured.samples, *figures, rows, kept, inside)


def layers_unranked(planned: Planned) -> tuple[str, ...]:
    """The layers that are quantized in bodies without a plan, which no variant leaves out."""
    return tuple(name for left in planned.left if isinstance(left, Group) for name in left.nodes)


def _check_candidates(kernels: Sequence[Candidate], target: str, inside: Sequence[str]) -> None:
    """Check that there are ``kernels`` to rank.

    Raises:
        ModelError: there are none; the message says why.
    """
    if kernels:
        return
    if not inside:
        raise ModelError(f"target {target} quantizes no layer of this model: oq plan says why")
    body = inside[0].rpartition("/")[0]
    raise ModelError(
        f"all layers that target {target} quantizes in this model ({len(inside)}) are in bodies of "
        f"If, Loop and Scan, which are not ranked: see what they cost with --keep-float '{body}/*'"
    )


def _open(
    model: onnx.ModelProto,
    data: object,
    preprocess: str | Path | None,
    samples: int | None,
    seed: int,
    rename: Mapping[str, str] | None,
) -> Fitted:
    """All of the data, or ``samples`` of it where there are more."""
    source = open_samples(model, data, preprocess, None, seed, rename)
    if samples is None or (source.count is not None and source.count <= samples):
        return source
    return open_samples(model, data, preprocess, samples, seed, rename)


def rank(
    bench: Bench, planned: Planned, layers: Sequence[Candidate], watch: Watch | None = None
) -> tuple[Effect, tuple[Sensitivity, ...], tuple[Kept, ...]]:
    """(the effect of the complete plan, the layers worst first, those to keep in float)."""
    variants = [Variant(parts_without(planned, ()))]
    slots = []
    for layer in layers:
        alone = Variant((*layer.parameters, *layer.activations), layer.output)
        rest = Variant(parts_without(planned, [layer]))
        sides = [Variant(p) for p in (layer.parameters, layer.activations) if p]
        both = sides if len(sides) == 2 else []
        slots.append(len(variants))
        variants += [alone, rest, *both]
    effects = bench.run(variants, Counter("layers", len(variants), watch))
    everything = sum(effects[i].error for i in slots)
    order = sorted(range(len(layers)), key=lambda i: -effects[slots[i]].error)
    rows = [
        _row(place + 1, layers[i], effects[slots[i] : slots[i] + 4], everything)
        for place, i in enumerate(order)
    ]
    kept = _choose(bench, planned, [layers[i] for i in order], effects[0], watch)
    return effects[0], tuple(rows), kept


def _row(place: int, layer: Candidate, effects: Sequence[Effect], everything: float) -> Sensitivity:
    alone, rest = effects[:2]
    weights = activations = None
    if layer.parameters and layer.activations:
        weights, activations = (decibels(e.error) for e in effects[2:4])
    elif layer.parameters:
        weights = decibels(alone.error)
    else:
        activations = decibels(alone.error)
    ratio = alone.error / everything if everything > 0 else 0.0
    return Sensitivity(
        place,
        layer.node,
        layer.ops,
        100.0 * (1.0 if math.isnan(ratio) else ratio),
        decibels(alone.error),
        weights,
        activations,
        decibels(alone.local if alone.local is not None else 0.0),
        decibels(rest.error),
        alone.agreement,
    )


def _choose(
    bench: Bench,
    planned: Planned,
    ranked: Sequence[Candidate],
    whole: Effect,
    watch: Watch | None = None,
) -> tuple[Kept, ...]:
    """Greedily, from the worst on: of the next :data:`WINDOW` layers the one that helps most, until
    :data:`ENOUGH` of the error is gone.  Layers that do not help beside those chosen, because their
    errors cancel others, are passed over."""
    chosen: list[Candidate] = []
    kept: list[Kept] = []
    waiting, error = list(ranked), whole.error
    while waiting and error > (1 - ENOUGH) * whole.error:
        window = waiting[:WINDOW]
        tried = bench.run([Variant(parts_without(planned, [*chosen, one])) for one in window])
        best = min(range(len(window)), key=lambda i: tried[i].error)
        if tried[best].error < error:
            error = tried[best].error
            chosen.append(window[best])
            waiting.remove(window[best])
            kept.append(Kept(window[best].node, decibels(error), tried[best].agreement))
        else:
            waiting = waiting[WINDOW:]
        if watch is not None:
            watch("keep", len(ranked) - len(waiting), len(ranked))
    return tuple(kept)


def decibels(error: float) -> float:
    """``-10 log10(error)``: the SQNR of an error power relative to the signal's; inf for none."""
    return math.inf if error == 0 else -10 * math.log10(error)
