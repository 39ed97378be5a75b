"""Lower the default operator set to one whose Q/DQ onnxruntime runs."""

import onnx
from onnx import defs

from oq.errors import ModelError
from oq.model.bodies import nodes_in
from oq.model.ops import STANDARD
from oq.prepare.raise_opset import opset

NEWEST = 27
"""The last opset whose QuantizeLinear onnxruntime 1.32 has a kernel for.  It has none for that of
opset 28, though it runs most other operators of it."""


def lower_opset(model: onnx.ModelProto, newest: int = NEWEST) -> onnx.ModelProto:
    """``model`` itself when its opset is ``newest`` at most, else a copy that says so: its
    operators are those of ``newest``.

    Raises:
        ModelError: an operator has changed since.
    """
    found = opset(model)
    if found <= newest:
        return model
    for node in nodes_in(model.graph):
        if node.domain in STANDARD and _since(node.op_type, found) != _since(node.op_type, newest):
            raise ModelError(
                f"the model has opset {found}, for which onnxruntime has no QuantizeLinear, and "
                f"its {node.op_type} is newer than opset {newest}; export it with opset {newest} "
                "or earlier"
            )
    lowered = onnx.ModelProto()
    lowered.CopyFrom(model)
    for entry in lowered.opset_import:
        if entry.domain in STANDARD:
            entry.version = newest
    return lowered


def _since(op: str, version: int) -> int | None:
    """The opset that brought the ``op`` of opset ``version``; None for one that ONNX has not."""
    if not defs.has(op, version):
        return None
    return int(defs.get_schema(op, version).since_version)
