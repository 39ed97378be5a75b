"""Target-independent facts about each ONNX operator: one row per op.

The taxonomy, after google/qwix's ``odml_ops``:

* **compute** ops have an output range of their own: Conv, Gemm, MatMul, Add, averages, Resize;
* **copy** ops only move values, so their output has the scale and zero point of their input:
  MaxPool, Reshape, Transpose, Slice.  Q/DQ pairs may move across them in either direction;
* **activation** ops map one tensor to one of the same shape and can be fused into kernels.

An op without a row stays in float, and the plan says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["compute", "copy", "activation"]

Sign = Literal["any", "input", "positive"]
"""Sign of an output: any, non-negative if all data inputs are, or always non-negative."""


@dataclass(frozen=True, slots=True)
class OpFacts:
    """One row.

    ``data``: input slots of float tensors (empty means every input, as in Concat). ``weight``,
    ``bias``: their slots, or None.  ``weight_axis``: the output-channel axis of the weight, counted
    from the end if negative; a pair (flag, axes) selects by an attribute. ``sign``: see
    :data:`Sign`.
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
    "LSTM": OpFacts("compute", weight=1, weight_axis=1),
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
"""Ops whose output is a shape, not data: neither quantized nor reported."""

STANDARD = frozenset({"", "ai.onnx"})
"""The names of ONNX's own domain."""

SAME_IN_ANY_DOMAIN = frozenset({"DequantizeLinear", "QuantizeLinear"})
"""Operators that com.microsoft defines as ONNX does, for more types."""

RANDOM_OPS = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
     "RandomUniformLike"}
)  # fmt: skip
"""Ops that give other values each time they are run."""

VALUE_SIZED = frozenset({"Compress", "If", "Loop", "NonMaxSuppression", "NonZero", "Unique"})
"""Ops whose outputs have as many elements as the values of their inputs ask for."""

SCATTERING = frozenset({"ScatterElements", "ScatterND"})
"""Ops whose output has the size of their first input, however much they write into it."""

COUNTED = frozenset({"Loop"})
"""Ops whose body is given the number of the turn and a condition first, and returns a condition
first."""

BODIES = frozenset({"If", "Loop", "Scan", "SequenceMap"})
"""Ops with subgraphs."""

CONDITION: Mapping[str, int] = {"If": 0, "Loop": 1}
"""Op -> the input that decides what its bodies do."""

TRANSPOSED_WEIGHT: Mapping[str, tuple[str, int]] = {"Gemm": ("transB", 0)}
"""op -> (attribute, output-channel axis if it is set): Gemm stores (out, in) with transB=1."""


def facts(op: str) -> OpFacts | None:
    """The row of ``op``, or None if there is none."""
    return OPS.get(op)


def only_moves(op: str) -> bool:
    """Whether ``op`` only moves values: a copy op."""
    row = facts(op)
    return row is not None and row.kind == "copy"


def averages(op: str) -> bool:
    """Whether ``op`` takes the mean of the positions of a channel."""
    return op in POOLING and not only_moves(op)


def has_weight(op: str) -> bool:
    """Whether ``op`` has a weight input."""
    row = facts(op)
    return row is not None and row.weight is not None


def bias_slot(op: str) -> int | None:
    """The slot of the bias input of ``op``, None without one."""
    row = facts(op)
    return None if row is None else row.bias


def has_bias(op: str) -> bool:
    """Whether ``op`` has a bias input."""
    return bias_slot(op) is not None


def weight_input(op: str, inputs: Sequence[str]) -> str:
    """Which of its ``inputs`` is the weight of ``op``; "" if it has none.

    >>> weight_input("Conv", ("x", "w", "b")), weight_input("Relu", ("x",))
    ('w', '')
    """
    row = facts(op)
    slot = None if row is None else row.weight
    return "" if slot is None or slot >= len(inputs) else inputs[slot]


def anchor(nodes: Sequence[str], ops: Sequence[str]) -> str:
    """The node after which a kernel is named: the one with a weight, else the first; ``ops`` are
    those of ``nodes``."""
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
    return row.weight_axis % rank if rank else None


CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})

PRODUCTS = frozenset({"Gemm", "MatMul"})
"""Ops whose weight is a matrix, or a stack of them."""

OUTPUT_AXIS: Mapping[str, int] = {**dict.fromkeys(CONVOLUTIONS, 1), **dict.fromkeys(PRODUCTS, -1)}
"""op with a weight -> the channel axis of its output."""

WHOLE_SUMS = frozenset({"Conv", *PRODUCTS})
"""Those of which each output is a sum over all weights of its channel; a ConvTranspose leaves
weights out at its borders and between its strides."""

RECURRENT: Mapping[str, int] = {"LSTM": 2}
"""op -> the slot of the weight that its own state is multiplied by, with the output channels of its
other weight."""

CASTING = frozenset({"Cast"})
"""Ops that change the type of a tensor, not its values."""

STACKING = frozenset({"MatMul"})
"""Ops whose weight may be a stack of matrices: more than two axes, the last two of a matrix."""

ADDING = frozenset({"Add"})
"""Ops that add a constant operand as a bias."""

