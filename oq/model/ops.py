"""What is true of each ONNX operator, whatever the target: one sorted row per op.

The taxonomy, after google/qwix's ``odml_ops``:

* **compute** ops have an output range of their own: Conv, Gemm, MatMul, Add, averages, Resize;
* **copy** ops only move values, so their output lives on the grid of their input: MaxPool,
  Reshape, Transpose, Slice.  A grid may cross them in either direction;
* **activation** ops map one tensor to one of the same shape and are what kernels fuse.

An op without a row is left in float, and the plan says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["compute", "copy", "activation"]

Sign = Literal["any", "input", "positive"]
"""Of an output: anything, never negative where no data input is, never negative at all."""


@dataclass(frozen=True, slots=True)
class OpFacts:
    """One row.

    ``data``: input slots that carry real values (empty means every input, as in Concat).
    ``weight``, ``bias``: their slots, or None.  ``weight_axis``: the output-channel axis of the
    weight, counted from the end when negative; a pair (flag, axes) picks by an attribute.
    ``sign``: see :data:`Sign`.
    """

    kind: Kind
    data: tuple[int, ...] = (0,)
    weight: int | None = None
    weight_axis: int | None = None
    bias: int | None = None
    sign: Sign = "any"


_UNARY = OpFacts("activation")
_POSITIVE = OpFacts("activation", sign="positive")
_COPY = OpFacts("copy", sign="input")
_PAIR = OpFacts("compute", data=(0, 1))
_SUM = OpFacts("compute", data=(0, 1), sign="input")
_POOL = OpFacts("compute", sign="input")

OPS: Mapping[str, OpFacts] = {
    "Add": _SUM,
    "AveragePool": _POOL,
    "BatchNormalization": _UNARY,
    "Clip": _UNARY,
    "Concat": OpFacts("compute", data=(), sign="input"),
    "Conv": OpFacts("compute", weight=1, weight_axis=0, bias=2),
    "ConvTranspose": OpFacts("compute", weight=1, weight_axis=1, bias=2),
    "DepthToSpace": _COPY,
    "Div": _SUM,
    "Elu": _UNARY,
    "Expand": _COPY,
    "Flatten": _COPY,
    "Gather": _COPY,
    "GatherElements": _COPY,
    "Gelu": _UNARY,
    "Gemm": OpFacts("compute", weight=1, weight_axis=1, bias=2),
    "GlobalAveragePool": _POOL,
    "HardSigmoid": _POSITIVE,
    "HardSwish": _UNARY,
    "Identity": _COPY,
    "LayerNormalization": OpFacts("compute"),
    "LeakyRelu": _UNARY,
    "MatMul": OpFacts("compute", weight=1, weight_axis=-1),
    "MaxPool": _COPY,
    "Mul": _SUM,
    "Pad": OpFacts("copy"),
    "ReduceMax": _COPY,
    "ReduceMin": _COPY,
    "Relu": _POSITIVE,
    "Reshape": _COPY,
    "Resize": OpFacts("compute"),
    "Sigmoid": _POSITIVE,
    "Silu": _UNARY,
    "Slice": _COPY,
    "Softmax": _POSITIVE,
    "SpaceToDepth": _COPY,
    "Split": _COPY,
    "Squeeze": _COPY,
    "Sub": _PAIR,
    "Tanh": _UNARY,
    "Tile": _COPY,
    "Transpose": _COPY,
    "Unsqueeze": _COPY,
    "Where": OpFacts("compute", data=(1, 2)),
}

COMPOSITES: Mapping[str, tuple[str, str]] = {
    "Silu": ("Sigmoid", "Mul"),
    "HardSwish": ("HardSigmoid", "Mul"),
}
"""Activations that exporters write as two nodes: ``y = Mul(x, first(x))``.

