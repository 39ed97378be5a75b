"""AMD's DPU (Vitis AI, Ryzen AI's XINT8): int8 with power-of-two scales, requantized by shifts.

The rules follow Quark (``npu_cnn_quantizer``, ``refine``, ``simulate_dpu``) and Vitis AI:

* Inputs and outputs of every op are int8, symmetric, per tensor, ``scale = 2**-position``; so are
  weights, and the bias has its own position.  Everything that the DPU runs has pairs on inputs and
  outputs, graph inputs and outputs included; the CPU runs the rest in float.
* The pair goes after the fused activation: ReLU, ReLU6, Clip to [0, 1] and LeakyReLU, but not
  HardSigmoid or HardSwish.
* Inputs and output of Concat, pooling, Pad and Slice have the same position.  The other
  inequalities between positions are in :mod:`oq.dpu.positions`; they are solved before weights are
  rounded.
* A product with a power of two keeps the integers of its input, with the position changed by the
  exponent; products with other constants, and all sums, need a calibrated position, since zero
  points are 0.
* A BatchNormalization that cannot be folded becomes a depthwise convolution, a grouped convolution
  one per group, and a mean over more than 512 values a mean of means, as in Quark; a 1-D one
  becomes one over an image of height 1.
* LeakyReLU's slope is 26/256 in the edge DPU, to which ``0.1`` is changed; ``--set device=npu``
  supports every k/256 and specifies no limits on sizes.
* Scales are per tensor, and a bias has 8 bits.  Convolutions with uneven channels before a ReLU6
  get a depthwise 1x1 convolution that scales them (:mod:`oq.prepare.insert_rescale`), which also
  provides a second bias, on devices that have a kernel for it; ``--set rescale=off`` does not
  change the graph.
* The hardware's mean is ``sum * N / 2**M`` (0.984 of the exact one for 3x3).  AMD's quantizer
  writes that factor into the graph as a Mul, and a compiled xmodel shows that the compiler takes
  it in; whether the execution provider does with an ONNX file is not documented, and if it does
  not, the factor is applied twice.  So the file contains plain pooling here, which every version
  supports; ``oq verify --target dpu`` simulates the factor, and ``oq deploy --to xmodel`` writes
  it.
"""

from dataclasses import replace

from oq.dpu.checks import CHECKS
from oq.dpu.dead_channels import report_lost_channels
from oq.dpu.legalize import legalize
from oq.dpu.refusals import (
    EXCEEDS,
    clip_is_not_in_hardware,
    input_is_constant,
    mean_is_not_in_hardware,
    not_standard_hard_sigmoid,
    slope_is_no_256th,
    slope_is_not_in_hardware,
)
from oq.numerics.values import INT8
from oq.planning.predicates import (
    average_is_dilated,
    bias_is_not_constant,
    both_operands_vary,
    data_is_not_float,
    first_operand_is_constant,
    gemm_is_scaled,
    pad_is_not_zero,
    resize_is_not_nearest,
    scales_attention,
    weight_is_not_constant,
)
from oq.planning.target import OpRule, Output, Predicate, Target

ACTIVATION = ("Relu", "Clip", "LeakyRelu")
CONV = ("Conv", "ConvTranspose")
POOL = ("AveragePool", "GlobalAveragePool", "MaxPool")
COPY = (
    "DepthToSpace",
    "Flatten",
    "Reshape",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
)
MOVES = (data_is_not_float, input_is_constant)
MEANS = (*MOVES, average_is_dilated, mean_is_not_in_hardware)
WEIGHTED = (data_is_not_float, weight_is_not_constant, bias_is_not_constant)
GEMM = (*WEIGHTED, gemm_is_scaled)
MATMUL = (data_is_not_float, both_operands_vary, first_operand_is_constant)


