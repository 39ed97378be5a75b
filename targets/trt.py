"""NVIDIA TensorRT, explicit quantization: symmetric int8, Q/DQ on inputs only.

The rules, with their sources:

* Activations int8 per tensor, zero point 0, scale = max|x| / 127; weights int8 per channel
  (TensorRT ``IQuantizeLayer``, NvInfer.h; TensorRT 11 builds only what is written in the graph).
* Q/DQ goes on the inputs of weighted layers, none between a convolution and its BatchNorm,
  activation or residual Add: TensorRT fuses those into one int8 kernel
  (docs.nvidia.com, "Working with Quantized Types", recommendations 1 to 4).
* A residual Add is fused into the branch that ends in a convolution; its other operand, the skip,
  gets the Q/DQ, on the same grid as the convolution that reads it too.
* Bias stays float: the importer rejects an int32 DequantizeLinear.  Graph outputs stay float.
* Ops that only move values carry no Q/DQ of their own: TensorRT moves the pair across them.  Pulled
  through a Concat, a pair meets those of the branches: equal scales cancel there, different ones
  cost a requantization per branch, so all that a Concat joins has one grid (as ModelOpt's Concat
  elimination does it).
"""

from oq.ops import OPS, facts
from oq.predicates import (
    both_operands_vary,
    data_is_not_float,
    first_operand_is_constant,
    is_shorter_branch,
    operand_is_constant,
    operand_varies,
    weight_is_not_constant,
)
from oq.spec import INT8, INT8_NARROW
from oq.target import Engine, Match, OpRule, Output, Target
from oq.view import GraphView

ACTIVATION = ("Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "Silu", "HardSwish", "Gelu", "Elu")
COPY = tuple(op for op, row in OPS.items() if row.kind == "copy")
WEIGHTED = (data_is_not_float, weight_is_not_constant)
MATMUL = (data_is_not_float, both_operands_vary, first_operand_is_constant)


def feeds_no_quantized_layer(view: GraphView, match: Match) -> str | None:
    """Average pooling runs in int8 only between int8 neighbours (recommendation 5)."""
    frontier = [match.output]
    while frontier:
        for reader in view.consumers(frontier.pop()):
            row = facts(reader.op)
            if row is not None and row.weight is not None:
                return None
            if row is not None and row.kind == "copy":
                frontier.append(reader.outputs[0])
    return f"no quantized layer reads {match.output!r}, so an int8 pooling would end in a reformat"


TARGET = Target(
    name="trt",
    summary="NVIDIA TensorRT: int8 symmetric, Q/DQ on inputs, float bias",
    activations=INT8,
    weights=INT8_NARROW,
    min_opset=13,
    rules=(
        OpRule(
            ("Conv", "Add", ACTIVATION), unless=(*WEIGHTED, operand_is_constant, is_shorter_branch)
        ),
        OpRule(("Conv", "Add"), unless=(*WEIGHTED, operand_is_constant, is_shorter_branch)),
        OpRule(("Conv", "BatchNormalization", ACTIVATION), unless=WEIGHTED),
        OpRule(("Conv", "BatchNormalization"), unless=WEIGHTED),
        OpRule(("Conv", ACTIVATION), unless=WEIGHTED),
        OpRule(("Conv",), unless=WEIGHTED),
        OpRule(("Gemm", ACTIVATION), unless=WEIGHTED),
        OpRule(("Gemm",), unless=WEIGHTED),
        OpRule(("MatMul", "Add", ACTIVATION), unless=(*MATMUL, operand_varies)),
        OpRule(("MatMul", "Add"), unless=(*MATMUL, operand_varies)),
        OpRule(("MatMul",), unless=MATMUL),
        OpRule(
            (("AveragePool", "GlobalAveragePool"),),
            unless=(data_is_not_float, feeds_no_quantized_layer),
        ),
        OpRule(("Concat",), output=Output.UNITED, inputs=False, unless=(data_is_not_float,)),
        OpRule((COPY,), output=Output.SAME, unless=(data_is_not_float,)),
    ),
    reasons={
        "Add": "no convolution branch takes it into its kernel; a lone Add is a float kernel",
        "Div": "TensorRT runs lone elementwise ops in float",
        "Gelu": "TensorRT runs lone activations in float",
        "Mul": "TensorRT runs lone elementwise ops in float",
        "ConvTranspose": "TensorRT releases disagree on its weight axis, so its int8 is opt-in",
        "Softmax": "TensorRT keeps softmax in float",
        "LayerNormalization": "TensorRT keeps normalization in float",
    },
    checks=(
        "zero-point-is-zero",
        "no-uint8",
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
    ),
    engine=Engine(
        codes=("int8",),
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
