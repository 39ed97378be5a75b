"""Faults of onnxruntime's optimizer that sessions go around: how each is known, by what it says or
by what the model holds."""

from pathlib import Path

import onnx

from oq.model.qdq import PAIR

MIXED_INT8 = "does not match y_zero_point type UINT8"
"""What onnxruntime 1.32 says of a file of opset 21 and up whose int8 pairs it moved across an op
and then made uint8 ones of, without the type that they name: a fault of its optimizer."""

KEEP_INT8 = "session.qdqisint8allowed"
"""The session entry with which it leaves int8 pairs as they are."""

LOST_OUTPUT = "Failed to find node output"
"""What it says where it fused a residual Add into a grouped convolution whose own output is asked
for, as onnxruntime 1.32 does last of all: with its other optimizations the model loads."""

BOUND_RUN = "Error in execution: "
"""What a failed run with bound outputs says first; its exception is not a type of onnxruntime's."""

NO_ARRAY = ("can't be converted to MLDataType", "No corresponding Numpy type")
"""What onnxruntime says of values whose type NumPy has not: bfloat16, float8."""

BIASES = "WeightBiasQuantization"
"""Its optimizer that quantizes float weights and biases of layers between Q/DQ pairs."""

_FLOAT8 = frozenset(
    number for name, number in onnx.TensorProto.DataType.items() if name.startswith("FLOAT8")
)


def has_float16_scales(model: onnx.ModelProto | Path) -> bool:
    """Whether Q/DQ of ``model`` has float16 scales: onnxruntime 1.32 then quantizes float biases
    with scale(data) * scale(weight) in float16, which is 0 or a few bits, and computes noise
    (2 dB where the file has 65)."""
    if isinstance(model, Path):  # a user's file that oq has not read
        return False
    half = {t.name for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16}
    return any(n.op_type in PAIR and n.input[1] in half for n in model.graph.node)


def has_float8(model: onnx.ModelProto | Path) -> bool:
    """Whether float8 is stored in ``model``: beyond its basic optimizations onnxruntime 1.31 makes
    QLinearConv of its Q/DQ, which takes no float8, and refuses the file; told not to, it computes
    wrong numbers (-8 dB on ResNet-20)."""
    if isinstance(model, Path):  # a user's file that oq has not read
        return False
    return any(t.data_type in _FLOAT8 for t in model.graph.initializer)
