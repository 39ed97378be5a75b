"""AMD's DPU (Vitis AI, Ryzen AI's XINT8): int8 on scales that are powers of two, shifts alone.

The rules, from Quark (``npu_cnn_quantizer``, ``refine``, ``simulate_dpu``) and Vitis AI:

* Inputs and outputs of every op are int8, symmetric, per tensor, ``scale = 2**-position``; so are
  weights, and the bias has a position of its own.  What the DPU runs has pairs on all sides, graph
  inputs and outputs too; the CPU runs the rest in float.
* The pair lies behind the activation that is fused: ReLU, ReLU6, Clip to [0, 1] and
  LeakyReLU, but not HardSigmoid or HardSwish.
* Concat, pools, Pad and Slice have one position on all sides.  The other inequalities between
  positions are in :mod:`oq.dpu.positions`, solved before weights are rounded.
* LeakyReLU's slope is 26/256 in the edge DPU, which ``0.1`` becomes; ``--set device=npu`` takes
  every k/256 and states no limits on sizes.
* The hardware's mean is ``sum * N / 2**M`` (0.984 of the true one for 3x3).  AMD's quantizer
  writes that factor into the graph as a Mul; whether the compiler takes it out again is documented
  nowhere, and if it does not, the factor applies twice.  So here the file holds the plain pool,
  which every version of the compiler knows; ``oq verify --target dpu`` shows what the factor does.
"""

from dataclasses import replace
from typing import Any

from oq.dpu.kernels import is_hard_sigmoid
from oq.dpu.legalize import legalize
from oq.dpu.limits import DEVICES, Limits, Shape, beyond
from oq.dpu.places import FUSED_BOUNDS, bounds_of
from oq.predicates import (
    bias_is_not_constant,
    both_operands_vary,
    data_is_not_float,
    first_operand_is_constant,
    gemm_is_scaled,
    pad_is_not_zero,
    resize_is_not_nearest,
    weight_is_not_constant,
)
from oq.spec import INT8
from oq.target import Match, OpRule, Output, Predicate, Target
from oq.view import GraphView, NodeView

ACTIVATION = ("Relu", "Clip", "LeakyRelu")
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
EDGE_SLOPE = 26
"""256ths."""

SLOPE_ERROR = 0.05
"""Share of itself by which rounding to 256ths may move a slope: 0.1 moves by 0.016."""


def clip_is_not_in_hardware(view: GraphView, match: Match) -> str | None:
    """The DPU clips to [0, 6] and [0, 1]."""
    for node in match.links:
        if node.op == "Clip" and (found := bounds_of(view, node)) not in FUSED_BOUNDS:
            return f"{node.name!r} clips to {list(found)}, and the DPU to [0, 6] or [0, 1]"
    return None


def slope_is_not_in_hardware(_view: GraphView, match: Match) -> str | None:
    """The edge DPU's LeakyReLU multiplies by 26/256, whatever the file says."""
    for node in match.links:
        if node.op == "LeakyRelu" and round(256 * _slope(node)) != EDGE_SLOPE:
            return (
                f"{node.name!r} has slope {_slope(node):g}, and the edge DPU only {EDGE_SLOPE}/256 "
                "(--set device=npu for a newer one)"
            )
    return None


def slope_is_no_256th(_view: GraphView, match: Match) -> str | None:
    """Newer NPUs multiply by k/256."""
    for node in match.links:
        slope = _slope(node) if node.op == "LeakyRelu" else 0.0
        if abs(round(256 * slope) - 256 * slope) > SLOPE_ERROR * abs(256 * slope):
            return f"{node.name!r} has slope {slope:g}, which no k/256 comes near"
    return None


def _slope(node: NodeView) -> float:
    return float(node.attributes.get("alpha", 0.01))


def gate_is_other(_view: GraphView, match: Match) -> str | None:
    """The hardware's HardSigmoid is ``max(0, min(1, x / 6 + 1 / 2))``."""
    if is_hard_sigmoid(match.anchor.attributes):
        return None
    return f"{match.anchor.name!r} is no HardSigmoid of alpha = 1/6, beta = 1/2"


def input_is_constant(view: GraphView, match: Match) -> str | None:
    """What moves a constant has no grid to follow."""
    tensor = match.anchor.inputs[0]
    return f"its input {tensor!r} is a constant" if view.is_constant(tensor) else None


def mean_is_not_in_hardware(view: GraphView, match: Match) -> str | None:
    """Means are over whole windows of at most 512 values."""
    node = match.anchor
    if node.op == "MaxPool":
        return None
    if node.attributes.get("ceil_mode"):
        return f"the windows of {node.name!r} pass the edge of the image (ceil_mode)"
    padded = any(node.attributes.get("pads", ())) or _same(node)
    if padded and not node.attributes.get("count_include_pad"):
        return f"{node.name!r} averages fewer values at the edge (count_include_pad = 0)"
    info = view.tensors.get(node.inputs[0])
    shape = None if info is None else info.shape
    window = node.attributes.get("kernel_shape", () if shape is None else shape[2:])
    count = 1
    for side in window:
        count *= side if isinstance(side, int) else 1
    largest = DEVICES["DPUCZDX8G"].pool
    if count > largest:
        return f"{node.name!r} averages {count} values, and the DPU at most {largest}"
    return None


