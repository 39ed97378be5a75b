"""Quantize ONNX models to int8 for the runtime that will execute them, and measure the accuracy.

    import oq
    result = oq.quantize("model.onnx", target="trt", data="calib.npz")
    result.save("model.int8.onnx")
    print(result.report)

Names are imported on first use, so that ``import oq`` and ``oq --help`` stay fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oq.artifacts.inspection import inspect
    from oq.budget.search import search
    from oq.deployment.run import deploy
    from oq.errors import DataError, MissingExtra, ModelError, OptionError, OqError
    from oq.pipeline import Result, calibrate, check, judge, make_plan, quantize, verify
    from oq.ranking.rank import sensitivity
    from oq.training.convert import to_torch
    from oq.training.prepare import prepare_qat

__version__ = "0.1.0"

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
    "inspect": "oq.artifacts.inspection",
    "judge": "oq.pipeline",
    "make_plan": "oq.pipeline",
    "prepare_qat": "oq.training.prepare",
    "quantize": "oq.pipeline",
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
    "inspect",
    "judge",
    "make_plan",
    "prepare_qat",
    "quantize",
    "search",
    "sensitivity",
    "to_torch",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'oq' has no attribute {name!r}")