def rules(sizes: tuple[Predicate, ...], slope: Predicate) -> tuple[OpRule, ...]:
    """The rules of a device that refuses convolutions by the predicates ``sizes`` and slopes by
    ``slope``."""
    conv = (*WEIGHTED, *sizes)
    fused = (clip_is_not_in_hardware, slope)
    plain = (data_is_not_float,)
    own, aligned = Output.OWN, Output.ALIGNED
    return (
        OpRule((CONV, ACTIVATION), output=own, bias="own", unless=(*conv, *fused)),
        OpRule((CONV,), output=own, bias="own", unless=conv),
        OpRule(("Gemm", ACTIVATION), output=own, bias="own", unless=(*GEMM, *fused)),
        OpRule(("Gemm",), output=own, bias="own", unless=GEMM),
        OpRule(("MatMul", ACTIVATION), output=own, unless=(*MATMUL, *fused)),
        OpRule(("MatMul",), output=own, unless=MATMUL),
        OpRule(("Add", ACTIVATION), output=own, constants=True, unless=(*plain, *fused)),
        OpRule((("Add", "Sub"),), output=own, constants=True, unless=plain),
        OpRule(("Mul",), output=Output.SCALED, constants=True, unless=(*plain, scales_attention)),
        OpRule(("HardSigmoid",), output=own, unless=(*plain, not_standard_hard_sigmoid)),
        OpRule(("HardSwish",), output=own, unless=plain),
        OpRule((ACTIVATION,), output=own, unless=(*plain, *fused)),
        OpRule(("Concat",), output=Output.UNITED, constants=True, unless=plain),
        OpRule((POOL, ACTIVATION), output=aligned, unless=(*MEANS, *fused)),
        OpRule((POOL,), output=aligned, unless=MEANS),
        OpRule(("Pad",), output=aligned, unless=(*MOVES, pad_is_not_zero)),
        OpRule(("Resize",), output=aligned, unless=(*MOVES, resize_is_not_nearest)),
        OpRule((COPY,), output=aligned, unless=MOVES),
    )


def for_device(target: Target, device: str) -> Target:
    """``target`` with the size limits of ``device``."""
    bare = without(target, "insert_rescale", "norm_to_conv")  # no depthwise 1x1 kernel
    return replace(bare, rules=rules((EXCEEDS[device],), slope_is_not_in_hardware))


def for_npu(target: Target) -> Target:
    """``target`` for Ryzen AI, whose limits are not public and which supports slopes of k/256."""
    rest = without(target, "round_edge_slope", "split_groups")
    passes = (*rest.passes, "round_slopes")
    return replace(rest, rules=rules((), slope_is_no_256th), passes=passes)


def without(target: Target, *names: str) -> Target:
    """``target`` without the prepare passes ``names``."""
    return replace(target, passes=tuple(p for p in target.passes if p not in names))


POWER_OF_TWO = replace(INT8, scale="power_of_two")

TARGET = Target(
    name="dpu",
    summary="AMD DPU and Ryzen AI (XINT8): int8, power-of-two scales, everything per tensor",
    activations=POWER_OF_TWO,
    weights=POWER_OF_TWO,
    min_opset=13,
    exclusive=True,
    per_channel=False,
    calibrator="mse",
    refine=("smooth", "rescale", "bias", "equalize", "round"),
    weight_range="mse",
    verified_in="dpu",
    runs_in_engine=True,
    passes=(
        "div_to_mul",
        "line_to_image",
        "norm_to_conv",
        "split_groups",
        "split_mean",
        "insert_rescale",
        "write_attributes",
        "round_edge_slope",
    ),
    legalize=(legalize, report_lost_channels),
    rules=rules((EXCEEDS["DPUCZDX8G"],), slope_is_not_in_hardware),
    options={
        "device": {
            "DPUCZDX8G": lambda target: target,
            "DPUCVDX8H": lambda target: for_device(target, "DPUCVDX8H"),
            "DPUCAHX8H": lambda target: for_device(target, "DPUCAHX8H"),
            "npu": for_npu,
        },
        "rescale": {
            "on": lambda target: target,
            "off": lambda target: without(target, "insert_rescale"),
        },
        "sigmoid": {
            "float": lambda target: target,
            "hard": lambda target: replace(target, passes=(*target.passes, "harden_sigmoid")),
        },
    },
    reasons={
        "Div": "the DPU has no division; the CPU runs it",
        "BatchNormalization": "the CPU runs it where it cannot become a depthwise convolution",
        "LRN": "the CPU runs it",
        "LayerNormalization": "the CPU runs it",
        "PRelu": "the hardware supports only one slope for all channels (LeakyRelu)",
        "Sigmoid": "the CPU runs it; --set sigmoid=hard replaces it by a HardSigmoid, which "
        "changes the function",
        "Softmax": "the CPU or a separate engine runs it",
        "Tanh": "the CPU runs it",
    },
    checks=(
        "weight-axis",
        *CHECKS,
        "only-qdq",
        "loads-bodies",
    ),
    next_step="session = onnxruntime.InferenceSession('{output}', "
    "providers=['VitisAIExecutionProvider'])",
)
