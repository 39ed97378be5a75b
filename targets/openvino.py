"""OpenVINO, CPU plugin: uint8 affine activations, int8 weights, Q/DQ on inputs only.

The rules, with their sources (docs.openvino.ai, "Low Precision Transformations"; NNCF's hardware
tables for OpenVINO's CPU; probes of ``runtimePrecision`` in compiled graphs):

* Activations uint8 affine per tensor, weights int8 symmetric per output channel in -127..127.
* A layer runs in integers if its data and weight come from Q/DQ pairs; it may write float, so no
  pair is needed behind it.  The pair of the next layer fuses into its kernel, and so do a bias, a
  constant factor, an activation and a residual Add between the two: none is put inside.
* The skip connection of a residual Add gets a pair, which the kernel of the branch reads.
* Bias stays float.  Graph outputs stay float.
* Ops that only move values, and Pad with zeros, have no pair of their own: the plugin moves the
  dequantization across them.  All inputs of a Concat share one scale, so that it moves across too.
* Averages run in integers where a quantized layer reads them; alone they would gain nothing.
* ConvTranspose runs in float whatever its inputs are (probed with 2026.4).
* A pair right behind a reduction fuses into it, and gives wrong values; a Squeeze or Unsqueeze
  between the two keeps them apart (probed with 2026.4).
* Attention is one float kernel; its products stay in float, and so does Softmax.
"""

from oq.model.ops import OPS
from oq.numerics.values import INT8, INT8_NARROW, UINT8
from oq.planning.predicates import (
    average_is_dilated,
    both_operands_vary,
    data_is_not_float,
    data_is_vector,
    first_operand_is_constant,
    is_shorter_branch,
    operand_is_constant,
    operand_varies,
    pad_is_not_zero,
    resize_is_not_nearest,
    weight_is_not_constant,
)
from oq.planning.target import OpRule, Output, Runtime, Target
from oq.planning.tensorrt import feeds_no_quantized_layer

ACTIVATION = ("Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "Silu", "HardSwish", "Gelu", "Elu")
CONSTANT = ("Add", "Mul")
COPY = tuple(op for op, row in OPS.items() if row.kind == "copy" and op != "Pad")
WEIGHTED = (data_is_not_float, weight_is_not_constant)
MATMUL = (data_is_not_float, both_operands_vary, first_operand_is_constant, data_is_vector)
RESIDUAL = (*WEIGHTED, operand_is_constant, is_shorter_branch)

TARGET = Target(
    name="openvino",
    summary="OpenVINO CPU: uint8 affine, Q/DQ on inputs, float bias",
    activations=UINT8,
    dtypes=(UINT8, INT8),
    weights=INT8_NARROW,
    min_opset=13,
    passes=("fold_scaling", "reduce_apart"),
    refine=("smooth", "bias", "ranges", "round"),
    rules=(
        OpRule(("Conv", "Add", ACTIVATION), skip_follows=True, unless=RESIDUAL),
        OpRule(("Conv", "Add"), skip_follows=True, unless=RESIDUAL),
        OpRule(("Conv", CONSTANT, ACTIVATION), unless=(*WEIGHTED, operand_varies)),
        OpRule(("Conv", CONSTANT), unless=(*WEIGHTED, operand_varies)),
        OpRule(("Conv", ACTIVATION), unless=WEIGHTED),
        OpRule(("Conv",), unless=WEIGHTED),
        OpRule(("Gemm", CONSTANT, ACTIVATION), unless=(*WEIGHTED, operand_varies)),
        OpRule(("Gemm", CONSTANT), unless=(*WEIGHTED, operand_varies)),
        OpRule(("Gemm", ACTIVATION), unless=WEIGHTED),
        OpRule(("Gemm",), unless=WEIGHTED),
        OpRule(("MatMul", CONSTANT, ACTIVATION), unless=(*MATMUL, operand_varies)),
        OpRule(("MatMul", CONSTANT), unless=(*MATMUL, operand_varies)),
        OpRule(("MatMul", ACTIVATION), unless=MATMUL),
        OpRule(("MatMul",), unless=MATMUL),
        OpRule(
            (("AveragePool", "GlobalAveragePool"),),
            unless=(data_is_not_float, average_is_dilated, feeds_no_quantized_layer),
        ),
        OpRule(("Concat",), output=Output.UNITED, inputs=False, unless=(data_is_not_float,)),
        OpRule(("Pad",), output=Output.PASSED, unless=(data_is_not_float, pad_is_not_zero)),
        OpRule(("Resize",), output=Output.SAME, unless=(data_is_not_float, resize_is_not_nearest)),
        OpRule((COPY,), output=Output.SAME, unless=(data_is_not_float,)),
    ),
    reasons={
        "Add": "it is not part of a convolution's kernel; alone it gains nothing in integers",
        "ConvTranspose": "OpenVINO's CPU plugin runs it in float",
        "Softmax": "OpenVINO keeps Softmax in float",
    },
    checks=("weight-axis", "activations-per-tensor", "zero-point-present"),
    runtime=Runtime(),
    verified_in="openvino",
    runs_in_engine=True,
    next_step='openvino.Core().compile_model("{output}", "CPU")',
)
