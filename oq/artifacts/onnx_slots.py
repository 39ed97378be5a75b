"""Where an operator of an ONNX file has its grids: one row per op, by the slots of its inputs.

Sources: the ONNX operator schemas, and onnxruntime's ``docs/ContribOperators.md`` for the domain
com.microsoft.
"""

from collections.abc import Mapping
from dataclasses import dataclass

OUTPUT = -1
"""In place of a slot: the first output."""


@dataclass(frozen=True, slots=True)
class Slots:
    """The slots of one quantized tensor, of its scale and of its zero point; None where the
    operator takes none.  ``every``: it repeats after so many slots, up to the last."""

    codes: int
    scale: int | None
    zero: int | None
    every: int = 0

    def repeated(self, inputs: int) -> tuple["Slots", ...]:
        """One for each tensor of an operator with so many ``inputs``.

        >>> [s.codes for s in Slots(2, 3, 4, every=3).repeated(8)]
        [2, 5]
        """
        if not self.every:
            return (self,)
        starts = range(0, inputs - self.codes, self.every)
        return tuple(
            Slots(self.codes + i, _plus(self.scale, i), _plus(self.zero, i)) for i in starts
        )


def _plus(slot: int | None, by: int) -> int | None:
    return None if slot is None else slot + by


_UNARY = (Slots(0, 1, 2), Slots(OUTPUT, 3, 4))
_BINARY = (Slots(0, 1, 2), Slots(3, 4, 5), Slots(OUTPUT, 6, 7))

GRIDS: Mapping[str, tuple[Slots, ...]] = {
    "ConvInteger": (Slots(0, None, 2), Slots(1, None, 3)),
    "DequantizeLinear": (Slots(0, 1, 2),),
    "DynamicQuantizeLSTM": (Slots(1, 8, 9), Slots(2, 10, 11)),
    "DynamicQuantizeLinear": (Slots(OUTPUT, None, None),),
    "DynamicQuantizeMatMul": (Slots(1, 2, 3),),
    "GatherBlockQuantized": (Slots(0, 2, 3),),
    "MatMulInteger": (Slots(0, None, 2), Slots(1, None, 3)),
    "MatMulIntegerToFloat": (Slots(0, 2, 4), Slots(1, 3, 5)),
    "MatMulNBits": (Slots(1, 2, 3),),
    "QAttention": (Slots(0, 3, 6), Slots(1, 4, 7)),
    "QGemm": (Slots(0, 1, 2), Slots(3, 4, 5), Slots(OUTPUT, 7, 8)),
    "QLinearAdd": _BINARY,
    "QLinearAveragePool": _UNARY,
    "QLinearConcat": (Slots(OUTPUT, 0, 1), Slots(2, 3, 4, every=3)),
    "QLinearConv": _BINARY,
    "QLinearGlobalAveragePool": _UNARY,
    "QLinearLeakyRelu": _UNARY,
    "QLinearMatMul": _BINARY,
    "QLinearMul": _BINARY,
    "QLinearReduceMean": _UNARY,
    "QLinearSigmoid": _UNARY,
    "QLinearSoftmax": _UNARY,
    "QLinearWhere": (Slots(1, 2, 3), Slots(4, 5, 6), Slots(OUTPUT, 7, 8)),
}
"""Op -> its quantized tensors.  QuantizeLinear is apart: it is called by the tensor it rounds."""

FORMS: Mapping[str, str] = {
    "DequantizeLinear": "Q/DQ",
    "DynamicQuantizeLSTM": "ranges at run time",
    "DynamicQuantizeLinear": "ranges at run time",
    "DynamicQuantizeMatMul": "ranges at run time",
    "GatherBlockQuantized": "weights in blocks",
    "MatMulNBits": "weights in blocks",
    "QuantizeLinear": "Q/DQ",
    **dict.fromkeys(
        [op for op in GRIDS if op.startswith("QLinear") or op in {"QAttention", "QGemm"}],
        "integer operators",
    ),
    **dict.fromkeys(("ConvInteger", "MatMulInteger", "MatMulIntegerToFloat"), "integer operators"),
}
"""Op -> the way in which a file that has it is quantized."""

QUANTIZERS: Mapping[str, Slots] = {"QuantizeLinear": Slots(0, 1, 2)}
"""Ops that write the codes of a float tensor, whose slot is ``codes``."""

PACKED = frozenset({"MatMulNBits", "GatherBlockQuantized"})
"""Ops whose codes are packed in bytes; attributes say how many bits they have."""

SAME_VALUES = frozenset({"Cast", "Identity", "Reshape"})
"""Ops across which a constant keeps its values."""

WRITTEN = frozenset({"Constant"})
"""Ops that hold a constant."""

ATTRIBUTES: Mapping[str, str] = {
    "value_float": "float32",
    "value_floats": "float32",
    "value_int": "int64",
    "value_ints": "int64",
}
"""Attributes of a Constant beside its tensor -> their dtype."""
