"""``oq deploy`` and ``oq formats``: from a Q/DQ file to what a device takes."""

from pathlib import Path
from typing import Annotated, Any

import typer

from oq.commands.console import say
from oq.commands.flags import JsonOpt, read_flags, takes
from oq.commands.look import columns
from oq.options.keywords import DeployOptions, options_of
from oq.options.rows import Option
from oq.progress import show_progress

DEPLOY: dict[str, Option] = options_of(DeployOptions)


@takes(DEPLOY)
def deploy(
    model: Annotated[Path, typer.Argument(metavar="FILE.onnx", show_default=False)],
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help="see oq formats")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="default: beside FILE.onnx")
    ] = None,
    as_json: JsonOpt = False,
    **flags: Any,
) -> None:
    """Write a quantized file in the format of a device."""
    from oq.deployment.run import deploy as run
    from oq.deployment.run import deployment_lines

    with show_progress() as watch:
        found = run(model, to, output, **read_flags(DEPLOY, flags), watch=watch)
    say(found, deployment_lines(found), as_json)


def formats(as_json: JsonOpt = False) -> None:
    """List the formats of oq deploy."""
    from oq.deployment.formats import FORMATS, find_format

    found = {name: find_format(name).summary for name in sorted(FORMATS)}
    say(found, columns(found), as_json)