SUMMING = frozenset({"Add", "Sub", "Sum"})
"""Ops that add and subtract tensors."""

GATING = frozenset(
    {
        *("Concat", "Div", "Gather", "GatherND", "Max", "Min", "Mul", "Pow"),
        *("ScatterElements", "ScatterND", "Slice", "Split", "Where"),
    }
)
"""Ops that scale, join, choose or cut out values: what recurrent cells and caches are made of."""

NORMALIZING = frozenset({"LayerNormalization"})
"""Ops whose constants scale and shift the channels of the last axis."""

SCALING = frozenset({"Mul"})
"""Ops that scale by a constant operand."""

FACTORS: Mapping[str, bool] = {"Div": True, "Mul": False}
"""Ops that scale by a constant operand -> whether they divide by it."""

OFFSETS = frozenset({"Add", "Sub"})
"""Ops that add or subtract a constant operand."""

HOMOGENEOUS: Mapping[str, bool] = {"LeakyRelu": False, "PRelu": False, "Relu": True}
"""Activations with ``f(t x) = t f(x)`` for t > 0 -> whether they clip at 0."""

BOUNDED = frozenset({"Clip"})
"""Activations that clip at constant bounds."""

CLIPPING = frozenset({"Relu", *BOUNDED})
"""Activations that clip and change nothing else."""

SLOPED = frozenset({"LeakyRelu", "PRelu"})
"""Activations that multiply what is negative."""

PIECEWISE = frozenset({*CLIPPING, "LeakyRelu"})
"""Activations that are linear in pieces, which are the same for all channels."""

POOLING: Mapping[str, bool] = {"AveragePool": False, "GlobalAveragePool": True, "MaxPool": False}
"""Ops that combine the positions of a channel -> whether a single position remains."""

RESHAPING: Mapping[str, bool] = {"Flatten": True, "Reshape": False}
"""Ops that keep channels in order -> always, or only if a single position remains."""

IN_ORDER = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})
"""Ops that keep all values in order, and the last axis if its size does not change."""

REDUCING = frozenset({"ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"})
"""Reductions that OpenVINO's CPU plugin fuses a QuantizeLinear into."""

PERMUTING = frozenset({"Transpose"})
"""Ops that permute axes by ``perm``."""

WHOLE_AXIS = frozenset({"Softmax"})
"""Activations over a whole axis, which cannot be fused."""

SINGULAR: Mapping[str, int] = {"Div": 1, "Log": 0, "Reciprocal": 0}
"""op -> the slot of the input at whose 0 it is infinite."""

ZERO_KEEPING = frozenset({"Abs", "Neg", "Sqrt"})
"""Ops that map 0, and nothing else, to 0."""

LOGARITHMS = frozenset({"Log"})
"""Ops whose output tells ratios apart, of small values as of large ones."""

SQUARES = frozenset({"ReduceL2", "ReduceSumSquare"})
"""Ops that sum squares."""

POWERS: Mapping[str, int] = {"Pow": 1}
"""op -> the slot of the exponent of its first input."""

NEVER_NEGATIVE = frozenset(
    {"Abs", "Exp", "ReduceL1", "ReduceL2", "ReduceSumSquare", "Softplus", "Sqrt"}
)
"""Ops without a row whose output is never negative."""

ROOTS = frozenset({"Sqrt"})
"""Ops that make amplitudes of energies."""

LINEAR = frozenset({"Add", "Div", "Mul", "Neg", "Sub"})
"""Elementwise ops that are linear where one input is constant."""

SATURATING = frozenset({"Erf", "Sigmoid", "Tanh"})
"""Functions that are constant but for a part around 0."""

ENERGY_KEEPING = frozenset({"Abs", "Clip", "Max", "ReduceMean", "ReduceSum", "Relu", "Sum"})
"""Ops on energies that leave small ones small."""

NORMALIZED = frozenset({"LogSoftmax", "Softmax"})
"""Activations whose values along an axis are the (log-)probabilities of classes."""

KEEPING = frozenset({"Cast", "Identity"})
"""Ops that keep every value where it is."""

SCORING = frozenset({"LogSoftmax", "Sigmoid", "Softmax"})
"""Final ops that turn logits into probabilities; errors are measured on the logits."""

CHOOSING = frozenset({"ArgMax", "ArgMin", "TopK"})
"""Ops that answer with indices of the largest (smallest) values of their first input."""

BEST_OF = frozenset({"ArgMax"})
"""Those whose answer is one class for each position."""

PICKING = frozenset({"Gather"})
"""Ops that pick slices of their first input by index."""

JOINING = frozenset({"Concat"})
"""Ops that concatenate their inputs."""


def output_axis(op: str) -> int | None:
    """The channel axis of the output of ``op``, negative from the end; None for other ops."""
    return OUTPUT_AXIS.get(op)


RANGES_AT_RUN_TIME = frozenset(
    {"ConvInteger", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulInteger"}
)
"""Integer ops whose data is quantized when they run, so that they need no calibration."""

RANGING = frozenset({"DynamicQuantizeLinear"})
"""Ops that quantize their input with its own range."""