Silu: Elfwing et al. 2017; HardSwish: Howard et al. 2019, "Searching for MobileNetV3".
"""

SHAPE_OPS = frozenset({"Constant", "ConstantOfShape", "Range", "Shape", "Size", "NonZero"})
"""Ops whose output is about shapes, not about data: nothing to quantize, nothing to report."""

RANDOM_OPS = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
     "RandomUniformLike"}
)  # fmt: skip
"""Ops that give other values each time they are run."""

BODIES = frozenset({"If", "Loop", "Scan", "SequenceMap"})
"""Ops with graphs inside, which a plan does not reach into."""

TRANSPOSED_WEIGHT: Mapping[str, tuple[str, int]] = {"Gemm": ("transB", 0)}
"""op -> (attribute, output-channel axis when it is set): Gemm stores (out, in) under transB=1."""


def facts(op: str) -> OpFacts | None:
    """The row of ``op``, or None when oq knows nothing of it."""
    return OPS.get(op)


def only_moves(op: str) -> bool:
    """Whether ``op`` only moves values: a copy op."""
    row = facts(op)
    return row is not None and row.kind == "copy"


def has_weight(op: str) -> bool:
    """Whether ``op`` has a slot for a weight."""
    row = facts(op)
    return row is not None and row.weight is not None


def anchor(nodes: Sequence[str], ops: Sequence[str]) -> str:
    """The one of ``nodes`` that their kernel is called after: that with a weight, else the first;
    ``ops`` are theirs."""
    weighted = (node for node, op in zip(nodes, ops, strict=True) if has_weight(op))
    return next(weighted, nodes[0])


def weight_axis(op: str, attributes: Mapping[str, Any], rank: int) -> int | None:
    """The output-channel axis (>= 0) of ``op``'s weight of ``rank`` axes, or None.

    >>> weight_axis("Gemm", {"transB": 1}, 2), weight_axis("MatMul", {}, 3)
    (0, 2)
    """
    row = OPS[op]
    if row.weight_axis is None:
        return None
    flag = TRANSPOSED_WEIGHT.get(op)
    if flag is not None and attributes.get(flag[0]):
        return flag[1]
    return row.weight_axis % rank


OUTPUT_AXIS: Mapping[str, int] = {"Conv": 1, "ConvTranspose": 1, "Gemm": -1, "MatMul": -1}
"""op with a weight -> the channel axis of its output."""

ADDING = frozenset({"Add"})
"""Ops that add a constant operand as a bias."""

NORMALIZING = frozenset({"LayerNormalization"})
"""Ops whose constants scale and shift the channels of the last axis."""

SCALING = frozenset({"Mul"})
"""Ops that scale by a constant operand."""

HOMOGENEOUS: Mapping[str, bool] = {"LeakyRelu": False, "PRelu": False, "Relu": True}
"""Activations with ``f(t x) = t f(x)`` for t > 0 -> whether they cut at 0."""

BOUNDED = frozenset({"Clip"})
"""Activations that cut at constant bounds."""

POOLING: Mapping[str, bool] = {"AveragePool": False, "GlobalAveragePool": True, "MaxPool": False}
"""Ops that mix the positions of a channel -> whether one position is left."""

RESHAPING: Mapping[str, bool] = {"Flatten": True, "Reshape": False}
"""Ops that keep channels in order -> always, or only where one position is left."""

IN_ORDER = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})
"""Ops that keep all values in their order: the last axis too, where its size stays."""

PERMUTING = frozenset({"Transpose"})
"""Ops that permute axes by ``perm``."""

WHOLE_AXIS = frozenset({"Softmax"})
"""Activations that look at a whole axis, which no layer's kernel runs."""

SCORING = frozenset({"LogSoftmax", "Sigmoid", "Softmax"})
"""Last ops that turn scores into probabilities: errors show more evenly in front of them."""

JOINING = frozenset({"Concat"})
"""Ops that put the values of all their inputs into one tensor."""


def output_axis(op: str) -> int | None:
    """The channel axis of the output of ``op``, negative from the end; None for other ops."""
    return OUTPUT_AXIS.get(op)


INTEGER_KERNELS = frozenset(
    {
        "ConvInteger",
        "DynamicQuantizeMatMul",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "QAttention",
        "QGemm",
        "QLinearAdd",
        "QLinearAveragePool",
        "QLinearConcat",
        "QLinearConv",
        "QLinearGlobalAveragePool",
        "QLinearLeakyRelu",
        "QLinearMatMul",
        "QLinearMul",
        "QLinearSigmoid",
        "QLinearSoftmax",
        "QLinearWhere",
    }
)
"""Names that onnxruntime's optimized graphs give to kernels that compute on integers."""

FLOAT_KERNELS = frozenset(
    {
        "Add",
        "AveragePool",
        "BatchNormalization",
        "BiasGelu",
        "Conv",
        "ConvTranspose",
        "Div",
        "Erf",
        "FastGelu",
        "FusedConv",
        "FusedGemm",
        "FusedMatMul",
        "Gelu",
        "Gemm",
        "GlobalAveragePool",
        "HardSigmoid",
        "HardSwish",
        "InstanceNormalization",
        "LayerNormalization",
        "LeakyRelu",
        "MatMul",
        "MatMulNBits",
        "Mul",
        "QuickGelu",
        "ReduceMean",
        "Sigmoid",
        "SimplifiedLayerNormalization",
        "SkipLayerNormalization",
        "Softmax",
        "Sub",
        "Tanh",
    }
)
"""Their float counterparts: nodes that compute, where Reshape and Transpose only move."""
