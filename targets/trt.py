"""NVIDIA TensorRT, explicit quantization: symmetric int8, Q/DQ on inputs only.

The rules, with their sources:

* Activations int8 per tensor, zero point 0, scale = max|x| / 127; weights int8 per channel
  (TensorRT ``IQuantizeLayer``, NvInfer.h; TensorRT 11 supports only explicit quantization).
* Q/DQ goes on the inputs of weighted layers, none between a convolution and its BatchNorm, bias,
  constant factor, activation or residual Add: TensorRT fuses those into one int8 kernel
  (docs.nvidia.com, "Working with Quantized Types", recommendations 1 to 4).
* A residual Add is fused into the branch that ends in a convolution, not through an activation; its
  other operand, the skip connection, gets the Q/DQ, with the same scale as the convolution that
  reads it too.  A skip connection that no integer kernel computes and no quantized layer reads
  stays in float.
* Bias stays float: the importer rejects an int32 DequantizeLinear.  Graph outputs stay float.
* Ops that only move values have no Q/DQ of their own: TensorRT moves the pair across them.  Moved
  across a Concat, a pair meets those of the branches: equal scales cancel there, different ones
  cost a requantization per branch, so all inputs of a Concat share one scale (as in ModelOpt's
  Concat elimination).  A pair goes before a Pad, so that the Pad fuses into its layer.
* Resize and LayerNormalization read int8 after a convolution, whose kernel can write it; pooling if
  a quantized layer reads its output (recommendation 5; ModelOpt ``partitioning.py``).
* Attention products are float (``attention=int8`` opts in); masks and Softmax always are.
* A standalone product or sum with a constant is a float kernel, so no scale is derived from its
  input; the layers that read it are calibrated.
* TensorRT 8 expected a ConvTranspose's scales along axis 0 and later releases along axis 1, so it
  is opt-in (``conv_transpose=int8``), with one scale per weight, which both interpret equally.
* FP8 (``dtype=fp8``) is for Conv, Gemm, MatMul and the residual Add, and for attention in the form
  of the fused kernel (:func:`oq.planning.tensorrt.is_not_fp8_attention`).
* 4-bit weights (``weights=int4``) are for MatMul and Gemm, in blocks along their inputs.
* TensorRT 11 runs float layers in the type they have; ``high_precision=fp16`` makes it float16
  (:mod:`oq.emission.float16`), as it is by itself where the model is float16.
* Convolutions and products with few channels are slower in int8 (:mod:`oq.planning.tensorrt`);
  ``--mode naive`` quantizes them anyway.
"""

from dataclasses import replace

from oq.errors import OptionError
from oq.model.ops import OPS
from oq.numerics.values import FLOAT8, INT4, INT8, INT8_NARROW
from oq.planning.predicates import (
    average_is_dilated,
    both_operands_vary,
    data_is_not_float,
    first_operand_is_constant,
    is_shorter_branch,
    operand_is_constant,
    operand_varies,
    pad_is_not_zero,
    resize_is_not_nearest,
    weight_is_not_constant,
)
from oq.planning.target import OpRule, Output, Runtime, Target, as_is
from oq.planning.tensorrt import (
    BLOCK,
    convolution_is_not_for_fp8,
    convolution_is_thin,
    does_not_split_into_blocks,
    ends_the_graph,
    feeds_no_quantized_layer,
    is_not_behind_a_convolution,
    is_not_fp8_attention,
    product_is_thin,
    sequence_is_long,
)
from oq.planning.weight_bits import WEIGHT_BITS

