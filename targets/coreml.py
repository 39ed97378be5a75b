"""Apple Core ML, W8A8 ML programs: activations without zero points, int8 weights per channel.

The rules follow coremltools 9 (``optimize/torch/quantization``, ``optimize/coreml``) and the passes
of its converter:

* Activations are int8 with zero point 0, and uint8 with zero point 0 if they are never negative
  (after a ReLU): Apple's pass ``nullify_redundant_quantization_zero_point`` converts every uint8
  with zero point 128 to int8, since programs without zero points run faster.
* Scales become float16 in the program, so they are rounded to normal float16 numbers here; then the
  Q/DQ file and the program have the same ones.
* Q/DQ goes after a complete kernel: Conv, ConvTranspose or a linear layer with its activation, an
  Add of two tensors with its activation.  Graph outputs have none.
* Inputs and output of Concat, pooling and reshaping share scale and zero point.  (coremltools
  removes a pair after a reshape even if its scale differs, which silently changes the results.)
* The output of Sigmoid has scale 1/256, that of Tanh 1/128, independent of the data.
* Weights are int8 in -127..127, per output channel; bias stays float: MIL has no int32 dequantize.

Pad stays float: MIL's ``pad`` takes float16 and float32 alone
(``ops/defs/iOS15/tensor_operation.py``, also for later opsets), so codes would be dequantized in
front of it anyway.

A sum with a constant stays float, as in coremltools, so no scale is derived for it. A Mul stays
float: the Neural Engine was reported to compute it wrongly between differing scales
(apple/coreai-torch issue 112).
"""

from dataclasses import replace

from oq.checks.float16 import MOVES, POOLS
from oq.numerics.values import INT8, INT8_NARROW, UINT8_POSITIVE
from oq.planning.predicates import (
    average_is_dilated,
    both_operands_vary,
    data_is_not_float,
    first_operand_is_constant,
    gemm_is_scaled,
    operand_is_constant,
    operand_varies,
    weight_is_not_constant,
)
from oq.planning.spec import Fixed
from oq.planning.sums_in_float16 import fit_sums
from oq.planning.target import OpRule, Output, Runtime, Target
from oq.planning.weight_bits import WEIGHT_BITS

SIGNED = replace(INT8, scale="float16")
POSITIVE = replace(UINT8_POSITIVE, scale="float16")
TO_ONE = Fixed(POSITIVE, 1 / 256, 0)
AROUND_ZERO = Fixed(SIGNED, 1 / 128, 0)

LAYER = ("Conv", "ConvTranspose", "Gemm")
ACTIVATION = ("Relu", "Clip", "LeakyRelu", "Elu", "Silu", "HardSwish", "Gelu")
SIGMOID = ("HardSigmoid", "Sigmoid")
WEIGHTED = (data_is_not_float, weight_is_not_constant, gemm_is_scaled)
MATMUL = (data_is_not_float, both_operands_vary, first_operand_is_constant)
SUM = (data_is_not_float, operand_is_constant)

TARGET = Target(
    name="coreml",
    summary="Apple Core ML W8A8: zero points 0, float16 scales, float bias",
    activations=SIGNED,
    positive=POSITIVE,
    dtypes=(SIGNED, POSITIVE),
    weights=replace(INT8_NARROW, scale="float16"),
    min_opset=13,
    passes=("fold_scaling",),
    options={"weight_bits": WEIGHT_BITS},
    exclusive=True,
    float_outputs=True,
    adds_bias=("MatMul",),
    rules=(
        OpRule((LAYER, SIGMOID), output=TO_ONE, unless=WEIGHTED),
        OpRule((LAYER, "Tanh"), output=AROUND_ZERO, unless=WEIGHTED),
        OpRule((LAYER, ACTIVATION), output=Output.OWN, unless=WEIGHTED),
        OpRule((LAYER,), output=Output.OWN, unless=WEIGHTED),
        OpRule(("MatMul", "Add", SIGMOID), output=TO_ONE, unless=(*MATMUL, operand_varies)),
        OpRule(("MatMul", "Add", "Tanh"), output=AROUND_ZERO, unless=(*MATMUL, operand_varies)),
        OpRule(("MatMul", "Add", ACTIVATION), output=Output.OWN, unless=(*MATMUL, operand_varies)),
        OpRule(("MatMul", "Add"), output=Output.OWN, unless=(*MATMUL, operand_varies)),
        OpRule(("MatMul", SIGMOID), output=TO_ONE, unless=MATMUL),
        OpRule(("MatMul", "Tanh"), output=AROUND_ZERO, unless=MATMUL),
        OpRule(("MatMul", ACTIVATION), output=Output.OWN, unless=MATMUL),
        OpRule(("MatMul",), output=Output.OWN, unless=MATMUL),
        OpRule(("Add", ACTIVATION), output=Output.OWN, unless=SUM),
        OpRule(("Add",), output=Output.OWN, unless=SUM),
        OpRule(
            (POOLS,),
            output=Output.ALIGNED,
            unless=(data_is_not_float, average_is_dilated),
        ),
        OpRule(("Concat",), output=Output.UNITED, unless=(data_is_not_float,)),
        OpRule((MOVES,), output=Output.SAME, unless=(data_is_not_float,)),
    ),
    reasons={
        "BatchNormalization": "Core ML has no quantized BatchNormalization; fold it into a "
        "convolution",
        "LayerNormalization": "Core ML keeps normalization in float16",
        "Mul": "the Neural Engine was reported to multiply quantized tensors wrongly",
        "Pad": "Core ML's pad operator takes float values only",
        "Resize": "Core ML has no quantized resize",
        "LRN": "Core ML keeps normalization in float16",
        **dict.fromkeys(
            (*ACTIVATION, *SIGMOID, "PRelu", "Tanh"), "a standalone activation stays in float16"
        ),
        "Softmax": "Core ML keeps softmax in float16",
    },
    checks=(
        "zero-point-is-zero",
        "no-int32-bias",
        "activations-per-tensor",
        "weight-axis",
        "output-is-float",
        "fusion-is-whole",
        "concat",
        "half",
        "only-qdq",
        "float16-scale",
        "sides",
        "sum-in-float16",
        "loads-by-option",
    ),
    legalize=(fit_sums,),
    runtime=Runtime(moves=()),
    next_step="oq deploy {output} --to coreml makes it an ML program (.mlpackage)",
)
