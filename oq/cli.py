"""argv -> the pipeline -> words: the commands, and how the program ends.

Exit status: 0 done; 1 done, but a stated limit was missed; 2 the user can act (one line on
standard error); anything else is a bug, with its traceback.  With ``--json`` standard output
carries one JSON document and nothing else.

Nothing heavy is imported here: every command imports what it runs.  :mod:`oq.commands.console`
prints; commands beside the two main ones are in :mod:`oq.commands`.
"""

import logging
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import oq
from oq.commands.calibrate import calibrate
from oq.commands.console import log_handler, miss, say, say_as, warn
from oq.commands.deploy import deploy, formats, say_made, take_deployment
from oq.commands.finetune import finetune
from oq.commands.flags import (
    ConfigOpt,
    DataOpt,
    FormatOpt,
    JsonOpt,
    ModelArg,
    OptionalDataOpt,
    OptionalTargetOpt,
    QuantizedOpt,
    SaveRangesOpt,
    chosen_format,
    read_flags,
    take_budget,
    takes,
    talks,
    with_config,
)
from oq.commands.layout import Grouped
from oq.commands.look import calibrators, check, inspect, plan, targets
from oq.commands.make import config, demo, doctor, export
from oq.commands.output import check_paths, output_of, path_of
from oq.commands.plot import plot
from oq.commands.sensitivity import sensitivity
from oq.errors import OptionError, OqError
from oq.options.keywords import SearchOptions, VerifyOptions, options_of
from oq.options.rows import MAX_DROP, Option
from oq.progress import show_progress
from oq.wording import printable, to_json

if TYPE_CHECKING:
    from oq.comparison.compare import Verification

