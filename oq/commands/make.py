"""``oq export``, ``oq demo``, ``oq config`` and ``oq doctor``."""

from pathlib import Path
from typing import Annotated

import typer

from oq.commands.console import say, warn
from oq.commands.flags import JsonOpt
from oq.progress import is_quiet, warnings_alone


def export(
    factory: Annotated[
        str, typer.Argument(metavar="MODULE:FACTORY|FILE.py:FACTORY", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="the ONNX file to write")
    ],
    opset: Annotated[
        int | None, typer.Option("--opset", metavar="N", min=13, help="default: the exporter's")
    ] = None,
    as_json: JsonOpt = False,
) -> None:
    """Export a torch model to ONNX and compare the two."""
    from oq.exporting.export import export as export_model
    from oq.exporting.export import export_lines

    report = export_model(factory, output, opset=opset)
    say(report, export_lines(report), as_json)


def demo(
    folder: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="folder for the files")
    ] = Path("oq-demo"),
    files: Annotated[
        bool, typer.Option("--files", help="only write the files that the documentation uses")
    ] = False,
    as_json: JsonOpt = False,
) -> None:
    """Quantize and evaluate the bundled models and data."""
    from oq.demo import copy_files, demo_lines, run_demo

    if files:
        written = [str(path) for path in copy_files(folder)]
        say({"files": written}, written, as_json)
        return
    with warnings_alone():
        rows = list(run_demo(folder, lambda what: None if as_json or is_quiet() else warn(what)))
    say(rows, demo_lines(rows), as_json)


def config(
    path: Annotated[Path | None, typer.Argument(metavar="FILE.yaml", show_default=False)] = None,
    init: Annotated[bool, typer.Option("--init", help="write a commented file")] = False,
    as_json: JsonOpt = False,
) -> None:
    """Check a config file, or write a commented one with --init."""
    from oq.errors import OptionError
    from oq.model.files import check_writable, write_text
    from oq.options.config import plain_options, read_config, template, write_config

    if init:
        made = Path("quant.yaml") if path is None else path
        if made.exists():
            raise OptionError(f"{str(made)!r} exists; give another name")
        check_writable(made)
        write_text(made, template())
        say({"config": str(made)}, [f"{made}: every key, commented out"], as_json)
        return
    if path is None:
        raise OptionError("oq config needs FILE.yaml to check, or --init to write one")
    found = read_config(path)
    say(plain_options(found), write_config(found).splitlines(), as_json)


def doctor(as_json: JsonOpt = False) -> None:
    """Show versions, providers, and which extras are missing."""
    from oq.doctor import diagnose, diagnosis_lines

    found = diagnose()
    say(found, diagnosis_lines(found), as_json)
