"""Raise the default operator set to what the target's Q/DQ needs (13 for per-channel scales)."""

import onnx
from onnx import version_converter

from oq.errors import ModelError, one_line

SCAN_WITHOUT_BATCH = 9
"""The opset since which Scan has no axis of samples; ONNX's converter leaves it as it is."""


def raise_opset(model: onnx.ModelProto, minimum: int) -> onnx.ModelProto:
    """``model`` itself when its opset is high enough, else a converted copy.

    Raises:
        ModelError: ONNX's version converter cannot convert the model, or would do so wrongly.
    """
    found = opset(model)
    if found >= minimum:
        return model
    if found < SCAN_WITHOUT_BATCH and any(n.op_type == "Scan" for n in model.graph.node):
        raise ModelError(
            f"the model has opset {found}, whose Scan has an axis of samples that later ones have "
            f"not, and ONNX does not convert it; export it again with opset {minimum} or later"
        )
    try:
        return version_converter.convert_version(model, minimum)
    except (RuntimeError, version_converter.ConvertError) as error:
        raise ModelError(
            f"the model has opset {found}, the target needs {minimum}, and ONNX cannot convert it "
            f"({one_line(error)[:200]}); export it again with opset {minimum} or later"
        ) from error


def opset(model: onnx.ModelProto) -> int:
    """The version of the default operator set."""
    return max((o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}), default=0)
