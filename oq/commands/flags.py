"""The flags of the commands, made of the table of options, and what their words mean."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from oq.errors import OptionError
from oq.options import rows
from oq.options.rows import Option


def flag(option: Option, **changed: Any) -> Any:
    """``option`` as typer takes it; ``changed`` are texts that one command says otherwise."""
    found = {"help": option.meaning, "metavar": option.metavar, "min": option.least, **changed}
    return typer.Option(*option.flags, **found)


ModelArg = Annotated[Path, typer.Argument(metavar="MODEL.onnx", show_default=False)]
TargetOpt = Annotated[str, flag(rows.TARGET)]
DataOpt = Annotated[str, flag(rows.DATA)]
OptionalTargetOpt = Annotated[str | None, flag(rows.TARGET)]
OptionalDataOpt = Annotated[str | None, flag(rows.DATA)]
JsonOpt = Annotated[bool, typer.Option("--json", help="one JSON document on standard output")]
ConfigOpt = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE.yaml", help="see oq config; flags win over it"),
]
SamplesOpt = Annotated[int | None, flag(rows.SAMPLES)]
BatchOpt = Annotated[int, flag(rows.VERIFY_BATCH)]
AutoBatchOpt = Annotated[int | None, flag(rows.BATCH_SIZE)]
PreprocessOpt = Annotated[str | None, flag(rows.PREPROCESS)]
ProviderOpt = Annotated[str, flag(rows.PROVIDER)]
KeepOpt = Annotated[list[str] | None, flag(rows.KEEP_FLOAT)]
LayerOpt = Annotated[list[str] | None, flag(rows.LAYER)]
ModeOpt = Annotated[str, flag(rows.HOW_FAR)]
SetOpt = Annotated[list[str] | None, flag(rows.SETTINGS)]
CalibratorOpt = Annotated[str | None, flag(rows.CALIBRATOR)]
WeightsOpt = Annotated[str | None, flag(rows.WEIGHTS)]
MemoryOpt = Annotated[int | None, flag(rows.MAX_MEMORY)]
ShapeOpt = Annotated[list[str] | None, flag(rows.SHAPE)]
SeedOpt = Annotated[int, flag(rows.SEED)]
SaveRangesOpt = Annotated[
    Path | None, typer.Option("--save-ranges", help="write ranges: .json, else a TensorRT table")
]

Command = TypeVar("Command", bound=Callable[..., None])


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
    for name, value in written.items():
        if name not in flags:
            raise OptionError(f"config key {name!r} is not for oq {context.info_name}")
        source = context.get_parameter_source(name)
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
