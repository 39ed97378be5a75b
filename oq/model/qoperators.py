"""The integer operators that stand for a float operator between Q/DQ ("QOperator" form), and what
their inputs are.

    y_codes = Q(op(DQ(x_0), DQ(x_1), ...))       one operator, with the grids among its inputs

An operand is written in three inputs, its codes, scale and zero point; the grid of the output in
two.  (ONNX operator specification, QLinearConv-10, QLinearMatMul-10; onnxruntime
``docs/ContribOperators.md`` for those of ``com.microsoft``.)
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from oq.model.ops import STANDARD

Part = Literal["codes", "scale", "zero", "bias", "plain"]
"""What an input is: codes, scale or zero point of an operand; a bias of int32 codes whose scale is
the product of those of operands 0 and 1, zero point 0; a tensor that the float operator has too."""

OUT = -1
"""In place of the slot of an operand: the grid of the output."""

MICROSOFT = "com.microsoft"


@dataclass(frozen=True, slots=True)
class QOperator:
    """``op`` of ``domain`` computes the float operator ``float_op`` on codes.

    ``layout``: one (part, slot of the float operator) per input.  ``repeated``: the layout is
    followed by codes, scale and zero point of every operand, however many.  ``own``: attributes
    that the float operator has not.  ``added``: its bias is a float that is added behind."""

    op: str
    domain: str
    float_op: str
    layout: tuple[tuple[Part, int], ...]
    repeated: bool = False
    own: frozenset[str] = frozenset()
    added: bool = False

    @property
    def requantizes(self) -> bool:
        """Whether its output is codes; it may be float where the output's grid is left out."""
        return ("scale", OUT) in self.layout

    @property
    def operands(self) -> frozenset[int]:
        """The slots of the operands that are codes, where their number is fixed."""
        return frozenset(slot for part, slot in self.layout if part == "codes")

    def inputs(self, count: int) -> Iterator[tuple[Part, int]]:
        """What the inputs are; ``count``: of operands where their number is free.

        >>> [slot for part, slot in BY_NAME["QLinearConcat"].inputs(2) if part == "codes"]
        [0, 1]
        """
        yield from self.layout
        for slot in range(count if self.repeated else 0):
            yield from _operand(slot)


def _operand(slot: int) -> tuple[tuple[Part, int], ...]:
    return ("codes", slot), ("scale", slot), ("zero", slot)


_OUTPUT: tuple[tuple[Part, int], ...] = (("scale", OUT), ("zero", OUT))
_ONE = (*_operand(0), *_OUTPUT)
_TWO = (*_operand(0), *_operand(1), *_OUTPUT)
_BIAS: tuple[tuple[Part, int], ...] = (("bias", 2),)
_FLOAT_OUT: tuple[tuple[Part, int], ...] = (
    *(("codes", 0), ("codes", 1), ("scale", 0), ("scale", 1), ("zero", 0), ("zero", 1)),
    ("plain", 2),
)
_WHERE: tuple[tuple[Part, int], ...] = (("plain", 0), *_operand(1), *_operand(2), *_OUTPUT)

LAST = frozenset({"channels_last"})

QOPERATORS: tuple[QOperator, ...] = (
    QOperator("QLinearConv", "", "Conv", (*_TWO, *_BIAS), own=LAST),
    QOperator("QLinearMatMul", "", "MatMul", _TWO),
    QOperator("QGemm", MICROSOFT, "Gemm", (*_operand(0), *_operand(1), *_BIAS, *_OUTPUT)),
    QOperator("MatMulIntegerToFloat", MICROSOFT, "MatMul", _FLOAT_OUT, added=True),
    QOperator("QLinearAdd", MICROSOFT, "Add", _TWO),
    QOperator("QLinearMul", MICROSOFT, "Mul", _TWO),
    QOperator("QLinearAveragePool", MICROSOFT, "AveragePool", _ONE, own=LAST),
    QOperator("QLinearGlobalAveragePool", MICROSOFT, "GlobalAveragePool", _ONE, own=LAST),
    QOperator("QLinearLeakyRelu", MICROSOFT, "LeakyRelu", _ONE),
    QOperator("QLinearSigmoid", MICROSOFT, "Sigmoid", _ONE),
    QOperator("QLinearSoftmax", MICROSOFT, "Softmax", _ONE, own=frozenset({"opset"})),
    QOperator("QLinearConcat", MICROSOFT, "Concat", _OUTPUT, repeated=True),
    QOperator("QLinearWhere", MICROSOFT, "Where", _WHERE),
)

COMPUTING = frozenset(row.float_op for row in QOPERATORS)
"""The float operators that have an integer one."""

BY_NAME: Mapping[str, QOperator] = {row.op: row for row in QOPERATORS}
"""The row of an integer operator."""


def qoperator(op: str, domain: str) -> QOperator | None:
    """The row of the operator ``op`` of ``domain``; older files have all of them in ONNX's."""
    row = BY_NAME.get(op)
    known = row is not None and domain in {row.domain, *STANDARD}
    return row if known else None
