"""onnxruntime, CPU execution provider: uint8 affine activations, int8 weights, int32 bias.

The rules follow onnxruntime's QDQ selectors (``core/optimizer/qdq_transformer``) and probes of the
optimized graphs of one-op models:

* A kernel runs in integers if every data input comes from a DequantizeLinear and its output feeds a
  single QuantizeLinear and nothing else.  Gemm and MatMul may also write float.
* ReLU and Clip fuse if the QuantizeLinear after them saturates at the same bounds: zero point =
  lowest integer, which affine uint8 has after a ReLU.
* Bias is int32 with scale(data) * scale(weight); a constant operand must come from a
  DequantizeLinear.
* Ops that only move values run on integers if input and output have the same scale and zero point.
* A product with a positive constant keeps the integers of its input, with the scale times the
  constant.  A sum with a constant has a calibrated range: the constant is not a multiple of a
  calibrated scale.
* Layers that would be slower in integers stay in float (:mod:`oq.planning.speed`): a first
  convolution over few channels, average pooling over windows, an Add between products and
  LayerNormalization.
* A MatMul of fixed sizes and an Add of a bias (out,) are fused into a float Gemm; a bias (1, out)
  prevents this (:mod:`oq.prepare.bias_as_matrix`).
* After MatMulIntegerToFloat an Add is a separate pass over the floats (1 to 8 % of a block of two
  layers), so a MatMul without a bias does not get one.
* Softmax in int8 has steps of 1/256, which makes small probabilities equal, so it stays float.
* Weight-only (``weights=int4``, ``weights=int8``): a blockwise DequantizeLinear in front of a
  MatMul or Gemm becomes a MatMulNBits when the model is loaded (:mod:`oq.planning.blocks`).
"""

from collections.abc import Callable
from dataclasses import replace

from oq.checks.obstacles import (
    blocks_are_shared,
    clip_differs_from_range,
    float_output_without_int32_bias,
    int8_is_shared,
    int8_operand_is_stored,
    row_bias_makes_a_gemm,
    signs_differ,
    table_is_dequantized_whole,
)
from oq.errors import OptionError
from oq.model.ops import OPS
from oq.numerics.values import (
    INT4,
    INT8,
    INT8_AFFINE,
    INT8_NARROW,
    INT16,
    UINT4,
    UINT8,
    UINT16,
    QType,
)
from oq.planning.blocks import ONLY_WEIGHTS, bias_is_no_row, has_no_weight, weight_is_no_matrix
from oq.planning.predicates import (
    bias_is_not_constant,
    both_operands_vary,
    data_is_not_float,
    first_operand_is_constant,
    gemm_is_scaled,
    operand_varies,
    resize_is_not_nearest,
    weight_is_not_constant,
)
from oq.planning.spec import Fixed
from oq.planning.speed import averages_windows, inputs_are_float, window_of_few_channels
from oq.planning.tables import picks_no_rows, rows_lose_too_much, table_is_read_in_float
from oq.planning.target import OpRule, Output, Runtime, Target, as_is

RELU = ("Relu", "Clip")
COPY = (
    "DepthToSpace",
    "Expand",
    "Flatten",
    "Gather",
    "GatherElements",
    "MaxPool",
    "ReduceMax",
    "ReduceMin",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
)
WEIGHTED = (data_is_not_float, weight_is_not_constant, bias_is_not_constant)
FIRST = (window_of_few_channels,)
BETWEEN = (inputs_are_float,)
MATMUL = (data_is_not_float, both_operands_vary, first_operand_is_constant)
FUSION = (
    clip_differs_from_range,
    signs_differ,
    float_output_without_int32_bias,
    row_bias_makes_a_gemm,
)
ON_X86_PASS = "widen_input"
"""A pass whose gain was measured only on x86."""

ON_X86 = ("shared-int8", "loads")
"""Checks of int8 activations, which onnxruntime turns into uint8 on x86 only."""


def on_arm(target: Target) -> Target:
    """ARM's kernels support int8 activations directly; on x86 they are converted to uint8 first.

    The quantized values are 128 lower and represent the same real values (onnxruntime, "Quantize
    ONNX models": S8S8 on ARM, U8S8 on x86).  First layers and averages are quantized, and images
    keep their number of channels, since the speed of these was measured only on x86.  Weights in
    blocks are the same on both.
    """
    if target.block is not None:
        return target
    return replace(
        target,
        summary="onnxruntime CPU on ARM: int8 affine activations, int8 weights",
        activations=INT8_AFFINE,
        passes=tuple(p for p in target.passes if p != ON_X86_PASS),
        checks=tuple(c for c in target.checks if c not in ON_X86),
        runtime=replace(target.runtime, obstacles=FUSION),
        rules=tuple(_arm_row(r) for r in target.rules),
    )


def _arm_row(rule: OpRule) -> OpRule:
    slower = tuple(p for p in rule.slower if p in BETWEEN)
    fixed = isinstance(rule.output, Fixed)
    output = Fixed(INT8_AFFINE, 1 / 256, -128) if fixed else rule.output
    return replace(rule, output=output, slower=slower)


