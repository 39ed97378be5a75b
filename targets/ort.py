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
  prevents this (:mod:`oq.prepare.bias_as_matrix`).  So are a MatMul of a matrix and an Add of
  another activation; a Sum prevents that (:mod:`oq.emission.keep_integer`).
* After MatMulIntegerToFloat an Add is a separate pass over the floats (1 to 8 % of a block of two
  layers), so a MatMul without a bias does not get one.
* Softmax in int8 has steps of 1/256, which makes small probabilities equal, so it stays float.
* Layers that read float data (``weights=int4``, ``dynamic=on``) are in
  :mod:`oq.planning.float_data`, with the rule for embedding tables.
"""

from dataclasses import replace

from oq.checks.obstacles import (
    blocks_are_shared,
    clip_differs_from_range,
    float_output_without_int32_bias,
    int8_is_shared,
    int8_operand_is_stored,
    signs_differ,
    sum_makes_a_gemm,
    table_is_dequantized_whole,
)
from oq.errors import OptionError
from oq.numerics.values import INT8_AFFINE, INT8_NARROW, INT16, UINT8, UINT16
from oq.planning.float_data import FLOAT_DATA, TABLE
from oq.planning.predicates import (
    average_is_dilated,
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
from oq.planning.target import OpRule, Output, Runtime, Target, as_is
from oq.planning.weight_bits import WEIGHT_BITS

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
    sum_makes_a_gemm,
)
ON_X86_PASS = "widen_input"
"""A pass whose gain was measured only on x86."""

ON_X86 = ("shared-int8", "steps-in-int32", "loads")
"""Checks of what onnxruntime does on x86 only: it turns int8 activations into uint8, and converts
to int32 without limits."""


def on_arm(target: Target) -> Target:
    """ARM's kernels support int8 activations directly; on x86 they are converted to uint8 first.

    The quantized values are 128 lower and represent the same real values (onnxruntime, "Quantize
    ONNX models": S8S8 on ARM, U8S8 on x86).  First layers and averages are quantized, and images
    keep their number of channels, since the speed of these was measured only on x86.  Weights in
    blocks are the same on both.
    """
    if target.block is not None or target.at_run_time:
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
    if target.block is not None or target.at_run_time:
        raise OptionError(
            "--set attention=int8 needs calibrated activations: it cannot be combined with "
            "weights=int4, weights=int8 or dynamic=on"
        )
    codes = target.activations
    softmax = OpRule(("Softmax",), Fixed(codes, 1 / 256, codes.qmin), unless=(data_is_not_float,))
    rows = (
        replace(r, unless=tuple(p for p in r.unless if p is not both_operands_vary))
        for r in target.rules
    )
    return replace(target, rules=(*rows, softmax))


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
        **FLOAT_DATA,
        "platform": {"x86": as_is, "arm": on_arm},
        "attention": {"float": as_is, "int8": attention_in_int8},
        "weight_bits": WEIGHT_BITS,
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
            unless=(data_is_not_float, average_is_dilated),
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
        "GRU": "onnxruntime has no integer kernel for it",
        "LRN": "onnxruntime has no integer kernel for it",
        "LSTM": "its integer kernel takes ranges at run time only (--set dynamic=on)",
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
        "loads-bodies",
        *ON_X86,
    ),
    runtime=Runtime(
        blocks=("int4", "int8", "uint4", "uint8"),
        packed=True,
        at_run_time=True,
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
        "fold_scaling",
        "inner_norm_to_conv",
        "plain_gemm",
        "bias_as_matrix",
        "shortcut_to_conv",
        ON_X86_PASS,
    ),
    guarded=True,
    bodies=True,
    domains=("com.microsoft",),
    next_step='onnxruntime.InferenceSession("{output}")',
    runs_in_engine=True,
)
