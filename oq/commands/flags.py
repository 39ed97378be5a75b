"""The flags of the commands, made of the table of options, and what their words mean."""

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import typer

from oq.errors import OptionError
from oq.options import deploy_rows, rows
from oq.options.kinds import AMOUNT, COUNT, FILE, PATH, PLAIN, TEXT, WHOLE
from oq.options.rows import Option
from oq.progress import set_loudness

METAVARS = (
    *((COUNT, "N"), (WHOLE, "N"), (AMOUNT, "NUMBER"), (FILE, "FILE"), (PATH, "FILE")),
    *((TEXT, "TEXT"), (PLAIN, "NAME")),
)
"""Kind of an option -> what stands for its value in the help, where the option names nothing."""


def _registered(kind: str) -> Callable[[str], list[str]]:
    """What completes the names of ``kind``, targets or calibrators."""

    def complete(incomplete: str) -> list[str]:
        from oq.planning import registry

        return [name for name in registry.names(kind) if name.startswith(incomplete)]

    return complete


def _among(*names: str) -> Callable[[str], list[str]]:
    """What completes one of ``names``."""
    return lambda incomplete: [name for name in names if name.startswith(incomplete)]


def _presets(incomplete: str) -> list[str]:
    from oq.data.preprocess import PRESETS

    return [name for name in PRESETS if name.startswith(incomplete)]


def _metrics(incomplete: str) -> list[str]:
    from oq.comparison.metrics import BUILT_IN

    return [name for name in BUILT_IN if name.startswith(incomplete)]


def _formats(incomplete: str) -> list[str]:
    from oq.deployment.formats import FORMATS

    return [name for name in FORMATS if name.startswith(incomplete)]


VALUES = (
    *((rows.TARGET, _registered("targets")), (rows.RUN_AS, _registered("targets"))),
    *((rows.CALIBRATOR, _registered("calibrators")), (rows.PREPROCESS, _presets)),
    *((rows.HOW_FAR, _among("naive", "hybrid", "selective")), (rows.WEIGHTS, _among("max", "mse"))),
    (rows.ENGINE, _among("onnxruntime", "openvino", "dpu")),
    *(
        (rows.METRIC, _metrics),
        (rows.METRICS, _metrics),
        (rows.AUGMENT, _among("none", "flip", "crop")),
    ),
    *((rows.LOSS, _among("mse", "kl", "labels")), (rows.SCALES, _among("frozen", "learned"))),
    *((deploy_rows.TO, _formats), (deploy_rows.PRECISION, _among("float16", "float32"))),
    (rows.FORM, _among("qdq", "qoperator")),
)
"""Option -> what completes its value in a shell."""


def flag(option: Option, **changed: Any) -> Any:
    """``option`` as typer takes it; ``changed`` are texts that one command says otherwise."""
    shown = option.metavar or next((m for k, m in METAVARS if option.kind is k), None)
    found = {"help": option.meaning, "metavar": shown, "min": option.least, **changed}
    known = next((f for option_, f in VALUES if option is option_), None)
    if known is not None:
        found["autocompletion"] = known
    return typer.Option(*option.flags, **found)


ModelArg = Annotated[Path, typer.Argument(metavar="MODEL.onnx", show_default=False)]
TargetOpt = Annotated[str, flag(rows.TARGET)]
DataOpt = Annotated[str, flag(rows.DATA)]
OptionalTargetOpt = Annotated[str | None, flag(rows.TARGET)]
OptionalDataOpt = Annotated[str | None, flag(rows.DATA)]
JsonOpt = Annotated[bool, typer.Option("--json", help="one JSON document on standard output")]
QuietOpt = Annotated[bool, typer.Option("--quiet", "-q", help="only errors on standard error")]
VerboseOpt = Annotated[bool, typer.Option("--verbose", "-v", help="every step on standard error")]
FormatOpt = Annotated[
    str,
    typer.Option(
        "--format", metavar="NAME", help="text, json, github (annotations) or junit (XML)"
    ),
]
ConfigOpt = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE.yaml",
        help="settings from a file (see oq config); flags win over it",
    ),
]
BatchOpt = Annotated[int, flag(rows.VERIFY_BATCH)]
PreprocessOpt = Annotated[str | None, flag(rows.PREPROCESS)]
RenameOpt = Annotated[list[str] | None, flag(rows.RENAME)]
KeepOpt = Annotated[list[str] | None, flag(rows.KEEP_FLOAT)]
LayerOpt = Annotated[list[str] | None, flag(rows.LAYER)]
ModeOpt = Annotated[str, flag(rows.HOW_FAR)]
SetOpt = Annotated[list[str] | None, flag(rows.SETTINGS)]
CalibratorOpt = Annotated[str | None, flag(rows.CALIBRATOR)]
WeightsOpt = Annotated[str | None, flag(rows.WEIGHTS)]
ShapeOpt = Annotated[list[str] | None, flag(rows.SHAPE)]
RayOpt = Annotated[str | None, flag(rows.RAY)]
SeedOpt = Annotated[int, flag(rows.SEED)]
QuantizedOpt = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="default: MODEL.TARGET.onnx")
]
SaveRangesOpt = Annotated[
    Path | None,
    typer.Option(
        "--save-ranges", metavar="FILE", help="write ranges: .json, else a TensorRT table"
    ),
]

