"""argv -> the pipeline -> words: the commands, and how the program ends.

Exit status: 0 done; 1 done, but a stated limit was missed; 2 the user can act (one line on
standard error); anything else is a bug, with its traceback.  With ``--json`` standard output
carries one JSON document and nothing else.

Nothing heavy is imported here: every command imports what it runs.  :mod:`oq.commands.console`
prints; commands beside the two main ones are in :mod:`oq.commands`.
"""

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import oq
from oq.commands.calibrate import calibrate
from oq.commands.console import miss, say
from oq.commands.flags import (
    AutoBatchOpt,
    BatchOpt,
    CacheOpt,
    CalibratorForOpt,
    CalibratorOpt,
    ConfigOpt,
    DataOpt,
    EngineOfOpt,
    EngineOpt,
    EvalDataOpt,
    JsonOpt,
    KeepOpt,
    LabelsOpt,
    LayerOpt,
    MaxDropOpt,
    MemoryOpt,
    ModelArg,
    ModeOpt,
    OptionalTargetOpt,
    PreprocessOpt,
    ProviderOpt,
    RangesOpt,
    RankingOpt,
    RefineOpt,
    ReportOpt,
    SamplesOpt,
    SaveRangesOpt,
    SeedOpt,
    SetOpt,
    TimeLimitOpt,
    read_choices,
    read_layers,
    read_mode,
    read_settings,
    take_budget,
    with_config,
)
from oq.commands.look import calibrators, check, plan, targets
from oq.commands.make import config, demo, doctor, export
from oq.commands.plot import plot
from oq.commands.sensitivity import sensitivity
from oq.errors import OptionError, OqError
from oq.progress import show_progress

if TYPE_CHECKING:
    from oq.comparison.compare import Verification

app = typer.Typer(
    name="oq",
    help="Quantize ONNX models to int8 the way their target runs them, and prove it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def quantize(
    context: typer.Context,
    model: ModelArg,
    target: OptionalTargetOpt = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data", "-d", help=".npz, .npy, a folder, package.module:callable, or random"
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="default: MODEL.TARGET.onnx")
    ] = None,
    config: ConfigOpt = None,
    calibrator: CalibratorOpt = None,
    settings: SetOpt = None,
    calibrator_for: CalibratorForOpt = None,
    weights: Annotated[
        str | None, typer.Option(help="range of weights: max or mse; default: the target's")
    ] = None,
    samples: SamplesOpt = None,
    batch_size: AutoBatchOpt = None,
    preprocess: PreprocessOpt = None,
    keep_float: KeepOpt = None,
    layer: LayerOpt = None,
    mode: ModeOpt = "hybrid",
    cache: CacheOpt = None,
    ranges: RangesOpt = None,
    save_ranges: SaveRangesOpt = None,
    refine: RefineOpt = None,
    max_memory: MemoryOpt = None,
    max_drop: MaxDropOpt = None,
    eval_data: EvalDataOpt = None,
    labels: LabelsOpt = None,
    time_limit: TimeLimitOpt = None,
    provider: ProviderOpt = "cpu",
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="compare on held-back samples")
    ] = True,
    report_page: ReportOpt = None,
    ranking: RankingOpt = None,
    seed: SeedOpt = 0,
    as_json: JsonOpt = False,
) -> None:
    """Quantize a float ONNX model for a target."""
    from oq import pipeline
    from oq.model.files import check_exists, check_writable
    from oq.planning import registry
    from oq.reporting.report import missed_budget

    flags = {
        "target": target,
        "data": data,
        "calibrator": calibrator,
        "settings": read_settings(settings),
        "calibrator_for": read_choices(calibrator_for),
        "weights": weights,
        "samples": samples,
        "batch_size": batch_size,
        "preprocess": preprocess,
        "keep_float": tuple(keep_float or ()),
        "layers": read_layers(layer),
        "mode": read_mode(mode),
        "cache": cache,
        "ranges": ranges,
        "refine": refine,
        "max_memory": max_memory,
        "max_drop": max_drop,
        "eval_data": eval_data,
        "labels": labels,
        "time_limit": time_limit,
        "provider": provider,
        "verify": verify,
        "report": report_page,
        "ranking": ranking,
        "seed": seed,
    }
    options = with_config(flags, config, context)
    registry.target(options["target"])
    check_exists(model)
    name = f"{model.stem}.{options['target']}.onnx"
    path = model.with_name(name) if output is None else output
    check_writable(path)
    for extra in filter(None, (options["cache"], save_ranges)):
        check_writable(Path(extra))
    for given, what in ((model, "model"), (Path(options["data"] or ""), "data")):
        if path.exists() and given.exists() and path.samefile(given):
            raise OptionError(f"the output {str(path)!r} is the {what} itself; give another -o")
    budget = take_budget(options)
    with show_progress() as watch:
        if budget is None:
            result = pipeline.finish(pipeline.quantize(model, **options, watch=watch), path)
        else:
            from oq.budget.search import search

            result = search(model, output=path, **budget, **options, watch=watch)
    if save_ranges is not None:
        from oq.calibration.ranges import write_ranges

        write_ranges(result.ranges, save_ranges)
    report = result.report
    say(report, str(report).splitlines(), as_json)
    if report.search is not None and not report.search.met:
        miss(missed_budget(report.search))
    if report.verification is not None and report.verification.collapse:
        miss(f"the quantized model has collapsed: {report.verification.collapse[0]}")


