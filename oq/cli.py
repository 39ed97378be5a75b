"""argv -> the pipeline -> words: the only file that prints or exits.

Exit status: 0 done; 1 done, but a stated limit was missed; 2 the user can act (one line on
standard error); anything else is a bug, with its traceback.  With ``--json`` standard output
carries one JSON document and nothing else.

Nothing heavy is imported here: every command imports what it runs.
"""

import json
import logging
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

import oq
from oq.errors import OptionError, OqError
from oq.flags import (
    AutoBatchOpt,
    BatchOpt,
    CacheOpt,
    CalibratorForOpt,
    CalibratorOpt,
    DataOpt,
    EngineOfOpt,
    EngineOpt,
    JsonOpt,
    KeepOpt,
    LayerOpt,
    MemoryOpt,
    ModelArg,
    ModeOpt,
    PreprocessOpt,
    ProviderOpt,
    RangesOpt,
    SamplesOpt,
    SaveRangesOpt,
    SeedOpt,
    SetOpt,
    TargetOpt,
    read_choices,
    read_layers,
    read_mode,
    read_settings,
)
from oq.progress import show_progress

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
    model: ModelArg,
    target: TargetOpt,
    data: Annotated[
        str | None,
        typer.Option("--data", "-d", help=".npz, .npy, a folder, package.module:callable, random"),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="default: MODEL.TARGET.onnx")
    ] = None,
    calibrator: CalibratorOpt = None,
    settings: SetOpt = None,
    calibrator_for: CalibratorForOpt = None,
    weights: Annotated[str | None, typer.Option(help="range of weights: max or mse")] = None,
    samples: SamplesOpt = None,
    batch_size: AutoBatchOpt = None,
    preprocess: PreprocessOpt = None,
    keep_float: KeepOpt = None,
    layer: LayerOpt = None,
    mode: ModeOpt = "hybrid",
    cache: CacheOpt = None,
    ranges: RangesOpt = None,
    save_ranges: SaveRangesOpt = None,
    max_memory: MemoryOpt = None,
    provider: ProviderOpt = "cpu",
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="compare on held-back samples")
    ] = True,
    seed: SeedOpt = 0,
    as_json: JsonOpt = False,
) -> None:
    """Quantize a float ONNX model for a target."""
    from oq import pipeline, registry
    from oq.files import check_exists, check_writable

    registry.target(target)
    check_exists(model)
    path = model.with_name(f"{model.stem}.{target}.onnx") if output is None else output
    check_writable(path)
    for extra in (cache, save_ranges):
        if extra is not None:
            check_writable(extra)
    for given, what in ((model, "model"), (Path(data or ""), "data")):
        if path.exists() and given.exists() and path.samefile(given):
            raise OptionError(f"the output {str(path)!r} is the {what} itself; give another -o")
    with show_progress() as watch:
        result = pipeline.quantize(
            model,
            target,
            data,
            calibrator=calibrator,
            settings=read_settings(settings),
            calibrator_for=read_choices(calibrator_for),
            weights=weights,
            samples=samples,
            batch_size=batch_size,
            preprocess=preprocess,
            keep_float=tuple(keep_float or ()),
            layers=read_layers(layer),
            mode=read_mode(mode),
            cache=cache,
            ranges=ranges,
            max_memory=max_memory,
            provider=provider,
            verify=verify,
            seed=seed,
            watch=watch,
        )
    if save_ranges is not None:
        from oq.ranges import write_ranges

        write_ranges(result.ranges, save_ranges)
    report = pipeline.finish(result, path).report
    _say(report, str(report).splitlines(), as_json)


@app.command()
def verify(
    float_model: Annotated[Path, typer.Argument(metavar="FLOAT.onnx", show_default=False)],
    quantized: Annotated[Path, typer.Argument(metavar="QUANT.onnx", show_default=False)],
    data: DataOpt,
    samples: SamplesOpt = None,
    batch_size: BatchOpt = 8,
    preprocess: PreprocessOpt = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="CSV file,label for a folder of images")
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option("--max-drop", help="points of top-1 that may be lost; else exit 1"),
    ] = None,
    provider: ProviderOpt = "cpu",
    engine: EngineOpt = None,
    target: EngineOfOpt = None,
    latency: Annotated[bool, typer.Option("--latency/--no-latency")] = True,
    seed: SeedOpt = 0,
    as_json: JsonOpt = False,
) -> None:
    """Compare a quantized model with its float original."""
    from oq import pipeline
    from oq.report import verification_lines

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
            need_labels=max_drop is not None,
            seed=seed,
            watch=watch,
        )
    drop = found.drop
    if max_drop is not None and drop is None:
        raise OptionError(
            "--max-drop needs a classifier and labelled data (key 'labels', or --labels FILE.csv)"
        )
    _say(found, verification_lines(found), as_json)
    if max_drop is not None and drop is not None and drop > max_drop:
        _warn(f"top-1 fell by {drop:.2f} points, more than --max-drop {max_drop:g}")
        raise typer.Exit(1)