Command = TypeVar("Command", bound=Callable[..., None])


def talks(command: Command) -> Command:
    """A decorator: the command takes ``--quiet`` and ``--verbose`` as well, and heeds them."""
    signature = inspect.signature(command)
    switches = {"quiet": QuietOpt, "verbose": VerboseOpt}
    more = [_switch(name, hint) for name, hint in switches.items()]

    @functools.wraps(command)
    def talking(*args: Any, quiet: bool = False, verbose: bool = False, **rest: Any) -> None:
        if quiet and verbose:
            raise OptionError("--quiet and --verbose: give one of them")
        set_loudness(quiet=quiet, verbose=verbose)
        command(*args, **rest)

    kind = inspect.Parameter.KEYWORD_ONLY
    named = [p.replace(kind=kind) for p in signature.parameters.values()]
    talking.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*named, *more]
    )
    talking.__annotations__ = {**command.__annotations__, **switches}
    return cast("Command", talking)


def _switch(name: str, hint: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=False, annotation=hint)


def takes(options: Mapping[str, Option]) -> Callable[[Command], Command]:
    """A decorator: the ``**flags`` of a command are ``options``, those with a kind, by name; the
    last parameter of its own stays last."""

    def add(command: Command) -> Command:
        signature = inspect.signature(command)
        plain = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        more = [_parameter(name, option) for name, option in options.items() if option.kind]
        named = (p.replace(kind=p.KEYWORD_ONLY) for p in (*plain[:-1], *more, plain[-1]))
        parameters = tuple(named)  # typer reads both this signature and the annotations
        command.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=parameters
        )
        command.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": None}
        return command

    return add


def _parameter(name: str, option: Option) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    taken = Any if option.kind is None else option.kind.flag
    several = taken == (list[str] | None)
    default = None if several else option.default
    return inspect.Parameter(name, kind, default=default, annotation=Annotated[taken, flag(option)])


def read_flags(options: Mapping[str, Option], given: Mapping[str, Any]) -> dict[str, Any]:
    """What the command line gave for ``options``, as their values.

    Raises:
        OptionError: a text is not of an option's form.
    """
    kinds = {name: option.kind for name, option in options.items()}
    return {name: value if (kind := kinds[name]) is None else kind.parse(value)
            for name, value in given.items()}  # fmt: skip


def with_config(flags: dict[str, Any], path: Path | None, context: typer.Context) -> dict[str, Any]:
    """``flags`` by keyword, completed by the config file: what the command line says wins.

    Raises:
        OptionError: the file cannot be used, or neither says what the target is.
    """
    from oq.options.config import read_config
    from oq.planning import registry

    written = {} if path is None else read_config(path)
    merge_config(flags, written, context)
    if flags["target"] is None:
        there = ", ".join(registry.names("targets"))
        raise OptionError(f"--target is missing; available: {there}")
    return flags


def merge_config(flags: dict[str, Any], written: Mapping[str, Any], context: typer.Context) -> None:
    """Put what the config file says into ``flags`` where the command line says nothing.

    Raises:
        OptionError: a key that the command has not.
    """
    for name, value in written.items():
        if name not in flags:
            raise OptionError(f"config key {name!r} is not for oq {context.info_name}")
        source = context.get_parameter_source(name)
        if source is None or source.name != "COMMANDLINE":
            flags[name] = value


FORMATS = ("text", "json", "github", "junit")
"""What ``--format`` takes."""


def chosen_format(name: str, as_json: bool) -> str:
    """The form of standard output.

    Raises:
        OptionError: there is no such form, or ``--json`` asks for another.
    """
    if name not in FORMATS:
        raise OptionError(f"--format {name!r}: expected {', '.join(FORMATS)}")
    if as_json and name not in ("text", "json"):
        raise OptionError(f"--json and --format {name} ask for two forms: give one of them")
    return "json" if as_json else name


SEARCHED = ("max_drop", "metric", "eval_data", "labels", "time_limit")
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
