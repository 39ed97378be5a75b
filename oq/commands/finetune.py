"""``oq finetune``: quantization-aware training without a loop of one's own."""

from typing import Any

import typer

from oq.commands.console import miss
from oq.commands.deploy import say_made, take_deployment
from oq.commands.flags import (
    ConfigOpt,
    JsonOpt,
    ModelArg,
    OptionalDataOpt,
    OptionalTargetOpt,
    QuantizedOpt,
    read_flags,
    takes,
    with_config,
)
from oq.commands.output import check_paths, output_of
from oq.options.keywords import FinetuneOptions, options_of
from oq.options.rows import Option
from oq.progress import show_progress

HIDDEN = ("report", "ranking", "format")
"""Keywords that mean nothing here."""

FINETUNE: dict[str, Option] = {
    name: option for name, option in options_of(FinetuneOptions).items() if name not in HIDDEN
}


@takes(FINETUNE)
def finetune(
    context: typer.Context,
    model: ModelArg,
    target: OptionalTargetOpt = None,
    data: OptionalDataOpt = None,
    output: QuantizedOpt = None,
    config: ConfigOpt = None,
    as_json: JsonOpt = False,
    **flags: Any,
) -> None:
    """Quantize, then train the file against the float model.

    A run that was killed goes on from OUT.state.safetensors when it is started again.
    """
    from oq import pipeline
    from oq.training.finetune import finetune as run

    given = {"target": target, "data": data, "deploy": None, **read_flags(FINETUNE, flags)}
    options = with_config(given, config, context)
    path = output_of(model, output, options)
    device = take_deployment(options, model, path)
    state = path.with_name(f"{path.name}.state.safetensors")
    check_paths(model, path, options, {"the state beside -o": state})
    with show_progress() as watch:
        result = pipeline.finish(run(model, **options, state=state, watch=watch), path, "finetune")
    state.unlink(missing_ok=True)
    report = result.report
    say_made(report, path, device, as_json)
    if report.verification is not None and report.verification.collapse:
        miss(f"the quantized model has collapsed: {report.verification.collapse[0]}")
