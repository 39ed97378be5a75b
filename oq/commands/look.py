"""Commands that do not run the model: ``plan``, ``check``, ``inspect``, ``targets``,
``calibrators``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from oq.commands.console import say, say_as
from oq.commands.flags import (
    FormatOpt,
    JsonOpt,
    KeepOpt,
    LayerOpt,
    ModelArg,
    ModeOpt,
    OptionalTargetOpt,
    SetOpt,
    ShapeOpt,
    TargetOpt,
    chosen_format,
)
from oq.options.kinds import parse_layers, parse_mode, parse_settings, parse_shapes
from oq.progress import is_verbose
from oq.wording import to_json


def plan(
    model: ModelArg,
    target: TargetOpt,
    why: Annotated[
        str | None, typer.Option("--why", metavar="NAME", help="explain one tensor or node")
    ] = None,
    keep_float: KeepOpt = None,
    layer: LayerOpt = None,
    mode: ModeOpt = "hybrid",
    settings: SetOpt = None,
    shape: ShapeOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Show what would be quantized, and why. Needs no data."""
    from oq import pipeline
    from oq.planning.explain import plan_lines

    overrides: dict[str, Any] = {
        "keep_float": tuple(keep_float or ()),
        "layers": parse_layers(layer),
        "mode": parse_mode(mode),
        "settings": parse_settings(settings),
        "shape": parse_shapes(shape),
    }
    if why is None:
        found = pipeline.make_plan(model, target, **overrides)
        say(found, plan_lines(found, sites=is_verbose()), as_json)
    else:
        lines = pipeline.explain(model, target, why, **overrides)
        say({"name": why, "why": lines}, lines, as_json)


def check(
    model: ModelArg,
    target: OptionalTargetOpt = None,
    settings: SetOpt = None,
    form: FormatOpt = "text",
    as_json: JsonOpt = False,
) -> None:
    """Check any tool's Q/DQ file by the rules of a target.

    Lists the nodes that will run in int8, and why the others will not; exits with 1 on errors.
    Without --target, by those of the target that the file was made for.
    """
    from oq import pipeline
    from oq.checks.describe import judgement_lines
    from oq.reporting.annotations import finding_cases
    from oq.reporting.summary import document, tally

    form = chosen_format(form, as_json)
    found = pipeline.judge(model, target, settings=parse_settings(settings))
    told = document(to_json(tally(found)), found)
    say_as(form, told, judgement_lines(found), str(model), finding_cases(found.findings))
    if any(f.severity == "error" for f in found.findings):
        raise typer.Exit(1)


def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False)],
    as_json: JsonOpt = False,
) -> None:
    """Show what a file holds: ops, grids and sizes.

    FILE is an ONNX file of any tool, or what oq deploy wrote.
    """
    from oq.artifacts.describe import contents_lines
    from oq.artifacts.inspection import inspect as look

    found = look(file)
    say(found, contents_lines(str(file), found), as_json)


def targets(as_json: JsonOpt = False) -> None:
    """List the targets."""
    _list("targets", as_json)


def calibrators(as_json: JsonOpt = False) -> None:
    """List the calibrators."""
    _list("calibrators", as_json)


def _list(kind: str, as_json: bool) -> None:
    from oq.planning import registry

    found = {name: registry.summary(kind, name) for name in registry.names(kind)}
    say(found, columns(found), as_json)


def columns(found: dict[str, str]) -> Iterator[str]:
    """Names and what they are, wrapped in 80 columns."""
    import textwrap

    for name, text in found.items():
        yield from textwrap.wrap(
            text.rstrip("."), 80, initial_indent=f"{name:<14} ", subsequent_indent=" " * 15
        )
