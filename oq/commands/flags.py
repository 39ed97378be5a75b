"""The flags that several commands share, each defined once, and what their words mean."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oq.errors import OptionError

if TYPE_CHECKING:
    from oq.planning.overrides import Layer, Mode

ModelArg = Annotated[Path, typer.Argument(metavar="MODEL.onnx", show_default=False)]
TargetOpt = Annotated[str, typer.Option("--target", "-t", help="what it is for: see oq targets")]
OptionalTargetOpt = Annotated[
    str | None, typer.Option("--target", "-t", help="what it is for: see oq targets")
]
ConfigOpt = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE.yaml", help="see oq config; flags win over it"),
]
DataOpt = Annotated[
    str, typer.Option("--data", "-d", help=".npz, .npy, a folder, or package.module:callable")
]
JsonOpt = Annotated[bool, typer.Option("--json", help="one JSON document on standard output")]
SamplesOpt = Annotated[
    int | None, typer.Option("--samples", min=1, help="use this many, drawn by --seed")
]
BatchOpt = Annotated[int, typer.Option("--batch-size", min=1, help="samples per run")]
AutoBatchOpt = Annotated[
    int | None,
    typer.Option("--batch-size", min=1, help="default: what fits the processor's cache"),
]
PreprocessOpt = Annotated[
    str | None, typer.Option("--preprocess", help="for images: a preset or FILE.yaml")
]
ProviderOpt = Annotated[str, typer.Option("--provider", help="of onnxruntime: cpu, cuda, ...")]
EngineOpt = Annotated[
    str | None,
    typer.Option("--engine", help="what runs QUANT: onnxruntime, openvino (CPU plugin), dpu"),
]
EngineOfOpt = Annotated[
    str | None,
    typer.Option("--target", "-t", help="run QUANT as this target does, without --engine"),
]
KeepOpt = Annotated[
    list[str] | None,
    typer.Option("--keep-float", metavar="GLOB", help="over node names; repeatable"),
]
LayerOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--layer",
        metavar="GLOB:KEY=VALUE,..",
        help="dtype, symmetric, weights, per_channel, calibrator of layers; repeatable",
    ),
]
ModeOpt = Annotated[
    str,
    typer.Option("--mode", help="naive: all that can; hybrid: all that pays; selective: --layer"),
]
SetOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="an option of the target or calibrator; repeatable"
    ),
]
CalibratorOpt = Annotated[
    str | None, typer.Option(help="see oq calibrators; default: the target's")
]
CalibratorForOpt = Annotated[
    list[str] | None,
    typer.Option(metavar="GLOB=NAME", help="a calibrator for tensors, layers or ops; repeatable"),
]
RangesOpt = Annotated[
    Path | None,
    typer.Option("--ranges", help="take ranges from JSON or a TensorRT calibration table"),
]
SaveRangesOpt = Annotated[
    Path | None, typer.Option("--save-ranges", help="write ranges: .json, else a TensorRT table")
]
RefineOpt = Annotated[
    str | None,
    typer.Option(
        "--refine", metavar="NAME[,NAME]", help="steps to try, or none; default: the target's"
    ),
]
MaxDropOpt = Annotated[
    float | None,
    typer.Option(
        "--max-drop",
        min=0,
        help="points of top-1 that may be lost: keep layers in float until it is met; else exit 1",
    ),
]
EvalDataOpt = Annotated[
    str | None,
    typer.Option("--eval-data", help="labelled data for --max-drop; else agreement with float"),
]
LabelsOpt = Annotated[
    Path | None, typer.Option("--labels", help="CSV file,label for a folder of images")
]
TimeLimitOpt = Annotated[
    float | None,
    typer.Option("--time-limit", metavar="SECONDS", min=0, help="of the search for --max-drop"),
]
ReportOpt = Annotated[
    Path | None, typer.Option("--report", metavar="FILE", help="a page: .html, or .json")
]
RankingOpt = Annotated[
    Path | None,
    typer.Option("--ranking", metavar="FILE.json", help="of oq sensitivity -o, for --report"),
]
SeedOpt = Annotated[int, typer.Option("--seed", help="of the draw of --samples")]


CacheOpt = Annotated[
    Path | None,
    typer.Option("--cache", help="keep statistics in this file, and go on from it"),
]
MemoryOpt = Annotated[
    int | None,
    typer.Option("--max-memory", metavar="MB", min=1, help="that a batch's activations may take"),
]


PARAMETERS = {"layers": "layer", "report": "report_page"}
"""Keyword -> the name of its flag's parameter, where they differ."""


def with_config(flags: dict[str, Any], path: Path | None, context: typer.Context) -> dict[str, Any]:
    """``flags`` by keyword, completed by the config file: what the command line says wins.

    Raises:
        OptionError: the file cannot be used, or neither says what the target is.
    """
    from oq.config import read_config
    from oq.planning import registry

    written = {} if path is None else read_config(path)
    for name, value in written.items():
        source = context.get_parameter_source(PARAMETERS.get(name, name))
        if source is None or source.name != "COMMANDLINE":
            flags[name] = value
    if flags["target"] is None:
        there = ", ".join(registry.names("targets"))
        raise OptionError(f"--target is missing; there is: {there}")
    return flags


SEARCHED = ("max_drop", "eval_data", "labels", "time_limit")
"""Keywords of :func:`oq.search` that :func:`oq.quantize` has not."""


def take_budget(options: dict[str, Any]) -> dict[str, Any] | None:
    """What the search for ``--max-drop`` takes, out of ``options``; None without a budget.

    Raises:
        OptionError: a flag that means nothing without one.
    """
    budget = {name: options.pop(name) for name in SEARCHED}
    if budget["max_drop"] is not None:
        return budget
    for name, value in budget.items():
        if value is not None:
            raise OptionError(f"--{name.replace('_', '-')} is for --max-drop, which is not given")
    return None


def read_settings(pairs: list[str] | None) -> dict[str, Any]:
    """``KEY=VALUE`` pairs, values read as YAML scalars (numbers, true, words)."""
    import yaml

    found: dict[str, Any] = {}
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise OptionError(f"--set {pair!r}: expected KEY=VALUE")
        try:
            found[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise OptionError(f"--set {pair!r}: {value!r} is no number, word or list") from error
    return found


def read_layers(texts: list[str] | None) -> "tuple[Layer, ...]":
    """``GLOB:key=value[,key=value]``, one per layer."""
    from oq.planning.overrides import parse_layer

    return tuple(parse_layer(text) for text in texts or ())


def read_mode(name: str) -> "Mode":
    """One of the three ways to quantize."""
    from oq.planning.overrides import MODES

    found = next((m for m in MODES if m == name), None)
    if found is None:
        raise OptionError(f"--mode {name!r}: expected {', '.join(MODES)}")
    return found


def read_choices(pairs: list[str] | None) -> tuple[tuple[str, str], ...]:
    """``GLOB=NAME`` pairs; the glob may hold further equals signs."""
    found = []
    for pair in pairs or ():
        glob, equals, name = pair.rpartition("=")
        if not equals or not glob or not name:
            raise OptionError(f"--calibrator-for {pair!r}: expected GLOB=NAME")
        found.append((glob, name))
    return tuple(found)