def attention_in_int8(target: Target) -> Target:
    """Also quantizes the products of two activations and the Softmax between them.

    Measured on the bundled transformer: 1.15 of the float time, against 0.98 without.
    """
    if target.block is not None:
        raise OptionError(
            "--set attention=int8 cannot be combined with weights=int4 or int8, which leave "
            "activations in float"
        )
    codes = target.activations
    softmax = OpRule(("Softmax",), Fixed(codes, 1 / 256, codes.qmin), unless=(data_is_not_float,))
    rows = (
        replace(r, unless=tuple(p for p in r.unless if p is not both_operands_vary))
        for r in target.rules
    )
    return replace(target, rules=(*rows, softmax))


WEIGHTS = (has_no_weight, data_is_not_float, weight_is_no_matrix)
TABLE = OpRule(
    ("Gather",),
    inputs=False,
    constants=True,
    columns=True,
    unless=(picks_no_rows, table_is_read_in_float, rows_lose_too_much),
)
IN_BLOCKS = (
    TABLE,
    OpRule(
        ("Gemm",),
        inputs=False,
        unless=(*WEIGHTS, bias_is_no_row, gemm_is_scaled),
    ),
    OpRule(("MatMul",), inputs=False, unless=(first_operand_is_constant, *WEIGHTS)),
)
"""MatMulNBits: the weight is read in blocks, data and output are float."""

BLOCKS = ("32", "16", "64", "128", "256")
"""Inputs that share a scale; MatMulNBits takes powers of two from 16 on."""

ROUNDED, EXACT = 4, 0
"""Accuracy levels of MatMulNBits: the kernel rounds the data to int8 in blocks (45 dB), or computes
in float, which takes 3 times as long with 4 bits and 30 times with 8."""

SYMMETRIC = {"uint4": INT4, "uint8": INT8}


def weights_in_blocks(bits: int, codes: QType) -> Callable[[Target], Target]:
    """``weights=int4``, ``weights=int8``: only weights are quantized, so no data is needed.

    A scale and a zero point per 32 inputs and output channel.  4-bit error on normal weights: 21.8
    dB with zero points and 21.3 without, 19.9 in blocks of 128.
    """

    def variant(target: Target) -> Target:
        only = ONLY_WEIGHTS.format(layers="MatMul and Gemm")
        return replace(
            target,
            summary=f"onnxruntime CPU: {bits}-bit weights of MatMul and Gemm, float activations",
            weights=codes,
            block=int(BLOCKS[0]),
            packs_blocks=ROUNDED,
            min_opset=21,
            rules=IN_BLOCKS,
            reasons=dict.fromkeys(OPS, only),
            refine=("bias", "round"),
            passes=("plain_gemm", "upright_gemm"),
        )

    return variant


def in_blocks_of(size: str) -> Callable[[Target], Target]:
    """``block=128``: so many inputs share a scale."""

    def variant(target: Target) -> Target:
        _insist_on_blocks(target, f"block={size}")
        return replace(target, block=int(size))

    return variant


def symmetric_blocks(target: Target) -> Target:
    """``zero_points=none``: a scale per block only, of the least squared error, since with 15
    levels the largest weight should be clipped (1 dB)."""
    _insist_on_blocks(target, "zero_points=none")
    return replace(target, weights=SYMMETRIC[target.weights.dtype], weight_range="mse")


def in_q_dq(target: Target) -> Target:
    """``form=qdq``: a blockwise DequantizeLinear, for other readers of ONNX."""
    _insist_on_blocks(target, "form=qdq")
    return replace(target, packs_blocks=None)


def exact_products(target: Target) -> Target:
    """``accuracy_level=0``: the data is not rounded."""
    _insist_on_blocks(target, "accuracy_level=0")
    if target.packs_blocks is None:
        raise OptionError(
            "--set accuracy_level=0: a Q/DQ file does not say it; load it with the session entry "
            "session.qdq_matmulnbits_accuracy_level=0"
        )
    return replace(target, packs_blocks=EXACT)


def float_tables(target: Target) -> Target:
    """``embeddings=float``: tables stay as they are."""
    return replace(target, rules=tuple(r for r in target.rules if r is not TABLE))


def _insist_on_blocks(target: Target, setting: str) -> None:
    if target.block is None:
        raise OptionError(f"--set {setting} is for --set weights=int4 and weights=int8")