@app.command()
def calibrate(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="MODEL.onnx | CACHE...", help="the model, or the caches of --merge"),
    ],
    cache: Annotated[Path, typer.Option("--cache", help="the file to write")] = Path("oq.cache"),
    target: Annotated[str, typer.Option("--target", "-t", help="see oq targets")] = "ort",
    data: Annotated[str | None, typer.Option("--data", "-d", help="as for oq quantize")] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="join finished caches of one model instead")
    ] = False,
    samples: SamplesOpt = None,
    batch_size: AutoBatchOpt = None,
    preprocess: PreprocessOpt = None,
    keep_float: KeepOpt = None,
    settings: SetOpt = None,
    max_memory: MemoryOpt = None,
    provider: ProviderOpt = "cpu",
    seed: SeedOpt = 0,
    as_json: JsonOpt = False,
) -> None:
    """Collect statistics only, for every calibrator at once; resumes and merges."""
    from oq.cache import merge_caches, save_cache
    from oq.files import check_writable

    check_writable(cache)
    if merge:
        whole = merge_caches(files)
        save_cache(whole, cache)
        samples, tensors = whole.samples, len(whole.statistics)
    else:
        from oq import pipeline

        if len(files) != 1 or data is None:
            raise OptionError("oq calibrate needs one MODEL.onnx and --data, or --merge A B ...")
        with show_progress() as watch:
            found = pipeline.calibrate(
                files[0],
                target,
                data,
                cache,
                samples=samples,
                batch_size=batch_size,
                preprocess=preprocess,
                keep_float=tuple(keep_float or ()),
                settings=read_settings(settings),
                max_memory=max_memory,
                provider=provider,
                seed=seed,
                watch=watch,
            )
        samples, tensors = found.samples, len(found.statistics)
    line = f"{cache}: statistics of {tensors} tensors over {samples:,} samples"
    _say({"cache": str(cache), "tensors": tensors, "samples": samples}, [line], as_json)


@app.command()
def plan(
    model: ModelArg,
    target: TargetOpt,
    why: Annotated[
        str | None, typer.Option("--why", metavar="TENSOR|NODE", help="explain one name")
    ] = None,
    keep_float: KeepOpt = None,
    layer: LayerOpt = None,
    mode: ModeOpt = "hybrid",
    settings: SetOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Show what would be quantized, and why; needs no data."""
    from oq import pipeline
    from oq.explain import plan_lines

    wishes: dict[str, Any] = {
        "keep_float": tuple(keep_float or ()),
        "layers": read_layers(layer),
        "mode": read_mode(mode),
        "settings": read_settings(settings),
    }
    if why is None:
        found = pipeline.make_plan(model, target, **wishes)
        _say(found, plan_lines(found), as_json)
    else:
        lines = pipeline.explain(model, target, why, **wishes)
        _say({"name": why, "why": lines}, lines, as_json)


@app.command()
def check(
    model: ModelArg, target: TargetOpt, settings: SetOpt = None, as_json: JsonOpt = False
) -> None:
    """Judge a Q/DQ file of any tool by a target's rules; exit 1 on errors."""
    from oq import pipeline
    from oq.outlook import judgement_lines

    found = pipeline.judge(model, target, settings=read_settings(settings))
    _say(found, judgement_lines(found), as_json)
    if any(f.severity == "error" for f in found.findings):
        raise typer.Exit(1)


@app.command()
def export(
    factory: Annotated[str, typer.Argument(metavar="MODULE:FACTORY", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="the ONNX file to write")],
    opset: Annotated[int | None, typer.Option("--opset", min=13)] = None,
    as_json: JsonOpt = False,
) -> None:
    """Export a torch model to ONNX and check the export against torch."""
    from oq.export import export as export_model
    from oq.export import export_lines

    report = export_model(factory, output, opset=opset)
    _say(report, export_lines(report), as_json)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--output", "-o", help="folder for the files")] = Path(
        "oq-demo"
    ),
    as_json: JsonOpt = False,
) -> None:
    """Do the whole job on the bundled models and data."""
    from oq.demo import demo_lines, run_demo

    rows = list(run_demo(folder, lambda what: _warn(what) if not as_json else None))
    _say(rows, demo_lines(rows), as_json)


@app.command()
def targets(as_json: JsonOpt = False) -> None:
    """List the targets."""
    _list("targets", as_json)


@app.command()
def calibrators(as_json: JsonOpt = False) -> None:
    """List the calibrators."""
    _list("calibrators", as_json)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="print it")] = False,
    plugin: Annotated[
        list[Path] | None,
        typer.Option("--plugin", help="a Python file with a TARGET or CALIBRATOR; repeatable"),
    ] = None,
    custom_ops: Annotated[
        list[Path] | None,
        typer.Option("--custom-ops", help="an onnxruntime custom-op library; repeatable"),
    ] = None,
) -> None:
    if plugin:
        from oq import registry

        for path in plugin:
            registry.load_plugin(path)
    if custom_ops:
        from oq.session import use_custom_ops

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


def _list(kind: str, as_json: bool) -> None:
    from oq import registry

    found = {name: registry.summary(kind, name) for name in registry.names(kind)}
    _say(found, (f"{name:<16} {text}" for name, text in found.items()), as_json)


def _say(value: Any, lines: Iterable[str], as_json: bool) -> None:
    """The one place that writes to standard output."""
    if as_json:
        from oq.report import to_json

        print(json.dumps(to_json(value), indent=2))
        return
    for line in lines:
        print(line)


def _warn(text: str) -> None:
    print(f"oq: {text}", file=sys.stderr)
