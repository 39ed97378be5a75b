"""A custom target: a chip whose int8 convolutions have quantized inputs and outputs.

    oq --plugin mychip.py plan model.onnx --target mychip
    oq --plugin mychip.py quantize model.onnx --target mychip --data calib.npz

A rule is a chain of ops that the chip runs as one kernel, how its output is quantized, and
predicates that return a reason not to quantize it.  Longer chains win.  Nodes that no rule matches
stay in float, with a reason.
"""

from oq.plugin import (
    INT8,
    INT8_NARROW,
    OpRule,
    Output,
    Target,
    data_is_not_float,
    gemm_is_scaled,
    weight_is_not_constant,
)

WEIGHTED = (data_is_not_float, weight_is_not_constant)

TARGET = Target(
    name="mychip",
    summary="my chip: int8 symmetric, Q/DQ on both sides",
    activations=INT8,
    weights=INT8_NARROW,
    min_opset=13,
    exclusive=True,
    rules=(
        OpRule(("Conv", "Relu"), output=Output.OWN, unless=WEIGHTED),
        OpRule(("Conv",), output=Output.OWN, unless=WEIGHTED),
        OpRule(("Gemm",), output=Output.OWN, unless=(*WEIGHTED, gemm_is_scaled)),
        OpRule((("MaxPool", "Reshape"),), output=Output.SAME, unless=(data_is_not_float,)),
    ),
    reasons={"Softmax": "my chip has no exponential"},
    checks=("zero-point-is-zero", "weight-axis"),
    next_step="mychipc {output}",
)