ACTIVATION = ("Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "Silu", "HardSwish", "Gelu", "Elu")
CONSTANT = ("Add", "Mul")
COPY = tuple(op for op, row in OPS.items() if row.kind == "copy" and op != "Pad")
WEIGHTED = (data_is_not_float, weight_is_not_constant)
MATMUL = (data_is_not_float, both_operands_vary, first_operand_is_constant)
RESIDUAL = (*WEIGHTED, operand_is_constant, is_shorter_branch)
THIN = (convolution_is_thin,)
SMALL = (product_is_thin,)

RULES = (
    OpRule(("Conv", "Add", ACTIVATION), skip_follows=True, unless=RESIDUAL, slower=THIN),
    OpRule(("Conv", "Add"), skip_follows=True, unless=RESIDUAL, slower=THIN),
    OpRule(("Conv", CONSTANT, ACTIVATION), unless=(*WEIGHTED, operand_varies), slower=THIN),
    OpRule(("Conv", CONSTANT), unless=(*WEIGHTED, operand_varies), slower=THIN),
    OpRule(("Conv", "BatchNormalization", ACTIVATION), unless=WEIGHTED, slower=THIN),
    OpRule(("Conv", "BatchNormalization"), unless=WEIGHTED, slower=THIN),
    OpRule(("Conv", ACTIVATION), unless=WEIGHTED, slower=THIN),
    OpRule(("Conv",), unless=WEIGHTED, slower=THIN),
    OpRule(("Gemm", CONSTANT, ACTIVATION), unless=(*WEIGHTED, operand_varies), slower=SMALL),
    OpRule(("Gemm", CONSTANT), unless=(*WEIGHTED, operand_varies), slower=SMALL),
    OpRule(("Gemm", ACTIVATION), unless=WEIGHTED, slower=SMALL),
    OpRule(("Gemm",), unless=WEIGHTED, slower=SMALL),
    OpRule(("MatMul", CONSTANT, ACTIVATION), unless=(*MATMUL, operand_varies), slower=SMALL),
    OpRule(("MatMul", CONSTANT), unless=(*MATMUL, operand_varies), slower=SMALL),
    OpRule(("MatMul", ACTIVATION), unless=MATMUL, slower=SMALL),
    OpRule(("MatMul",), unless=MATMUL, slower=SMALL),
    OpRule(
        (("AveragePool", "GlobalAveragePool"),),
        unless=(data_is_not_float, average_is_dilated, feeds_no_quantized_layer),
    ),
    OpRule(
        ("Resize",),
        output=Output.ALIGNED,
        unless=(
            data_is_not_float,
            resize_is_not_nearest,
            is_not_behind_a_convolution,
            ends_the_graph,
        ),
    ),
    OpRule(
        (("LayerNormalization", "Resize"),),
        unless=(data_is_not_float, is_not_behind_a_convolution, ends_the_graph),
    ),
    OpRule(("Concat",), output=Output.UNITED, inputs=False, unless=(data_is_not_float,)),
    OpRule(("Pad",), output=Output.PASSED, unless=(data_is_not_float, pad_is_not_zero)),
    OpRule((COPY,), output=Output.SAME, unless=(data_is_not_float,)),
)


def quantize_conv_transpose(target: Target) -> Target:
    """``conv_transpose=int8``: one scale per weight, whatever axis a release would have it on."""
    chains = (("ConvTranspose", "BatchNormalization", ACTIVATION), ("ConvTranspose", ACTIVATION))
    if not target.activations.uniform or target.block is not None:
        raise OptionError(
            "--set conv_transpose=int8: TensorRT supports neither FP8 nor 4-bit weights for it"
        )
    rows = tuple(
        OpRule(ops, per_channel=False, unless=WEIGHTED) for ops in (*chains, ("ConvTranspose",))
    )
    return replace(target, rules=(*rows, *target.rules))


def quantize_attention(target: Target) -> Target:
    """``attention=int8``: products of two activations too; masks and Softmax stay in float."""
    if target.block is not None:
        raise OptionError("--set attention=int8 cannot be combined with weights=int4")
    row = OpRule(("MatMul",), unless=(data_is_not_float,), slower=(*SMALL, sequence_is_long))
    return replace(target, rules=(*target.rules, row))


FP8 = ("Conv", "Gemm", "MatMul", "Concat", "Pad", COPY)
"""First ops of the rules that apply to FP8: TensorRT has no FP8 pooling, Resize or
ConvTranspose."""


def quantize_to_fp8(target: Target) -> Target:
    """``dtype=fp8``: E4M3 for activations and weights, scale = max|x| / 448 (opset 19).

    ModelOpt's scale leaves 448 / 127 of that range unused (``fp8.py:int8_to_fp8``).
    """
    if target.block is not None:
        raise OptionError("--set dtype=fp8 cannot be combined with weights=int4")
    rows = (r for r in target.rules if r.ops[0] in FP8)
    rules = tuple(
        replace(r, slower=(convolution_is_not_for_fp8,)) if r.ops[0] == "Conv" else r for r in rows
    )
    attention = OpRule(("MatMul",), unless=(data_is_not_float, is_not_fp8_attention), slower=SMALL)
    return replace(
        target,
        summary="NVIDIA TensorRT: FP8 (E4M3), Q/DQ on inputs, float bias",
        activations=replace(FLOAT8, scale=target.activations.scale),
        weights=replace(FLOAT8, scale=target.weights.scale),
        min_opset=max(19, target.min_opset),
        rules=(*rules, attention),
        reasons={
            **(target.reasons or {}),
            **dict.fromkeys(
                ("AveragePool", "ConvTranspose", "GlobalAveragePool", "Resize"),
                "TensorRT does not support it in FP8",
            ),
        },
    )


FOUR_BITS = (
    OpRule(("Gemm",), inputs=False, unless=(*WEIGHTED, does_not_split_into_blocks)),
    OpRule(("MatMul",), inputs=False, unless=(*MATMUL, does_not_split_into_blocks)),
    OpRule((COPY,), output=Output.SAME, unless=(data_is_not_float,)),
)


def quantize_weights_to_int4(target: Target) -> Target:
    """``weights=int4``: 4-bit weights of MatMul and Gemm, one scale per 128 inputs and output
    channel; activations stay float, so no data is needed (opset 21)."""
    if target.rules is not RULES:
        raise OptionError(
            "--set weights=int4 leaves activations in float; it can only be combined with "
            "high_precision"
        )
    kept = {"Conv": "TensorRT has 4-bit weights for MatMul and Gemm only"}
    return replace(
        target,
        summary="NVIDIA TensorRT: 4-bit weights of MatMul and Gemm, float activations",
        weights=replace(INT4, scale=target.weights.scale),
        block=BLOCK,
        min_opset=max(21, target.min_opset),
        rules=FOUR_BITS,
        reasons={**(target.reasons or {}), **kept},
    )


def run_the_rest_in_fp16(target: Target) -> Target:
    """``high_precision=fp16``: scales too, since a DequantizeLinear writes the type of its scale
    (onnx-tensorrt ``QuantDequantLinearHelper``), which ONNX allows from opset 19 on."""
    return replace(
        target,
        activations=replace(target.activations, scale="float16"),
        weights=replace(target.weights, scale="float16"),
        min_opset=max(19, target.min_opset),
        high_precision="float16",
        carries_zero_points=False,  # float16 biases are too coarse for what they would carry
    )


def run_the_rest_in_fp32(target: Target) -> Target:
    """``high_precision=fp32``: also where the model is float16."""
    return replace(target, for_float16=None)


def keep_symmetric(target: Target) -> Target:
    """``zero_points=none``: no zero points in biases; every ReLU stays in the graph."""
    return replace(target, carries_zero_points=False)


TARGET = Target(
    name="trt",
    summary="NVIDIA TensorRT: int8 symmetric, Q/DQ on inputs, float bias",
    activations=INT8,
    weights=INT8_NARROW,
    min_opset=13,
    passes=("fold_scaling",),
    adds_bias=("MatMul",),
    carries_zero_points=True,
    for_float16=run_the_rest_in_fp16,
    rules=RULES,
    options={
        "dtype": {"int8": as_is, "fp8": quantize_to_fp8},
        "weights": {"int8": as_is, "int4": quantize_weights_to_int4},
        "high_precision": {
            "auto": as_is,
            "fp32": run_the_rest_in_fp32,
            "fp16": run_the_rest_in_fp16,
        },
        "conv_transpose": {"float": as_is, "int8": quantize_conv_transpose},
        "attention": {"float": as_is, "int8": quantize_attention},
        "zero_points": {"bias": as_is, "none": keep_symmetric},
        "weight_bits": WEIGHT_BITS,
    },
    reasons={
        "Add": "no convolution branch fuses it; a standalone Add runs in float",
        "Div": "TensorRT runs standalone elementwise ops in float",
        "BatchNormalization": "no preceding convolution fuses it",
        "LRN": "TensorRT keeps normalization in float",
        **dict.fromkeys(
            (*ACTIVATION, "HardSigmoid", "PRelu"), "TensorRT runs standalone activations in float"
        ),
        "Mul": "TensorRT runs standalone elementwise ops in float",
        "ConvTranspose": "TensorRT releases disagree on its weight axis, so int8 is opt-in "
        "(--set conv_transpose=int8)",
        "Softmax": "TensorRT keeps softmax in float",
        "LayerNormalization": "TensorRT keeps normalization in float",
    },
    checks=(
        "zero-point-is-zero",
        "no-uint8",
        "float8-kind",
        "no-int32-bias",
        "activations-per-tensor",
        "weight-axis",
        "output-is-float",
        "fusion-is-whole",
        "residual",
        "concat",
        "pad",
        "half",
        "only-qdq",
        "loads-by-option",
    ),
    runtime=Runtime(
        codes=("int8", "float8_e4m3fn"),
        blocks=("int4",),
        # what other tools quantize: elementwise ops and pooling write int8 when they read it
        rules=(
            OpRule(("ConvTranspose",), unless=WEIGHTED),
            OpRule(("MatMul",), unless=(data_is_not_float,)),
            OpRule(
                (("Add", "AveragePool", "GlobalAveragePool", "Mul"),),
                output=Output.OWN,
                unless=(data_is_not_float,),
            ),
        ),
    ),
    next_step="trtexec --onnx={output} --saveEngine={stem}.plan --profilingVerbosity=detailed",
)