@app.command()
def verify(
    float_model: Annotated[Path, typer.Argument(metavar="FLOAT.onnx", show_default=False)],
    quantized: Annotated[Path, typer.Argument(metavar="QUANT.onnx", show_default=False)],
    data: DataOpt,
    samples: SamplesOpt = None,
    batch_size: BatchOpt = 8,
    preprocess: PreprocessOpt = None,
    labels: LabelsOpt = None,
    max_drop: Annotated[
        float | None,
        typer.Option("--max-drop", help="points of top-1 that may be lost; else exit 1"),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            metavar="NAME",
            help="top1, top5, cosine, sqnr, miou or package.module:callable; repeatable",
        ),
    ] = None,
    per_layer: Annotated[
        bool, typer.Option("--per-layer", help="where the error is made, tensor by tensor")
    ] = False,
    provider: ProviderOpt = "cpu",
    engine: EngineOpt = None,
    target: EngineOfOpt = None,
    latency: Annotated[
        bool, typer.Option("--latency/--no-latency", help="measure both models' time")
    ] = True,
    report: ReportOpt = None,
    ranking: RankingOpt = None,
    seed: SeedOpt = 0,
    as_json: JsonOpt = False,
) -> None:
    """Compare a quantized model with its float original."""
    from oq import pipeline
    from oq.reporting.provenance import target_of
    from oq.reporting.report import layer_lines, verification_lines

    with show_progress() as watch:
        found = pipeline.verify(
            float_model,
            quantized,
            data,
            samples=samples,
            batch_size=batch_size,
            preprocess=preprocess,
            labels=labels,
            provider=provider,
            engine=engine,
            target=target,
            latency=latency,
            need_labels=max_drop is not None and not metric,
            metrics=tuple(metric or ()),
            per_layer=per_layer,
            report=report,
            ranking=ranking,
            seed=seed,
            watch=watch,
        )
    drop = _drop(found)
    if max_drop is not None and drop is None:
        raise OptionError(
            "--max-drop needs a classifier and labelled data (key 'labels', or --labels FILE.csv), "
            "or a --metric that gives a pair"
        )
    made_for = target_of(quantized) if found.collapse else None
    remedy = pipeline.remedy(float_model, made_for, data, preprocess)
    lines = [*verification_lines(found, remedy)]
    if per_layer:
        lines += ["", *layer_lines(found.layers)]
    say(found, lines, as_json)
    if max_drop is not None and drop is not None and drop[1] > max_drop:
        miss(f"{drop[0]} fell by {drop[1]:.2f} points, more than --max-drop {max_drop:g}")
    if found.collapse:
        miss(f"the quantized model has collapsed: {found.collapse[0]}")


for command in (sensitivity, plot, calibrate, plan, check, config, export, demo, doctor):
    app.command()(command)
for listing in (targets, calibrators):
    app.command()(listing)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="print the version")] = False,
    plugin: Annotated[
        list[Path] | None,
        typer.Option("--plugin", metavar="FILE.py", help="has a TARGET or CALIBRATOR; repeatable"),
    ] = None,
    custom_ops: Annotated[
        list[Path] | None,
        typer.Option("--custom-ops", metavar="LIBRARY", help="onnxruntime custom ops; repeatable"),
    ] = None,
) -> None:
    if plugin:
        from oq.planning import registry

        for path in plugin:
            registry.load_plugin(path)
    if custom_ops:
        from oq.model.session import use_custom_ops

        use_custom_ops(custom_ops)
    if version:
        print(f"oq {oq.__version__}")
        raise typer.Exit


def main() -> None:
    """The console script."""
    logging.basicConfig(level=logging.WARNING, format="oq: %(message)s", stream=sys.stderr)
    try:
        app()
    except OqError as error:
        print(f"oq: {error}", file=sys.stderr)
        sys.exit(2)


def _drop(found: "Verification") -> tuple[str, float] | None:
    """What fell most in either reading, and by how much: the metrics asked for that have a value
    for each model, else top-1 in points; None without either."""
    if found.scores:
        drops = [(s.metric, s.drop) for s in found.scores if s.drop is not None]
        return max(drops, key=lambda d: d[1], default=None)
    return None if found.drop is None else ("top-1", found.drop)
