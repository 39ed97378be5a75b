"""The stages of ``oq quantize``, each a function of what the stages before it made."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx

import oq
from oq.calibration.apart import concats_apart
from oq.calibration.data_checks import data_warnings
from oq.calibration.job import Job, Measured, size_batches
from oq.calibration.measure import Shared, measure_missing, missing
from oq.calibration.ranges import known_ranges
from oq.comparison.compare import Verification, compare
from oq.comparison.judged_as import as_target
from oq.comparison.layers import Remembered, compare_layers
from oq.comparison.prove import APPROXIMATE, prove_prepared, prove_written
from oq.comparison.reference import reference_of
from oq.data.samples import BATCH, divide, feed_defaults, in_float32, open_samples
from oq.data.sizing import SESSIONS, Sizing, sizing_notes
from oq.data.source import Fitted
from oq.deployment.qoperator.form import check_form, in_form
from oq.distributed.cluster import opened
from oq.emission.write import Written, write_graph
from oq.errors import OqError
from oq.exporting.load import Model, load
from oq.model.files import model_bytes
from oq.model.free_outputs import free_outputs
from oq.model.noise import random_nodes
from oq.model.proto_fields import gives_numbers, inputs_of, restore_defaults
from oq.model.session import Settings, check_provider
from oq.numerics.calibrator import Methods
from oq.numerics.values import Array
from oq.options.config import plain_options
from oq.options.keywords import QuantizeOptions
from oq.page.evidence import Run, with_page_needs
from oq.planning.overrides import Overrides, make_overrides
from oq.planning.setup import (
    Planned,
    choose_target,
    make_methods,
    needs_of,
    replan,
)
from oq.planning.target import Target
from oq.progress import Clock, Counter
from oq.refine.defaults import AgainstDefaults, Defaults, compare_with_defaults
from oq.refine.order import NONE, choose_steps
from oq.refine.recalibrate import Calibration
from oq.refine.run import Refined, measure_ahead
from oq.reporting.notes import (
    default_notes,
    describe_data,
    engine_note,
    foreign_warning,
    lost_inputs,
    numberless_note,
    random_data_warning,
    remedy,
    run_warnings,
    source_note,
    speed_advice,
    unrefined_note,
)
from oq.reporting.random import random_note
from oq.reporting.report import Report


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the options mean for the target: its variant, what the user asks of single layers, the
    calibrators (the default one's name) with their ``settings``, the steps of refinement, and how
    weights get ranges."""

    target: Target
    overrides: Overrides
    methods: Methods
    calibrator: str
    steps: tuple[str, ...]
    weights: str
    settings: Mapping[str, Any]


def choose(target: str, asked: QuantizeOptions) -> Chosen:
    """Everything that is decided before the model is read.

    Raises:
        OptionError: a name or a setting that does not exist.
    """
    profile, rest = choose_target(target, asked["settings"] or {})
    check_form(asked["format"], profile)
    check_provider(asked["provider"])
    named = asked["calibrator"]
    overrides = make_overrides(
        asked["keep_float"], asked["calibrator_for"], asked["layers"], asked["mode"], named
    )
    calibrator = named or profile.calibrator
    return Chosen(
        profile,
        overrides,
        make_methods(calibrator, rest, overrides),
        calibrator,
        choose_steps(asked["refine"], profile.refine),
        asked["weights"] or profile.weight_range,
        rest,
    )


@dataclass(frozen=True, slots=True)
class Given:
    """The float model and its samples: all of them, those to calibrate on, those held back."""

    model: onnx.ModelProto
    source: Fitted | None
    used: Fitted | None
    held: Fitted | None
    whole: onnx.ModelProto | None = None
    """The model with the default values of inputs that the samples feed."""


def open_given(model: Model, data: object, asked: QuantizeOptions) -> Given:
    """Read the model, and open the data where there are any."""
    loaded = load(model, asked["example_inputs"], asked["shape"])
    if data is None:
        return Given(loaded, None, None, None)
    how = asked["preprocess"], asked["samples"], asked["seed"], asked["rename"]
    source = open_samples(loaded, data, *how)
    used, held = divide(source, asked["seed"], asked["verify"])
    exact = free_outputs(feed_defaults(loaded, source), _first(used))
    return Given(exact, source, used, held, loaded)


def for_planned(given: Given, planned: Planned) -> Given:
    """``given`` with the samples that calibration and refinement read in the types of the prepared
    model, which computes in float32; those to verify on keep the types of the user's."""
    wide = planned.own.inputs
    source, used = (None if s is None else in_float32(s, wide) for s in (given.source, given.used))
    return replace(given, source=source, used=used)