app = typer.Typer(
    name="oq",
    help="Quantize ONNX models to int8 for the hardware that runs them, and measure the accuracy.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


QUANTIZE: dict[str, Option] = {**options_of(SearchOptions), "max_drop": MAX_DROP}
"""The options of ``oq quantize``, which are those of a search as well."""

VERIFY: dict[str, Option] = options_of(VerifyOptions)


@app.command(cls=Grouped)
@talks
@takes(QUANTIZE)
def quantize(
    context: typer.Context,
    model: ModelArg,
    target: OptionalTargetOpt = None,
    data: OptionalDataOpt = None,
    output: QuantizedOpt = None,
    config: ConfigOpt = None,
    save_ranges: SaveRangesOpt = None,
    as_json: JsonOpt = False,
    **flags: Any,
) -> None:
    """Quantize a float ONNX model for a target."""
    from oq import pipeline
    from oq.reporting.report import missed_budget

    given = {"target": target, "data": data, "deploy": None, **read_flags(QUANTIZE, flags)}
    options = with_config(given, config, context)
    path = output_of(model, output, options)
    device = take_deployment(options, model, path)
    check_paths(model, path, options, {"--save-ranges": save_ranges})
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
    say_made(report, path, device, as_json)
    if report.search is not None and not report.search.met:
        miss(missed_budget(report.search))
    if report.verification is not None and report.verification.collapse:
        miss(f"the quantized model has collapsed: {report.verification.collapse[0]}")


@app.command(cls=Grouped)
@talks
@takes(VERIFY)
def verify(
    float_model: Annotated[Path, typer.Argument(metavar="FLOAT.onnx", show_default=False)],
    quantized: Annotated[Path, typer.Argument(metavar="QUANT.onnx", show_default=False)],
    data: DataOpt,
    form: FormatOpt = "text",
    as_json: JsonOpt = False,
    **flags: Any,
) -> None:
    """Compare a quantized model with its float original."""
    from oq import pipeline
    from oq.model.files import check_apart
    from oq.reporting.annotations import verdict_case
    from oq.reporting.summary import document, figures_of
    from oq.reporting.verdict import judge_drop
    from oq.reporting.verification import layer_lines, verification_lines

    form, options = chosen_format(form, as_json), read_flags(VERIFY, flags)
    read = {"float model": float_model, "quantized model": quantized, "data": path_of(data)}
    check_apart({"--report": path_of(options["report"])}, read)
    limit = options["max_drop"]
    with show_progress() as watch:
        found = pipeline.verify(float_model, quantized, data, **options, watch=watch)
    verdict = judge_drop(found)
    if limit is not None and verdict.drop is None:
        raise OptionError(
            "--max-drop needs a classifier and labelled data (key 'labels', or --labels FILE.csv), "
            "or a --metric"
        )
    remedy = _remedy(found, float_model, quantized, data, options)
    lines = [*verification_lines(found, remedy)]
    if options["per_layer"]:
        lines += ["", *layer_lines(found.layers)]
    told = document(to_json(figures_of(found, verdict)), {**to_json(found), **to_json(verdict)})
    say_as(form, told, [*lines, "", str(verdict)], str(quantized), [verdict_case(verdict)])
    if not verdict.passed:
        miss(str(verdict))


def _remedy(
    found: "Verification",
    float_model: Path,
    quantized: Path,
    data: str,
    options: Mapping[str, Any],
) -> str:
    """The command to try where the model has collapsed."""
    from oq import pipeline
    from oq.model.metadata import target_of

    made_for = target_of(quantized) if found.collapse and not found.read_once else None
    read = options["preprocess"], options["rename"]
    return pipeline.remedy(float_model, made_for, data, *read)


for command in (
    sensitivity,
    plot,
    calibrate,
    plan,
    check,
    inspect,
    finetune,
    deploy,
    config,
    export,
    demo,
    doctor,
):
    app.command(cls=Grouped)(talks(command))
for listing in (targets, calibrators, formats):
    app.command()(listing)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", "-V", help="print the version")] = False,
    plugin: Annotated[
        list[Path] | None,
        typer.Option(
            "--plugin",
            metavar="FILE.py",
            help="a file that defines a TARGET or CALIBRATOR; repeatable",
        ),
    ] = None,
    custom_ops: Annotated[
        list[Path] | None,
        typer.Option(
            "--custom-ops",
            metavar="LIBRARY",
            help="a library of onnxruntime custom ops; repeatable",
        ),
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


SCHEMA = 1
"""That of :mod:`oq.reporting.summary`, which is not imported to say that something is wrong."""


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for JSON, whatever else is wrong with it."""
    forms = zip(arguments, (*arguments[1:], ""), strict=True)
    asked = "--json" in arguments or "--format=json" in arguments
    return asked or ("--format", "json") in forms


INTERRUPTED = 130
"""The exit status after Ctrl-C."""

CRASHED = 70
"""The exit status of a bug in oq: EX_SOFTWARE of sysexits.h.  (0: done, 1: a limit was missed,
2: the user can act.)"""


UsageError: Any = typer.BadParameter.__mro__[1]
"""What an unknown flag raises: click's, or that of the copy of click in newer versions of typer."""


def main() -> None:
    """The console script."""
    logging.basicConfig(level=logging.WARNING, handlers=[log_handler()])
    try:
        code = app(_spelled_out(sys.argv[1:]), standalone_mode=False)
        if code == INTERRUPTED:
            warn("interrupted")
        sys.exit(code or 0)
    except UsageError as error:
        _say_error("OptionError", error.format_message())
        error.show()
        sys.exit(2)
    except OqError as error:
        _say_error(type(error).__name__, str(error))
        warn(str(error))
        sys.exit(2)
    except Exception:
        print(printable(traceback.format_exc()), file=sys.stderr)
        warn("this is a bug in oq: please report it with the lines above")
        sys.exit(CRASHED)


def _spelled_out(arguments: list[str]) -> list[str]:
    """``oq help quantize`` is ``oq quantize --help``."""
    return [*arguments[1:2], "--help"] if arguments[:1] == ["help"] else arguments


def _say_error(kind: str, message: str) -> None:
    """The error as JSON, where the command line asks for JSON."""
    if wants_json(sys.argv):
        say({"schema": SCHEMA, "error": {"kind": kind, "message": message}}, (), True)
