"""The stages in order: load, prepare, plan, calibrate, solve, refine, emit, legal, verify, report.

These functions are the Python API and what the command line calls.  No decisions are made here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import onnx

import oq
from oq.calibration.data_checks import data_warnings
from oq.calibration.measure import EVERYTHING, Job, Measured, Shared, measure
from oq.calibration.ranges import known_ranges
from oq.checks.inspection import check, explain, judge, make_plan
from oq.comparison.compare import Verification, compare
from oq.comparison.layers import Remembered, compare_layers
from oq.comparison.metrics import open_metric
from oq.config import plain_options, write_config
from oq.data.samples import BATCH, divide, open_samples
from oq.data.source import Fitted, has_labels, open_source, subset
from oq.emission.write import write_graph
from oq.engines.engine import DEFAULT
from oq.errors import OptionError
from oq.exporting.load import Model, load
from oq.model.files import model_bytes, save_model, write_text
from oq.model.proto_fields import inputs_of, same_interface
from oq.model.session import Settings
from oq.numerics.values import Range
from oq.page.evidence import Run, evidence_of_run, with_page_needs
from oq.page.story import Compared, comparison_story
from oq.page.write import Pending, want_page
from oq.planning import registry
from oq.planning.overrides import Choice, Layer, Mode, make_wishes
from oq.planning.setup import (
    Planned,
    choose_target,
    make_methods,
    needs_of,
    own_target,
    plan_model,
    tensors_to_calibrate,
)
from oq.planning.target import Target
from oq.progress import Clock, Counter, Watch
from oq.refine.order import NONE, choose_steps
from oq.refine.recalibrate import Recalibration
from oq.refine.run import improve
from oq.reporting.notes import describe_data, random_data_warning, remedy, run_warnings
from oq.reporting.provenance import provenance, stamp
from oq.reporting.report import Report


@dataclass(frozen=True, slots=True)
class Result:
    """A quantized model, its story, the ranges its activations got, and the page asked for."""

    model: onnx.ModelProto
    report: Report
    ranges: Mapping[str, Range] = field(default_factory=dict)
    page: Pending | None = None

    def save(self, path: str | Path) -> None:
        """Write the model to ``path`` (beside it first, then renamed), and the page."""
        save_model(self.model, path)
        if self.page is not None:
            self.page.write(self.report)


def quantize(
    model: Model,
    target: str,
    data: object = None,
    *,
    example_inputs: object = None,
    calibrator: str | None = None,
    settings: Mapping[str, Any] | None = None,
    calibrator_for: Sequence[Choice] = (),
    weights: str | None = None,
    samples: int | None = None,
    batch_size: int | None = None,
    preprocess: str | Path | None = None,
    keep_float: Sequence[str] = (),
    layers: Sequence[Layer] = (),
    mode: Mode = "hybrid",
    cache: str | Path | Shared | None = None,
    ranges: str | Path | None = None,
    refine: str | Sequence[str] | None = None,
    max_memory: int | None = None,
    provider: str = "cpu",
    verify: bool = True,
    report: str | Path | None = None,
    ranking: str | Path | None = None,
    seed: int = 0,
    watch: Watch | None = None,
) -> Result:
    """Quantize ``model`` for ``target``, calibrated on ``data`` (:mod:`oq.data.source`).

    A torch module is exported first, with ``example_inputs`` (:mod:`oq.exporting.export`).
    ``calibrator`` and ``weights`` ("max" or "mse") are the target's choice when None.  ``settings``
    are the target's options and the calibrators' own, by ``field`` for the default one and
    ``name.field`` for others.  ``calibrator_for`` are pairs (glob over tensors, layers or ops,
    calibrator); ``layers`` say more (:class:`oq.planning.overrides.Layer`), ``mode`` how they are
    meant (:data:`oq.planning.overrides.Mode`).  ``samples`` draws that many by ``seed``;
    ``keep_float`` are globs over node names.  ``cache`` keeps statistics on disk, and a finished
    one needs no ``data``; ``ranges`` is a file of ranges (JSON or a TensorRT calibration table)
    that need no measuring. ``refine`` names steps of :mod:`oq.refine.order`, or "none"; None is the
    target's choice. ``max_memory`` bounds a batch's activations, in MB.  With ``verify`` every
    eighth sample (64 at most) is held back from calibration and both models are compared on them;
    refinement learns from the others and is judged on those, verified or not.  :meth:`Result.save`
    also writes the page ``report`` (.html, or .json), with a ``ranking`` (.json) on it.

    Raises:
        OqError: the model, the data or an option cannot be used; the message says why.
    """
    asked = dict(locals())
    wanted = want_page(report, ranking)
    clock = Clock()
    profile, rest = choose_target(target, settings or {})
    wishes = make_wishes(keep_float, calibrator_for, layers, mode, calibrator)
    used_calibrator = calibrator or profile.calibrator
    methods = make_methods(used_calibrator, rest, wishes)
    steps = choose_steps(refine, profile.refine)
    how = weights or profile.weight_range
    chosen = {"weights": how, "refine": steps or NONE}  # no calibrator: one named binds refinement
    with clock.stage("load"):
        loaded = load(model, example_inputs)
        source = None if data is None else open_samples(loaded, data, preprocess, samples, seed)
        used, held = (None, None) if source is None else divide(source, seed, verify)
    with clock.stage("prepare"):
        planned = plan_model(loaded, profile, wishes)
    with clock.stage("calibrate"):
        known = {} if ranges is None else known_ranges(planned, ranges)
        wished = needs_of(planned, methods, used is not None)
        needs = with_page_needs({t: n for t, n in wished.items() if t not in known}, wanted)
        job = Job(planned.model, planned.view, needs, batch_size, Settings(provider=provider))
        job = _watched(job, used, asked)
        recalibration = Recalibration(planned, methods, job, known, how, calibrator is not None)
        measured = recalibration.measure(used, Path(cache) if isinstance(cache, str) else cache)
    with clock.stage("refine"):
        solved = recalibration.solve(measured.statistics)
        refined = improve(steps, recalibration, solved, measured.statistics, source, used, seed)
        solution, planned = refined.subject.solution, refined.planned or planned
    with clock.stage("emit"):
        quantized, findings, single = write_graph(
            planned, refined.subject.constants, solution, measured.statistics
        )
    found = None
    if verify and held is not None:
        with clock.stage("verify"):
            found = _verify(loaded, quantized, held, profile.verified_in, asked)
    stamp(quantized, provenance(planned, methods, measured, found))
    warned = _warnings(loaded, planned, measured, found)
    looked = Run(loaded, recalibration, refined, measured, used, used_calibrator)
    said = Report(
        version=oq.__version__,
        model=str(model) if isinstance(model, str | Path) else loaded.graph.name,
        output=None,
        target=target,
        summary=profile.summary,
        calibrator=used_calibrator,
        data=describe_data(source, cache, ranges),
        samples=measured.samples,
        bytes_before=model_bytes(loaded),
        bytes_after=model_bytes(quantized),
        plan=planned.plan,
        notes=(*random_data_warning(source), *warned, *solution.notes, *single),
        refinement=refined.outcomes,
        findings=findings,
        verification=found,
        seconds=clock.seconds,
        remedy=remedy(model, target, data, preprocess),
        options=plain_options(asked | chosen),
    )
    page = None if wanted is None else Pending(wanted, evidence_of_run(looked))
    return Result(quantized, said, solution.ranges, page)


def _verify(
    exact: onnx.ModelProto,
    rounded: onnx.ModelProto,
    held: Fitted,
    engine: str,
    asked: Mapping[str, Any],
) -> Verification:
    """Both models compared in ``engine``; by layer too for a page, or where the quantized one has
    collapsed."""
    counter = Counter("verify", held.count, asked["watch"])
    seen = Remembered(held.batches(asked["batch_size"] or BATCH))
    found = compare(exact, rounded, seen, engine=engine, progress=counter)
    if not found.collapse and asked["report"] is None:
        return found
    return replace(found, layers=compare_layers(exact, rounded, lambda: seen.kept))


def _watched(job: Job, used: Fitted | None, asked: Mapping[str, Any]) -> Job:
    """``job`` with what the keywords of :func:`quantize` say of the samples, memory and watch."""
    drawn = f"{asked['samples']} {asked['seed']} {asked['verify']}"
    counter = Counter("calibrate", None if used is None else used.count, asked["watch"])
    return replace(job, drawn=drawn, max_memory=asked["max_memory"], progress=counter)


def calibrate(
    model: Model,
    target: str,
    data: object,
    cache: str | Path,
    *,
    samples: int | None = None,
    batch_size: int | None = None,
    preprocess: str | Path | None = None,
    keep_float: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    max_memory: int | None = None,
    provider: str = "cpu",
    seed: int = 0,
    watch: Watch | None = None,
) -> Measured:
    """Statistics only, into ``cache``: all that any calibrator reads, in one pass.

    Goes on where an interrupted run stopped.  ``oq.quantize(..., cache=cache)`` without ``data``
    then makes a file with any calibrator at once.

    Raises:
        OqError: as :func:`quantize`.
    """
    loaded = load(model)
    source = open_samples(loaded, data, preprocess, samples, seed)
    planned = plan_model(loaded, own_target(target, settings), make_wishes(keep_float))
    job = Job(
        planned.model,
        planned.view,
        dict.fromkeys(tensors_to_calibrate(planned.plan, planned.view), EVERYTHING),
        batch_size,
        Settings(provider=provider),
        drawn=f"{samples} {seed} {False}",
        max_memory=max_memory,
        progress=Counter("calibrate", source.count, watch),
    )
    return measure(job, source, Path(cache))


def verify(
    float_model: Model,
    quantized: Model,
    data: object,
    *,
    samples: int | None = None,
    batch_size: int = BATCH,
    preprocess: str | Path | None = None,
    labels: Path | None = None,
    provider: str = "cpu",
    engine: str | None = None,
    target: str | None = None,
    latency: bool = True,
    need_labels: bool = False,
    metrics: Sequence[str] = (),
    per_layer: bool = False,
    report: str | Path | None = None,
    ranking: str | Path | None = None,
    seed: int = 0,
    watch: Watch | None = None,
) -> Verification:
    """Compare two models on ``data``: errors, accuracy, integer kernels, latency.

    ``engine`` runs the quantized model (:mod:`oq.engines.engine`), by default that of ``target``,
    else onnxruntime; ``need_labels`` refuses data without labels before anything is run.

    ``metrics`` are names of :mod:`oq.comparison.metrics`, or ``package.module:callable``.
    ``per_layer`` also compares every tensor that both models share (:mod:`oq.comparison.layers`),
    in further passes over the data; where the quantized model has collapsed that is done on the
    first samples unasked. ``report`` writes a page, as :func:`quantize` does, and implies
    ``per_layer``.

    Raises:
        OqError: a model or the data cannot be used, or the models' inputs or outputs differ.
    """
    wanted = want_page(report, ranking)
    figures = [open_metric(name) for name in metrics]
    exact, rounded = load(float_model), load(quantized)
    same_interface(exact, rounded)
    source = open_source(data, inputs_of(exact), preprocess=preprocess, labels=labels)
    if samples is not None:
        source = subset(source, samples, seed)
    if need_labels and not has_labels(source):
        raise OptionError(
            f"{source.name} has no labels, which --max-drop needs: key 'labels' in an .npz, or "
            "--labels FILE.csv with a folder of images"
        )
    seen = Remembered(source.batches(batch_size))
    found = compare(
        exact,
        rounded,
        seen,
        settings=Settings(provider=provider),
        engine=_engine(engine, target),
        latency=latency,
        progress=Counter("verify", source.count, watch),
        figures=figures,
    )
    if per_layer or wanted is not None:
        counter = Counter("layers", source.count, watch)
        rows = compare_layers(exact, rounded, lambda: source.batches(batch_size), progress=counter)
        found = replace(found, layers=rows)
    elif found.collapse:
        found = replace(found, layers=compare_layers(exact, rounded, lambda: seen.kept))
    if wanted is not None:
        blame = remedy(float_model, target, data, preprocess)
        given = Compared(float_model, quantized, target, source, batch_size, blame)
        wanted.write(comparison_story(given, exact, rounded, found, wanted.ranking))
    return found


def next_step(target: Target, output: Path) -> str:
    """What to do with the file on the target."""
    return target.next_step.format(output=output, stem=output.stem)


def finish(result: Result, output: Path) -> Result:
    """Save, with the run's config beside it (:mod:`oq.config`), and complete the report with where
    the file lies and what comes next."""
    about = f"oq {oq.__version__}: oq quantize {result.report.model} --config THIS -o {output}"
    write_text(
        output.with_name(f"{output.name}.yaml"), write_config(result.report.options, [about])
    )
    step = next_step(registry.target(result.report.target), output)
    said = replace(result.report, output=str(output), next_step=step)
    finished = replace(result, report=said)
    finished.save(output)
    return finished


def _warnings(
    model: onnx.ModelProto, planned: Planned, measured: Measured, found: Verification | None
) -> tuple[str, ...]:
    """What is odd about the data, if any were read, and about the run."""
    seen = measured.statistics
    odd = data_warnings(inputs_of(model), seen, measured.samples) if seen else ()
    return (*odd, *run_warnings(planned.plan, found))


def _engine(engine: str | None, target: str | None) -> str:
    if engine is not None or target is None:
        return DEFAULT if engine is None else engine
    return registry.target(target).verified_in


__all__ = [
    "Result",
    "calibrate",
    "check",
    "explain",
    "finish",
    "inputs_of",
    "judge",
    "make_plan",
    "next_step",
    "quantize",
    "remedy",
    "verify",
]
