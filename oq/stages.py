"""The stages of ``oq quantize``, each a function of what the stages before it made."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx

import oq
from oq.calibration.apart import concats_apart
from oq.calibration.data_checks import data_warnings
from oq.calibration.measure import Job, Measured, Shared, fitting_batch, measure_missing, missing
from oq.calibration.ranges import known_ranges
from oq.comparison.compare import Verification, compare
from oq.comparison.layers import Remembered, compare_layers
from oq.comparison.prove import APPROXIMATE, prove_prepared, prove_written
from oq.data.samples import BATCH, divide, open_samples
from oq.data.source import Fitted
from oq.emission.write import Written, write_graph
from oq.exporting.load import Model, load
from oq.model.files import model_bytes
from oq.model.proto_fields import inputs_of
from oq.model.session import Settings
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
    plan_graph,
)
from oq.planning.target import Target
from oq.progress import Clock, Counter
from oq.refine.order import NONE, choose_steps
from oq.refine.recalibrate import Calibration
from oq.reporting.notes import describe_data, random_data_warning, remedy, run_warnings
from oq.reporting.report import Report


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the options mean for the target: its variant, what the user asks of single layers, the
    calibrators (the default one's name), the steps of refinement, and how weights get ranges."""

    target: Target
    overrides: Overrides
    methods: Methods
    calibrator: str
    steps: tuple[str, ...]
    weights: str


def choose(target: str, asked: QuantizeOptions) -> Chosen:
    """Everything that is decided before the model is read.

    Raises:
        OptionError: a name or a setting that does not exist.
    """
    profile, rest = choose_target(target, asked["settings"] or {})
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
    )


@dataclass(frozen=True, slots=True)
class Given:
    """The float model and its samples: all of them, those to calibrate on, those held back."""

    model: onnx.ModelProto
    source: Fitted | None
    used: Fitted | None
    held: Fitted | None


def open_given(model: Model, data: object, asked: QuantizeOptions) -> Given:
    """Read the model, and open the data where there are any."""
    loaded = load(model, asked["example_inputs"])
    if data is None:
        return Given(loaded, None, None, None)
    source = open_samples(loaded, data, asked["preprocess"], asked["samples"], asked["seed"])
    used, held = divide(source, asked["seed"], asked["verify"])
    return Given(loaded, source, used, held)


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
        max_memory=asked["max_memory"],
        progress=Counter("calibrate", count, asked["watch"]),
    )
    is_named = asked["calibrator"] is not None
    return Calibration(planned, chosen.methods, job, known, chosen.weights, is_named)


def keep_apart(
    first: Calibration,
    measured: Measured,
    chosen: Chosen,
    given: Given,
    asked: QuantizeOptions,
    page: object,
) -> tuple[Calibration, Measured]:
    """The calibration with Concats in float whose operands do not fit one grid, and with what that
    leaves to measure.  A Concat whose result a layer reads in integers stays as it is: it gets one
    grid anyway."""
    planned, known = first.planned, measured.statistics
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
    # the batch size of the run, which some calibrators see
    job = replace(second.job, batch_size=fitting_batch(first.job))
    return second, replace(measured, statistics=measure_missing(job, given.used, known))


def replan(planned: Planned, apart: Mapping[str, str]) -> Planned:
    """``planned`` with the nodes of ``apart`` in float."""
    overrides = replace(planned.overrides, apart=apart)
    return plan_graph(planned.graph, planned.target, overrides)


def find_cache(asked: QuantizeOptions) -> Path | Shared | None:
    cache: Any = asked["cache"]  # a search hands in statistics that all its candidates share
    return Path(cache) if isinstance(cache, str) else cache


def write_run(run: Run) -> Written:
    """The graph with its Q/DQ, from what refinement has left."""
    subject = run.refined.subject
    planned = run.refined.planned or run.recalibration.planned
    return write_graph(planned, subject.constants, subject.solution, run.measured.statistics)


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


def verify_run(
    given: Given, held: Fitted, quantized: onnx.ModelProto, engine: str, asked: QuantizeOptions
) -> Verification:
    """Both models compared in ``engine`` on the samples that are held back; by layer too for a
    page, or where the quantized one has collapsed."""
    counter = Counter("verify", held.count, asked["watch"])
    seen = Remembered(held.batches(asked["batch_size"] or BATCH))
    found = compare(given.model, quantized, seen, engine=engine, progress=counter)
    if not found.collapse and asked["report"] is None:
        return found
    return replace(found, layers=compare_layers(given.model, quantized, lambda: seen.kept))


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


def make_report(summary: RunSummary, clock: Clock) -> Report:
    """The report of a run."""
    asked, chosen, given, run = summary.asked, summary.chosen, summary.given, summary.run
    planned = run.refined.planned or run.recalibration.planned
    seen = run.measured.statistics
    odd = data_warnings(inputs_of(given.model), seen, run.measured.samples) if seen else ()
    notes = (
        *random_data_warning(given.source),
        *(*odd, *run_warnings(planned.plan, summary.found, summary.written.inside)),
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
        plan=planned.plan,
        notes=notes,
        refinement=run.refined.outcomes,
        findings=summary.written.findings,
        verification=summary.found,
        seconds=clock.seconds,
        remedy=remedy(model, summary.target, summary.data, asked["preprocess"]),
        options=plain_options({**asked, **named, **settled}),
    )
