"""``oq export`` and ``oq demo``."""

from pathlib import Path
from typing import Annotated

import typer

from oq.console import say, warn
from oq.flags import JsonOpt


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
    say(report, export_lines(report), as_json)


def demo(
    folder: Annotated[Path, typer.Option("--output", "-o", help="folder for the files")] = Path(
        "oq-demo"
    ),
    as_json: JsonOpt = False,
) -> None:
    """Do the whole job on the bundled models and data."""
    from oq.demo import demo_lines, run_demo

    rows = list(run_demo(folder, lambda what: warn(what) if not as_json else None))
    say(rows, demo_lines(rows), as_json)