def set_up(
    planned: Planned, chosen: Chosen, given: Given, asked: QuantizeOptions, page: object
) -> Calibration:
    """The calibration of a run: what is measured of which tensor, and how ranges are chosen."""
    ranges = asked["ranges"]
    known = {} if ranges is None else known_ranges(planned, ranges)
    wished = needs_of(planned, chosen.methods, given.used is not None)
    needs = with_page_needs({t: n for t, n in wished.items() if t not in known}, page)
    count = None if given.used is None else given.used.count
    job = Job(
        *(planned.model, planned.view, needs, asked["batch_size"]),
        Settings(provider=asked["provider"]),
        drawn=f"{asked['samples']} {asked['seed']} {asked['verify']}",
        target=planned.target.name,
        max_memory=asked["max_memory"],
        progress=Counter("calibrate", count, asked["watch"]),
        workers=opened(asked["ray"]),
    )
    job = replace(job, sizing=size_batches(job))
    is_named = asked["calibrator"] is not None
    made = Calibration(planned, chosen.methods, job, known, chosen.weights, is_named)
    # a cache holds what the run's calibrator needs, whatever refinement does afterwards
    return made if asked["cache"] else measure_ahead(made, chosen.steps, given.used)


def keep_apart(
    first: Calibration,
    measured: Measured,
    chosen: Chosen,
    given: Given,
    asked: QuantizeOptions,
    page: object,
) -> tuple[Calibration, Measured]:
    """The calibration with Concats in float whose operands do not fit one grid, layers in bodies in
    float that no sample runs, and with what that leaves to measure.  A Concat whose result a layer
    reads in integers stays as it is: it gets one grid anyway."""
    known = measured.statistics
    first = first.of_seen(known)
    planned = first.planned
    wide = concats_apart(planned.view, planned.plan, known)
    if not wide or planned.overrides.mode == "naive":
        return first, measured
    read = {s.tensor for s in replan(planned, wide).plan.sites}
    apart = {n: why for n, why in wide.items() if planned.view.node(n).outputs[0] not in read}
    if not apart:
        return first, measured
    second = set_up(replan(planned, apart), chosen, given, asked, page)
    if missing(second.job.needs, known) and (given.used is None or given.used.count is None):
        return first, measured  # the data cannot be read once more
    # the batches of the run, which some calibrators see
    job = replace(second.job, sizing=size_batches(first.job))
    return second, replace(measured, statistics=measure_missing(job, given.used, known))


def find_cache(asked: QuantizeOptions) -> Path | Shared | None:
    cache: Any = asked["cache"]  # a search hands in statistics that all its candidates share
    return Path(cache) if isinstance(cache, str) else cache


def write_run(run: Run, given: Given, asked: QuantizeOptions) -> Written:
    """The graph with its Q/DQ, from what refinement has left, in the form that is asked for."""
    subject = run.refined.subject
    planned = run.refined.planned or run.recalibration.planned
    seen = run.measured.statistics
    inside = run.recalibration.solve_inside(seen)
    written = write_graph(planned, subject.constants, subject.solution, seen, inside)
    restore_defaults(written.model, given.whole)
    return in_form(written, asked["format"], given.used)


def prove_prepared_run(given: Given, planned: Planned, asked: QuantizeOptions) -> None:
    """The prepared model computes what the float one does, on the first sample if there is one; of
    the runs of a search, which prepare one model, the first shows it."""
    shared = find_cache(asked)
    if isinstance(shared, Shared) and shared.statistics:
        return
    feeds = _first(given.used)
    if feeds is not None and APPROXIMATE.isdisjoint(planned.target.passes):
        prove_prepared(given.model, planned.model, planned.view, feeds)


def prove_written_run(given: Given, written: Written) -> None:
    """onnxruntime loads and runs what oq wrote."""
    prove_written(given.model, written.model, _first(given.used))


def _first(source: Fitted | None) -> Mapping[str, Array] | None:
    """The first sample; None of an iterator or a loader, which may not be read once more."""
    if source is None or source.count is None:
        return None
    return next(iter(source.batches(1))).feeds


def size_verification(calibration: Calibration, asked: QuantizeOptions) -> Sizing:
    """The sizing of the batches on which both models are compared."""
    known = size_batches(calibration.job)
    return Sizing(known.footprint, known.limit, asked["batch_size"] or BATCH, models=SESSIONS)


def judge_run(
    given: Given, written: Written, sizing: Sizing, target: Target, asked: QuantizeOptions
) -> Verification | None:
    """The comparison on the samples that are held back, if there are any; what is not compared is
    loaded and run once."""
    if given.held is None or not gives_numbers(given.model):
        prove_written_run(given, written)
        return None
    try:
        return verify_run(given, written.model, sizing, target, asked)
    except OqError:
        prove_written_run(given, written)  # a fault of oq is not called the model's
        raise


def verify_run(
    given: Given, quantized: onnx.ModelProto, sizing: Sizing, target: Target, asked: QuantizeOptions
) -> Verification | None:
    """Both models compared as ``target`` runs them, on the samples that are held back, if any; by
    layer too for a page, or where the quantized one has collapsed."""
    held = given.held
    if held is None:
        return None
    counter = Counter("verify", held.count, asked["watch"])
    seen = Remembered(held.batches(sizing))
    exact = reference_of(given.model)
    judged = as_target(target)
    found = compare(
        *(exact, quantized, seen),
        engine=judged.engine,
        latency=judged.mode == "deployed",
        progress=counter,
    )
    found = replace(found, mode=judged.mode, target=target.name, made_for=target.name)
    if not found.collapse and asked["report"] is None:
        return found
    return replace(
        found, layers=compare_layers(exact, quantized, lambda: seen.kept, limit=sizing.limit)
    )