TARGET = Target(
    name="ort",
    summary="onnxruntime CPU: uint8 affine activations, int8 weights",
    activations=UINT8,
    dtypes=(UINT8, INT8_AFFINE, UINT16, INT16),
    weights=INT8_NARROW,
    min_opset=13,
    exclusive=True,
    # no equalize: weights have a scale per channel, so it adds nothing
    refine=("smooth", "bias", "ranges", "round"),
    options={
        "weights": {
            "static": as_is,
            "int8": weights_in_blocks(8, UINT8),
            "int4": weights_in_blocks(4, UINT4),
        },
        "block": {size: in_blocks_of(size) if i else as_is for i, size in enumerate(BLOCKS)},
        "zero_points": {"affine": as_is, "none": symmetric_blocks},
        "form": {"nbits": as_is, "qdq": in_q_dq},
        "accuracy_level": {str(ROUNDED): as_is, str(EXACT): exact_products},
        "embeddings": {"int8": as_is, "float": float_tables},
        "platform": {"x86": as_is, "arm": on_arm},
        "attention": {"float": as_is, "int8": attention_in_int8},
    },
    rules=(
        TABLE,
        OpRule(("Conv", RELU), output=Output.OWN, bias="int32", unless=WEIGHTED, slower=FIRST),
        OpRule(("Conv",), output=Output.OWN, bias="int32", unless=WEIGHTED, slower=FIRST),
        OpRule(("Gemm", RELU), output=Output.OWN, bias="int32", unless=(*WEIGHTED, gemm_is_scaled)),
        OpRule(("Gemm",), output=Output.WANTED, bias="int32", unless=(*WEIGHTED, gemm_is_scaled)),
        OpRule(("MatMul", "Add"), output=Output.WANTED, unless=(*MATMUL, operand_varies)),
        OpRule(("MatMul",), output=Output.WANTED, unless=MATMUL),
        OpRule(
            ("Add", RELU),
            output=Output.OWN,
            constants=True,
            unless=(data_is_not_float,),
            slower=BETWEEN,
        ),
        OpRule(
            ("Mul",),
            output=Output.SCALED,
            constants=True,
            unless=(data_is_not_float,),
            slower=BETWEEN,
        ),
        OpRule(
            ("Add",),
            output=Output.OWN,
            constants=True,
            unless=(data_is_not_float,),
            slower=BETWEEN,
        ),
        OpRule(
            (("AveragePool", "GlobalAveragePool"),),
            output=Output.OWN,
            unless=(data_is_not_float,),
            slower=(averages_windows,),
        ),
        OpRule(("LeakyRelu",), output=Output.OWN, unless=(data_is_not_float,)),
        OpRule(("Sigmoid",), output=Fixed(UINT8, 1 / 256, 0), unless=(data_is_not_float,)),
        OpRule(("Concat",), output=Output.OWN, constants=True, unless=(data_is_not_float,)),
        OpRule(("Resize",), output=Output.SAME, unless=(data_is_not_float, resize_is_not_nearest)),
        OpRule((COPY,), output=Output.SAME, unless=(data_is_not_float,)),
    ),
    reasons={
        "BatchNormalization": "onnxruntime has no integer kernel for it",
        "Clip": "it fuses with the preceding layer, which runs in float",
        "ConvTranspose": "onnxruntime has no integer kernel for it",
        "Div": "onnxruntime has no integer kernel for it",
        "Elu": "onnxruntime has no integer kernel for it",
        "Gelu": "onnxruntime has no integer kernel for it",
        "GlobalMaxPool": "onnxruntime has no integer kernel for it",
        "HardSigmoid": "onnxruntime has no integer kernel for it",
        "HardSwish": "onnxruntime has no integer kernel for it",
        "InstanceNormalization": "onnxruntime has no integer kernel for it",
        "LRN": "onnxruntime has no integer kernel for it",
        "LayerNormalization": "onnxruntime has no integer kernel for it",
        "Max": "onnxruntime has no integer kernel for it",
        "Min": "onnxruntime has no integer kernel for it",
        "PRelu": "onnxruntime has no integer kernel for it",
        "Pad": "onnxruntime has no integer kernel for it",
        "ReduceMean": "onnxruntime has no integer kernel for it",
        "Relu": "it fuses with the preceding layer, which runs in float",
        "Softmax": "in int8 its output has steps of 1/256, so small probabilities become equal",
        "SpaceToDepth": "onnxruntime has no integer kernel for it",
        "Sub": "onnxruntime has no integer kernel for it",
        "Tanh": "onnxruntime has no integer kernel for it",
        "Where": "onnxruntime has no integer kernel for it; between integer kernels it selects "
        "among integer values",
    },
    checks=(
        "weight-axis",
        "activations-per-tensor",
        "zero-point-present",
        "one-reader",
        "relu-grid",
        "bias-scale",
        "stays-float",
        "double-pair",
        "weight-only",
        *ON_X86,
    ),
    runtime=Runtime(
        blocks=("int4", "int8", "uint4", "uint8"),
        packed=True,
        # attention products and Softmax run in integers where another tool asks for it
        rules=(
            OpRule(("MatMul",), output=Output.WANTED, unless=(data_is_not_float,)),
            OpRule((("Softmax", "Where"),), output=Output.OWN, unless=(data_is_not_float,)),
        ),
        moves=("MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"),
        rounds=("Conv", "Gemm"),
        obstacles=(
            *FUSION,
            int8_is_shared,
            int8_operand_is_stored,
            blocks_are_shared,
            table_is_dequantized_whole,
        ),
    ),
    passes=(
        "div_to_mul",
        "inner_norm_to_conv",
        "plain_gemm",
        "bias_as_matrix",
        "shortcut_to_conv",
        ON_X86_PASS,
    ),
    guarded=True,
    next_step='onnxruntime.InferenceSession("{output}")',
)
