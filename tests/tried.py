"""One model through one target, and what must hold of whatever comes out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

import oq
from oq.errors import OqError
from oq.model.session import KEEP_INT8, MIXED_INT8

LEAST_DB = 3.0
"""A mean of noise on the grid of what it averages is coarse, but not noise itself."""

SAME_DB = 50.0
"""Where nothing is quantized.  (A target may round slopes: 25.6/256 for 0.1.)"""


def fault(
    model: onnx.ModelProto, feeds: Mapping[str, Any], target: str, *, batched: bool = False
) -> str | None:
    """What is wrong with the outcome of quantizing ``model``; None if it is right, or refused in
    a sentence.  ``batched``: ``feeds`` hold several samples along their first axis.

    A file must pass ONNX's checker and load in onnxruntime where the float model does, and give
    outputs of the same names, types and shapes, finite where the float ones are, and close to them.
    """
    try:
        data = dict(feeds) if batched else [dict(feeds)]
        made = oq.quantize(model, target, data, verify=False, refine="none")
    except OqError as refusal:
        return None if len(str(refusal)) < 1000 and "\n" not in str(refusal) else f"{refusal}"
    except Exception as bug:
        return f"{type(bug).__name__}: {bug}"
    if _checks(model) and not _checks(made.model):
        return "the checker refuses it"
    exact, found = _run(model, feeds), _run(made.model, feeds)
    if isinstance(exact, str):
        return None  # there is nothing to compare with
    if isinstance(found, str):
        return found
    least = LEAST_DB if made.report.plan.sites else SAME_DB
    names = [o.name for o in model.graph.output]
    if names != [o.name for o in made.model.graph.output]:
        return "its outputs have other names"
    for name, a, b in zip(names, exact, found, strict=True):
        said = _differ(a, b, least)
        if said is not None:
            return f"{name}: {said}"
    return None


def _checks(model: onnx.ModelProto) -> bool:
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return False
    return True


def _run(model: onnx.ModelProto, feeds: Mapping[str, Any]) -> list[Any] | str:
    """The outputs in onnxruntime without oq between, or why there are none."""
    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    try:
        outputs: list[Any] = _session(model, options).run(None, dict(feeds))
    except Exception as error:  # of any kind: onnxruntime has no common base of its own
        return f"onnxruntime: {error}"
    return outputs


def _session(model: onnx.ModelProto, options: ort.SessionOptions) -> ort.InferenceSession:
    try:
        return ort.InferenceSession(model.SerializeToString(), options)
    except Exception as error:
        if MIXED_INT8 not in str(error):
            raise
        options.add_session_config_entry(KEEP_INT8, "1")  # onnxruntime's fault, which oq says
        return ort.InferenceSession(model.SerializeToString(), options)


def _differ(exact: Any, found: Any, least: float) -> str | None:
    if not isinstance(exact, np.ndarray):
        return None if type(exact) is type(found) else "another type"
    if not isinstance(found, np.ndarray) or exact.dtype != found.dtype:
        return "another type"
    if exact.shape != found.shape:
        return f"shape {found.shape} for {exact.shape}"
    if exact.dtype.kind not in "fiu":
        return None
    a, b = exact.astype(np.float64).ravel(), found.astype(np.float64).ravel()
    usable = np.isfinite(a)
    a, b = a[usable], b[usable]
    if not np.isfinite(b).all():
        return "not finite"
    signal, noise = float(a @ a), float((a - b) @ (a - b))
    if noise > signal * 10 ** (-least / 10):
        return f"SQNR {10 * np.log10(signal / noise) if signal else -np.inf:.1f} dB"
    return None
