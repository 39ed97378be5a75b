"""The stages in order: load, prepare, plan, calibrate, solve, refine, emit, legal, verify, report.

These functions are the Python API and what the command line calls.  No decisions are made here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack, cast

import onnx

from oq.artifacts.artifact import Artifact, is_artifact, open_artifact
from oq.calibration.job import Measured, job_of_everything, size_batches
from oq.calibration.measure import measure
from oq.checks.inspection import check, explain, judge, made_for, make_plan
from oq.comparison.compare import Verification, compare
from oq.comparison.judged_as import judged_as
from oq.comparison.layers import LayerError, Remembered, compare_layers, remember
from oq.comparison.metrics import Figure, open_metrics
from oq.comparison.reference import reference_of
from oq.comparison.runs import Apart
from oq.data.dealing import Shard, share
from oq.data.samples import feed_defaults, in_float32, open_judged, open_samples
from oq.data.sizing import SESSIONS, Sizing
from oq.data.source import Data, Fitted
from oq.deployment.run import Deployment, deploy
from oq.distributed.cluster import check_ray, open_workers
from oq.emission.write import Written
from oq.errors import OptionError
from oq.exporting.load import Model, load
from oq.model.files import save_model
from oq.model.footprint import MAX_MEMORY, Footprint
from oq.model.input_shapes import common_inputs
from oq.model.proto_fields import same_interface, same_names
from oq.model.session import Settings
from oq.model.stored import Spill, spilling, whole
from oq.numerics.values import Range
from oq.options.keywords import (
    CalibrateOptions,
    DeployOptions,
    QuantizeOptions,
    VerifyOptions,
    complete,
    documented,
)
from oq.options.leave import leaving_config
from oq.page.evidence import Run, evidence_of_run
from oq.page.notebook import report_html
from oq.page.picture import plot
from oq.page.story import Compared, comparison_story
from oq.page.write import PageRequest, Pending, want_page
from oq.planning import registry
from oq.planning.overrides import make_overrides
from oq.planning.setup import own_target, plan_model
from oq.planning.target import Target
from oq.progress import Clock, Counter
from oq.refine.defaults import AgainstDefaults
from oq.refine.run import improve
from oq.reporting.notes import remedy
from oq.reporting.provenance import choices, provenance, stamp
from oq.reporting.report import Report
from oq.stages import (
    Chosen,
    Given,
    RunSummary,
    against_defaults,
    choose,
    find_cache,
    for_planned,
    judge_run,
    keep_apart,
    make_report,
    open_given,
    prove_prepared_run,
    set_up,
    size_verification,
    write_run,
)
from oq.wording import Told

if TYPE_CHECKING:
    from oq.page.picture import Picture


@dataclass(frozen=True, slots=True, repr=False)
class Result(Told):
    """A quantized model, its story, the ranges its activations got, and the page asked for.

    ``light`` is the model as oq holds it: large weights lie in the files of ``spill``.
    """

    light: onnx.ModelProto
    report: Report
    ranges: Mapping[str, Range] = field(default_factory=dict)
    page: Pending | None = None
    spill: Spill | None = None

    @property
    def model(self) -> onnx.ModelProto:
        """The quantized model, all weights in memory."""
        return whole(self.light)

    def short(self) -> str:
        """The report in one line."""
        return self.report.short()

    def __str__(self) -> str:
        return str(self.report)

    def _repr_html_(self) -> str:
        return report_html(self.report, None if self.page is None else self.page.evidence)

    def plot(self, name: str = "errors") -> "Picture":
        """A chart of the run as a matplotlib figure: :func:`oq.plot`.

        Those of tensors and weights need ``oq.quantize(..., report=FILE)``.
        """
        return plot(self, name)

    def deploy(self, to: str, output: str | Path, **options: Unpack[DeployOptions]) -> Deployment:
        """The model in the format ``to``, at ``output``: :func:`oq.deploy`."""
        return deploy(self.model, to, output, **options)

    def save(self, path: str | Path) -> None:
        """Write the model to ``path`` (beside it first, then renamed), and the page."""
        save_model(self.light, path)
        if self.page is not None:
            self.page.write(self.report)


@dataclass(frozen=True, slots=True)
class Started:
    """A run as far as its refinement: what was asked for, and what came of it so far; ``beside``:
    the defaults in comparison."""

    model: Model
    target: str
    data: object
    asked: QuantizeOptions
    wanted: PageRequest | None
    clock: Clock
    chosen: Chosen
    given: Given
    run: Run
    beside: AgainstDefaults | None


@documented(QuantizeOptions)
def quantize(
    model: Model, target: str, data: Data | None = None, **options: Unpack[QuantizeOptions]
) -> Result:
    """Quantize ``model`` for ``target``, calibrated on ``data`` (:mod:`oq.data.source`).

    A torch module is exported first (:mod:`oq.exporting.export`).  ``settings`` of a calibrator are
    called ``field``, or ``name.field`` where it is not the run's default one.  A finished ``cache``
    needs no ``data``.  With ``verify`` every eighth sample (64 at most) is held back from
    calibration and both models are compared on them; refinement learns from the others and is
    judged on those, verified or not.

    Raises:
        OqError: the model, the data or an option cannot be used; the message says why.
    """
    with spilling() as spill:
        started = start(model, target, data, complete(QuantizeOptions, options))
        return replace(conclude(started, write_started(started)), spill=spill)


def start(model: Model, target: str, data: object, asked: QuantizeOptions) -> Started:
    """The first half of :func:`quantize`: up to the refined constants and grids."""
    check_ray(asked["ray"], asked["provider"])
    with open_workers(asked["ray"]) as workers:
        return replace(_start(model, target, data, {**asked, "ray": workers}), asked=asked)


def _start(model: Model, target: str, data: object, asked: QuantizeOptions) -> Started:
    wanted = want_page(asked["report"], asked["ranking"])
    clock, chosen = Clock(asked["watch"]), choose(target, asked)
    with clock.stage("load"):
        given = open_given(model, data, asked)
    with clock.stage("prepare"):
        planned = plan_model(given.model, chosen.target, chosen.overrides)
        given = for_planned(given, planned)
        prove_prepared_run(given, planned, asked)
    with clock.stage("calibrate"):
        recalibration = set_up(planned, chosen, given, asked, wanted)
        measured = recalibration.measure(given.used, find_cache(asked))
        recalibration, measured = keep_apart(recalibration, measured, chosen, given, asked, wanted)
    with clock.stage("refine"):
        solved = recalibration.solve(measured.statistics)
        refined = improve(
            *(chosen.steps, recalibration, solved, measured.statistics),
            *(given.source, given.used, asked["seed"]),
            watch=asked["watch"],
        )
    run = Run(given.model, recalibration, refined, measured, given.used, chosen.calibrator)
    with clock.stage("defaults"):
        beside = against_defaults(recalibration, refined, measured, chosen, given, asked)
    return Started(model, target, data, asked, wanted, clock, chosen, given, run, beside)


def write_started(started: Started) -> Written:
    """The Q/DQ graph of a run; once, since its graph is edited in place."""
    with started.clock.stage("emit"):
        return write_run(started.run, started.given, started.asked)


def conclude(started: Started, written: Written) -> Result:
    """The second half of :func:`quantize`: what was ``written`` is verified and reported."""
    asked, clock, given, run = started.asked, started.clock, started.given, started.run
    recalibration, chosen = run.recalibration, started.chosen
    judged = size_verification(recalibration, asked)
    with clock.stage("verify"):
        found = judge_run(given, written, judged, chosen.target, asked)
    made = provenance(recalibration.planned, chosen.methods, run.measured, found)
    said = (asked["keep_float"], asked["mode"], asked["settings"] or {})
    stamp(written.model, made | choices(run.refined.outcomes, *said))
    sizings = (size_batches(recalibration.job), judged)
    report = make_report(
        RunSummary(
            *(started.model, started.target, started.data, asked, chosen, given, run, written),
            *(found, started.beside, sizings),
        ),
        clock,
    )
    page = None if started.wanted is None else Pending(started.wanted, evidence_of_run(run))
    ranges = {**run.refined.subject.solution.ranges, **written.ranges}
    return Result(written.model, report, ranges, page)


@documented(CalibrateOptions)
def calibrate(
    model: Model,
    target: str,
    data: Data,
    cache: str | Path,
    **options: Unpack[CalibrateOptions],
) -> Measured:
    """Statistics only, into ``cache``: all that any calibrator reads, in one pass.

    Goes on where an interrupted run stopped (with ``ray`` it begins again).  ``oq.quantize(...,
    cache=cache)`` without ``data`` then makes a file with any calibrator at once.  With ``ray``,
    and joined from shards (``oq calibrate --merge``), the cache is that of one run, byte for byte.

    Raises:
        OqError: as :func:`quantize`.
    """
    asked = complete(CalibrateOptions, options)
    part = None if asked["shard"] is None else Shard.parse(asked["shard"])
    if part is not None and asked["ray"] is not None:
        raise OptionError("--shard is one part by hand, and --ray deals out all: give one of them")
    check_ray(asked["ray"], asked["provider"])
    samples, seed = asked["samples"], asked["seed"]
    loaded = load(model, shapes=asked["shape"])
    source = open_samples(loaded, data, asked["preprocess"], samples, seed, asked["rename"])
    loaded = feed_defaults(loaded, source)
    profile = own_target(target, asked["settings"])
    planned = plan_model(loaded, profile, make_overrides(asked["keep_float"]))
    source = in_float32(source, planned.own.inputs)
    job = job_of_everything(
        *(planned, asked["batch_size"], Settings(provider=asked["provider"])),
        drawn=f"{samples} {seed} {False}",
        max_memory=asked["max_memory"],
        shard=part,
    )
    counter = Counter("calibrate", share(source.count, part), asked["watch"])
    with open_workers(asked["ray"]) as workers, Clock(asked["watch"]).stage("calibrate"):
        return measure(replace(job, progress=counter, workers=workers), source, Path(cache))


@documented(VerifyOptions)
def verify(
    float_model: Model, quantized: Model, data: Data, **options: Unpack[VerifyOptions]
) -> Verification:
    """Compare two models on ``data``: errors, accuracy, integer kernels, latency.

    The default ``engine`` is that of ``target``, by default the one that the file's metadata names,
    else onnxruntime (:mod:`oq.engines.engine`).  ``per_layer`` compares every tensor that both
    models share (:mod:`oq.comparison.layers`), in further passes over the data; a ``report``
    implies it, and after a collapse it is done on the first samples unasked.

    Raises:
        OqError: a model or the data cannot be used, or the models' inputs or outputs differ.
    """
    asked = complete(VerifyOptions, options)
    wanted = want_page(asked["report"], asked["ranking"])
    figures = open_metrics(asked["metrics"], against=asked["max_drop"] is not None)
    exact = reference_of(load(float_model))
    if is_artifact(quantized):
        opened = open_artifact(cast("str | Path", quantized))
        return _verify_artifact(exact, opened, data, asked, figures)
    rounded = load(quantized)
    same_interface(exact, rounded)
    source = open_judged(common_inputs(exact, rounded), data, asked)
    sizing = _size(exact, asked)
    seen = Remembered(source.batches(sizing))
    judged = judged_as(asked["engine"], asked["target"], made_for(rounded))
    check_ray(asked["ray"], asked["provider"])
    with open_workers(asked["ray"]) as workers, Clock(asked["watch"]).stage("verify"):
        found = compare(
            *(exact, rounded, seen),
            settings=Settings(provider=asked["provider"]),
            engine=judged.engine,
            latency=judged.mode == "deployed" if asked["latency"] is None else asked["latency"],
            progress=Counter("verify", source.count, asked["watch"]),
            figures=figures,
            apart=None if workers is None else Apart(workers, source, sizing),
        )
    found = replace(found, mode=judged.mode, target=judged.target, made_for=judged.made_for)
    found = replace(found, notes=source.notes, limit=asked["max_drop"])
    if asked["per_layer"] or wanted is not None:
        found = replace(found, layers=_by_layer(exact, rounded, source, sizing, asked))
    elif found.collapse:
        kept = seen.kept if asked["ray"] is None else remember(source.batches(sizing))
        layers = compare_layers(exact, rounded, lambda: kept, limit=sizing.limit)
        found = replace(found, layers=layers)
    if wanted is not None:
        target, size = asked["target"], asked["batch_size"]
        blame = remedy(float_model, target, data, asked["preprocess"], asked["rename"])
        given = Compared(float_model, quantized, target, source, size, blame)
        wanted.write(comparison_story(given, exact, rounded, found, wanted.ranking))
    return found


def _verify_artifact(
    exact: onnx.ModelProto,
    opened: Artifact,
    data: object,
    asked: VerifyOptions,
    figures: Sequence[Figure],
) -> Verification:
    """A device file compared with the float model, as its own reader evaluates it."""
    for name in ("per_layer", "report", "ranking", "engine", "target", "ray"):
        if asked[name]:
            flag = name.replace("_", "-")
            raise OptionError(f"--{flag} is for an ONNX file; a device file has one reader")
    same_names(exact, {i.name for i in opened.inputs}, {o.name for o in opened.outputs})
    source = open_judged(opened.inputs, data, asked)
    found = compare(
        *(exact, opened, source.batches(_size(exact, asked))),
        settings=Settings(provider=asked["provider"]),
        progress=Counter("verify", source.count, asked["watch"]),
        figures=figures,
    )
    return replace(found, notes=source.notes, limit=asked["max_drop"])


def _size(exact: onnx.ModelProto, asked: VerifyOptions) -> Sizing:
    """The sizing of the batches on which a model is compared with ``exact``."""
    limit = 10**6 * (asked["max_memory"] or MAX_MEMORY)
    return Sizing(Footprint(exact), limit, asked["batch_size"], models=SESSIONS)


def _by_layer(
    exact: onnx.ModelProto,
    rounded: onnx.ModelProto,
    source: Fitted,
    sizing: Sizing,
    asked: VerifyOptions,
) -> tuple[LayerError, ...]:
    counter = Counter("layers", source.count, asked["watch"])
    with Clock(asked["watch"]).stage("layers"):
        return compare_layers(
            exact, rounded, lambda: source.batches(sizing), limit=sizing.limit, progress=counter
        )


def next_step(target: Target, output: Path) -> str:
    """What to do with the file on the target."""
    return target.next_step.format(output=output, stem=output.stem)


def finish(result: Result, output: Path, command: str = "quantize") -> Result:
    """Save, with the run's config beside it (:mod:`oq.options.config`), and complete the report
    with where the file lies and what comes next."""
    step = next_step(registry.target(result.report.target), output)
    page = () if result.page is None else (str(result.page.wanted.path),)
    written = (str(output), f"{output}.yaml", *page)
    said = replace(result.report, output=str(output), next_step=step, written=written)
    finished = replace(result, report=said)
    # renamed after the model: no new config lies beside an old model
    with leaving_config(said, output, command):
        finished.save(output)
    return finished


__all__ = [
    "Result",
    "calibrate",
    "check",
    "explain",
    "finish",
    "judge",
    "make_plan",
    "next_step",
    "quantize",
    "remedy",
    "verify",
]