def named_choices(chosen: Chosen, asked: QuantizeOptions) -> tuple[str, ...]:
    """What the user asks for in place of defaults that decide how near the outputs come, as
    flags."""
    profile, steps = chosen.target, default_steps(chosen.target)
    weights, ranges = asked["weights"], asked["ranges"]
    choices = asked["calibrator_for"], [w for w in asked["layers"] if w.calibrator]
    flags = {
        f"--refine {','.join(chosen.steps)}": chosen.steps and chosen.steps != steps,
        f"--calibrator {asked['calibrator']}": asked["calibrator"],
        **{f"--calibrator-for {glob}={name}": True for glob, name in choices[0]},
        **{f"--layer {w.glob}:calibrator={w.calibrator}": True for w in choices[1]},
        f"--weights {weights}": weights and weights != profile.weight_range,
        f"--ranges {ranges}": ranges,
        **{f"--set {key}={value}": True for key, value in chosen.settings.items()},
    }
    return tuple(flag for flag, given in flags.items() if given)


def default_steps(target: Target) -> tuple[str, ...]:
    """The steps of refinement that ``target`` has unless some are named."""
    return choose_steps(None, target.refine)


def against_defaults(
    recalibration: Calibration,
    refined: Refined,
    measured: Measured,
    chosen: Chosen,
    given: Given,
    asked: QuantizeOptions,
) -> AgainstDefaults | None:
    """What the user combines beside the defaults, on held-back samples; None where nothing is
    named, or nothing is to be verified, and in a search, which measures what its files lose.

    Without refinement, the defaults have none either.
    """
    source, used = given.source, given.used
    if source is None or used is None or used.count is None:
        return None
    shared = isinstance(find_cache(asked), Shared)
    if shared or not asked["verify"] or not named_choices(chosen, asked):
        return None
    profile = chosen.target
    plain = make_methods(profile.calibrator, {}, Overrides())
    steps = default_steps(profile) if chosen.steps else ()
    return compare_with_defaults(
        Defaults(plain, profile.weight_range, steps),
        *(recalibration, refined, measured, source, used, asked["seed"]),
    )


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a report is made of: what was asked for, and what came of it."""

    model: Model
    target: str
    data: object
    asked: QuantizeOptions
    chosen: Chosen
    given: Given
    run: Run
    written: Written
    found: Verification | None
    beside: AgainstDefaults | None
    sizings: tuple[Sizing, ...] = ()


def make_report(summary: RunSummary, clock: Clock) -> Report:
    """The report of a run."""
    asked, chosen, given, run = summary.asked, summary.chosen, summary.given, summary.run
    planned = run.refined.planned or run.recalibration.planned
    seen = run.measured.statistics
    unset = {*(chosen.target.options or ())} - {*(asked["settings"] or ())}
    odd = data_warnings(inputs_of(given.model), seen, run.measured.samples) if seen else ()
    notes = (
        *random_data_warning(given.source),
        *source_note(given.source),
        *engine_note(chosen.target),
        *speed_advice(summary.found, unset),
        *sizing_notes(*summary.sizings),
        *run.measured.notes,
        *random_note(random_nodes(given.model)),
        *lost_inputs(given.whole or given.model, summary.written.model),
        *(*odd, *run_warnings(planned.whole, summary.found, summary.written.inside)),
        *numberless_note(given.model),
        *default_notes(named_choices(chosen, asked), summary.beside, chosen.target.name),
        *unrefined_note(chosen.steps, default_steps(chosen.target)),
        *foreign_warning(planned.view, planned.target),
        *(*run.refined.subject.solution.notes, *summary.written.notes),
    )
    model, named = summary.model, {"target": summary.target, "data": summary.data}
    settled = {"weights": chosen.weights, "refine": chosen.steps or NONE}
    return Report(
        version=oq.__version__,
        model=str(model) if isinstance(model, str | Path) else given.model.graph.name,
        output=None,
        target=summary.target,
        summary=chosen.target.summary,
        calibrator=chosen.calibrator,
        data=describe_data(given.source, asked["cache"], asked["ranges"]),
        samples=run.measured.samples,
        bytes_before=model_bytes(given.model),
        bytes_after=model_bytes(summary.written.model),
        plan=planned.whole,
        notes=notes,
        refinement=run.refined.outcomes,
        findings=summary.written.findings,
        verification=summary.found,
        seconds=clock.seconds,
        remedy=remedy(model, summary.target, summary.data, asked["preprocess"], asked["rename"]),
        options=plain_options({**asked, **named, **settled}),
    )