def _same(node: NodeView) -> bool:
    return str(node.attributes.get("auto_pad", "NOTSET")).startswith("SAME")


def exceeds(limits: Limits) -> Predicate:
    """The predicate that refuses convolutions beyond ``limits``."""

    def exceeds_the_hardware(view: GraphView, match: Match) -> str | None:
        node = match.anchor
        of = view.constants[node.inputs[1]].shape if view.is_constant(node.inputs[1]) else ()
        if len(of) < 3:
            return None
        group = int(node.attributes.get("group", 1))
        wide = of[1] * group
        ends = (of[0], wide) if node.op == "ConvTranspose" else (wide, of[0])
        flat = (1,) * (len(of) - 2)
        shape = Shape(
            kernel=tuple(of[2:]),
            strides=tuple(node.attributes.get("strides", flat)),
            dilations=tuple(node.attributes.get("dilations", flat)),
            inputs=ends[0],
            outputs=ends[1],
            group=group,
        )
        reason = beyond(shape, limits)
        return reason and f"{node.name!r} {reason}, so it runs on the CPU"

    return exceeds_the_hardware


def rules(limits: Limits | None, slope: Predicate) -> tuple[OpRule, ...]:
    """The table for a device of ``limits`` (None: not known) that refuses slopes by ``slope``."""
    fused = (clip_is_not_in_hardware, slope)
    plain = (data_is_not_float,)
    weighted = (data_is_not_float, weight_is_not_constant, bias_is_not_constant)
    layer = weighted if limits is None else (*weighted, exceeds(limits))
    product = (data_is_not_float, both_operands_vary, first_operand_is_constant)
    moves = (data_is_not_float, input_is_constant)

    def row(*ops: str | tuple[str, ...], unless: tuple[Predicate, ...], **more: Any) -> OpRule:
        return OpRule(ops, **{"output": Output.OWN, **more}, unless=unless)

    conv = ("Conv", "ConvTranspose")
    return (
        row(conv, ACTIVATION, bias="own", unless=(*layer, *fused)),
        row(conv, bias="own", unless=layer),
        row("Gemm", ACTIVATION, bias="own", unless=(*weighted, gemm_is_scaled, *fused)),
        row("Gemm", bias="own", unless=(*weighted, gemm_is_scaled)),
        row("MatMul", ACTIVATION, unless=(*product, *fused)),
        row("MatMul", unless=product),
        row("Add", ACTIVATION, constants=True, unless=(*plain, *fused)),
        row(("Add", "Mul", "Sub"), constants=True, unless=plain),
        row("HardSigmoid", unless=(*plain, gate_is_other)),
        row("HardSwish", unless=plain),
        row(ACTIVATION, unless=(*plain, *fused)),
        row("Concat", output=Output.UNITED, constants=True, unless=plain),
        row(
            POOL,
            ACTIVATION,
            output=Output.ALIGNED,
            unless=(*moves, mean_is_not_in_hardware, *fused),
        ),
        row(POOL, output=Output.ALIGNED, unless=(*moves, mean_is_not_in_hardware)),
        row("Pad", output=Output.ALIGNED, unless=(*moves, pad_is_not_zero)),
        row("Resize", output=Output.ALIGNED, unless=(*moves, resize_is_not_nearest)),
        row(COPY, output=Output.ALIGNED, unless=moves),
    )


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
    weight_range="mse",
    passes=("write_attributes", "round_edge_slope"),
    legalize=(legalize,),
    rules=rules(DEVICES["DPUCZDX8G"], slope_is_not_in_hardware),
    options={
        "device": {
            "DPUCZDX8G": lambda target: target,
            "DPUCVDX8H": lambda target: replace(
                target, rules=rules(DEVICES["DPUCVDX8H"], slope_is_not_in_hardware)
            ),
            "DPUCAHX8H": lambda target: replace(
                target, rules=rules(DEVICES["DPUCAHX8H"], slope_is_not_in_hardware)
            ),
            "npu": lambda target: replace(
                target,
                rules=rules(None, slope_is_no_256th),
                passes=(*(p for p in target.passes if p != "round_edge_slope"), "round_slopes"),
            ),
        },
        "sigmoid": {
            "float": lambda target: target,
            "hard": lambda target: replace(target, passes=(*target.passes, "harden_sigmoid")),
        },
    },
    reasons={
        "Div": "the DPU has no division; the CPU runs it",
        "LayerNormalization": "the CPU runs it",
        "PRelu": "only one slope for all channels (LeakyRelu) is in hardware everywhere",
        "Sigmoid": "the CPU runs it; --set sigmoid=hard makes it a HardSigmoid, another function",
        "Softmax": "the CPU or an engine of its own runs it",
        "Tanh": "the CPU runs it",
    },
    checks=(
        "power-of-two",
        "one-scale",
        "int8-symmetric",
        "positions",
        "kernel-is-whole",
        "only-qdq",
    ),
    next_step="session = onnxruntime.InferenceSession('{output}', "
    "providers=['VitisAIExecutionProvider'])",
)
