"""``oq deploy`` and ``oq formats``: from a Q/DQ file to what a device takes."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oq.commands.console import say
from oq.commands.flags import JsonOpt, flag, merge_config, read_flags, takes
from oq.commands.look import columns
from oq.errors import OptionError
from oq.options import deploy_rows
from oq.options.keywords import DeployOptions, options_of
from oq.options.rows import Option
from oq.progress import show_progress

if TYPE_CHECKING:
    from oq.deployment.run import Deployment
    from oq.reporting.report import Report

DEPLOY: dict[str, Option] = options_of(DeployOptions)


@takes(DEPLOY)
def deploy(
    context: typer.Context,
    model: Annotated[Path, typer.Argument(metavar="FILE.onnx", show_default=False)],
    to: Annotated[str | None, flag(deploy_rows.TO)] = None,
    output: Annotated[Path | None, flag(deploy_rows.PLACE)] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE.yaml", help="its key deploy; flags win over it"),
    ] = None,
    as_json: JsonOpt = False,
    **flags: Any,
) -> None:
    """Write a quantized file in the format of a device."""
    from oq.deployment.formats import FORMATS
    from oq.deployment.run import deploy as run
    from oq.deployment.run import deployment_lines

    given = {"to": to, "output": output, **read_flags(DEPLOY, flags)}
    merge_config(given, {} if config is None else _written(config), context)
    if given["to"] is None:
        raise OptionError(f"--to is missing; available: {', '.join(sorted(FORMATS))}")
    with show_progress() as watch:
        found = run(model, **given, watch=watch)
    say(found, deployment_lines(found), as_json)


def _written(path: Path) -> dict[str, Any]:
    """What the config at ``path`` says of deployment.

    Raises:
        OptionError: nothing, or the file cannot be used.
    """
    from oq.options.config import DEPLOY as KEY
    from oq.options.config import read_config

    found = read_config(path)
    if KEY not in found:
        raise OptionError(f"--config {str(path)!r} has no key {KEY!r}; oq config --init lists all")
    return _with_data(found[KEY], found)


INHERITED = ("data", "preprocess")
"""Keys that a deployment has from the run that makes its file, where it does not say otherwise."""


def _with_data(asked: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    return {**{name: run[name] for name in INHERITED if run.get(name) is not None}, **asked}


def take_deployment(options: dict[str, Any], model: Path, path: Path) -> dict[str, Any] | None:
    """What the config key ``deploy`` asks for, out of ``options``, checked as far as that goes
    before the quantized file of ``model`` is at ``path``; None where the key is not given.

    Raises:
        OqError: it would be refused whatever is in the file.
    """
    from oq.deployment.run import check_deployable
    from oq.model.files import check_apart

    asked = options.pop("deploy", None)
    if asked is None:
        return None
    found = _with_data(asked, options)
    place = check_deployable(options["target"], path, **found)
    check_apart({"deploy: output": place}, {"float model": model})
    return found


def say_made(report: "Report", path: Path, asked: Mapping[str, Any] | None, as_json: bool) -> None:
    """Tell of the quantized file at ``path``, and write it in the format that is ``asked`` for."""
    from oq.deployment.run import deployment_lines
    from oq.reporting.summary import document, summarize

    if asked is not None:
        report = replace(report, next_step="")  # that of the device file takes its place
    told = document(summarize(report), report)
    if not as_json:  # first, since a file that cannot be deployed is told of all the same
        say(None, str(report).splitlines(), False)
    if asked is not None:
        made = _deploy_written(path, asked)
        told["deployment"] = made
        if not as_json:
            say(None, ["", *deployment_lines(made)], False)
    if as_json:
        say(told, (), True)


def _deploy_written(path: Path, asked: Mapping[str, Any]) -> "Deployment":
    """The file at ``path`` in the format that is ``asked`` for, which its config tells of then."""
    from oq.deployment.run import deploy as run
    from oq.options.leave import add_to_config

    with show_progress() as watch:
        found = run(path, **asked, watch=watch)
    add_to_config(path, {"deploy": asked})
    return found


def formats(as_json: JsonOpt = False) -> None:
    """List the formats of oq deploy."""
    from oq.deployment.formats import FORMATS, find_format

    found = {name: find_format(name).summary for name in sorted(FORMATS)}
    say(found, columns(found), as_json)
