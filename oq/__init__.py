"""Quantize ONNX models to int8 for the runtime that will execute them, and measure the accuracy.

    import oq
    result = oq.quantize("model.onnx", target="trt", data="calib.npz")
    result.save("model.int8.onnx")
    print(result.report)

What there is, each with its own help:

    quantize     a float model for a target, within max_drop if given; a Result: model, report,
                 save, deploy
    search       the same into a file, with a journal from which it goes on
    verify       a quantized model against its float original
    calibrate    statistics only, into a cache
    sensitivity  which layers cost how much
    make_plan    what would be quantized, and why; needs no data
    judge        what a target will run in int8 of a file of any tool; check: the findings alone
    plot         a chart of a result, a report or a ranking as a matplotlib figure
    deploy       a quantized file in the format of a device
    inspect      what an ONNX or device file holds
    to_torch     an ONNX file, float or Q/DQ, as a torch module
    finetune     quantize, and train on the calibration data against the float model
    prepare_qat  a module to train quantization-aware, and back to the same file

Names are imported on first use, so that ``import oq`` and ``oq --help`` stay fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oq.artifacts.inspection import inspect
    from oq.budget.quantize import quantize
    from oq.budget.search import search
    from oq.deployment.run import deploy
    from oq.errors import DataError, MissingExtra, ModelError, OptionError, OqError
    from oq.page.picture import plot
    from oq.pipeline import Result, calibrate, check, judge, make_plan, verify
    from oq.ranking.rank import sensitivity
    from oq.training.convert import to_torch
    from oq.training.finetune import finetune
    from oq.training.prepare import prepare_qat

__version__ = "0.2.0"

_HOMES = {
    "DataError": "oq.errors",
    "MissingExtra": "oq.errors",
    "ModelError": "oq.errors",
    "OptionError": "oq.errors",
    "OqError": "oq.errors",
    "Result": "oq.pipeline",
    "calibrate": "oq.pipeline",
    "check": "oq.pipeline",
    "deploy": "oq.deployment.run",
    "finetune": "oq.training.finetune",
    "inspect": "oq.artifacts.inspection",
    "judge": "oq.pipeline",
    "make_plan": "oq.pipeline",
    "plot": "oq.page.picture",
    "prepare_qat": "oq.training.prepare",
    "quantize": "oq.budget.quantize",
    "search": "oq.budget.search",
    "sensitivity": "oq.ranking.rank",
    "to_torch": "oq.training.convert",
    "verify": "oq.pipeline",
}

__all__ = [
    "DataError",
    "MissingExtra",
    "ModelError",
    "OptionError",
    "OqError",
    "Result",
    "calibrate",
    "check",
    "deploy",
    "finetune",
    "inspect",
    "judge",
    "make_plan",
    "plot",
    "prepare_qat",
    "quantize",
    "search",
    "sensitivity",
    "to_torch",
    "verify",
]


def __dir__() -> list[str]:
    """The public names, before they are imported too: for completion."""
    return [*__all__, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'oq' has no attribute {name!r}")
