"""Predicates of target dpu: each returns None, or the reason why the DPU does not run a node in
int8."""

from collections.abc import Mapping

from oq.dpu.kernels import is_hard_sigmoid
from oq.dpu.limits import DEVICES, Limits, Shape, beyond
from oq.dpu.places import CLIP, EDGE_SLOPE, FUSED_BOUNDS
from oq.model.operands import clip_bounds, is_padded
from oq.model.ops import SLOPED, facts, only_moves
from oq.model.view import GraphView, NodeView
from oq.planning.target import Match, Predicate

SLOPE_ERROR = 0.05
"""Maximum relative error of rounding a slope to 256ths: for 0.1 it is 0.016."""

LARGEST_MEAN = 512
"""Maximum number of values that the DPU averages in one pass."""


def clip_is_not_in_hardware(view: GraphView, match: Match) -> str | None:
    """The DPU clips only to [0, 6] and [0, 1]."""
    for node in match.links:
        if node.op == CLIP and (found := clip_bounds(view, node)) not in FUSED_BOUNDS:
            return f"{node.name!r} clips to {list(found)}; the DPU clips to [0, 6] or [0, 1]"
    return None


def slope_is_not_in_hardware(_view: GraphView, match: Match) -> str | None:
    """The edge DPU's LeakyReLU always multiplies by 26/256."""
    for node in match.links:
        if node.op in SLOPED and round(256 * _slope(node)) != EDGE_SLOPE:
            return (
                f"{node.name!r} has slope {_slope(node):g}; the edge DPU supports only "
                f"{EDGE_SLOPE}/256 "
                "(--set device=npu for a newer one)"
            )
    return None


def slope_is_no_256th(_view: GraphView, match: Match) -> str | None:
    """Newer NPUs multiply by k/256."""
    for node in match.links:
        slope = 256 * _slope(node) if node.op in SLOPED else 0.0
        if abs(round(slope) - slope) > SLOPE_ERROR * abs(slope):
            return f"{node.name!r} has slope {slope / 256:g}, which no k/256 approximates"
    return None


def _slope(node: NodeView) -> float:
    return float(node.attributes.get("alpha", 0.01))


def not_standard_hard_sigmoid(_view: GraphView, match: Match) -> str | None:
    """The hardware's HardSigmoid is ``max(0, min(1, x / 6 + 1 / 2))``."""
    if is_hard_sigmoid(match.anchor.attributes):
        return None
    return f"{match.anchor.name!r} is not a HardSigmoid with alpha = 1/6, beta = 1/2"


def input_is_constant(view: GraphView, match: Match) -> str | None:
    """An op that moves a constant has no quantized input to follow."""
    tensor = match.anchor.inputs[0]
    return f"its input {tensor!r} is a constant" if view.is_constant(tensor) else None


def mean_is_not_in_hardware(view: GraphView, match: Match) -> str | None:
    """Means are over complete windows of at most 512 values."""
    node = match.anchor
    if only_moves(node.op):
        return None  # MaxPool
    if node.attributes.get("ceil_mode"):
        return f"the windows of {node.name!r} extend beyond the image (ceil_mode)"
    if is_padded(node.attributes) and not node.attributes.get("count_include_pad"):
        return f"{node.name!r} averages fewer values at the edge (count_include_pad = 0)"
    image = (view.shape(node.inputs[0]) or ())[2:]
    count = 1
    for side in node.attributes.get("kernel_shape", image):
        count *= side if isinstance(side, int) else 1
    if count > LARGEST_MEAN:
        return f"{node.name!r} averages {count} values; the DPU averages at most {LARGEST_MEAN}"
    return None


def exceeds_dpuczdx8g(view: GraphView, match: Match) -> str | None:
    """Sizes beyond the B4096 of ZCU102, ZCU104 and KV260."""
    return _exceeds(view, match, DEVICES["DPUCZDX8G"])


def exceeds_dpucvdx8h(view: GraphView, match: Match) -> str | None:
    """Sizes beyond the VCK5000's DPU."""
    return _exceeds(view, match, DEVICES["DPUCVDX8H"])


def exceeds_dpucahx8h(view: GraphView, match: Match) -> str | None:
    """Sizes beyond the Alveo's DPU."""
    return _exceeds(view, match, DEVICES["DPUCAHX8H"])


EXCEEDS: Mapping[str, Predicate] = {
    "DPUCZDX8G": exceeds_dpuczdx8g,
    "DPUCVDX8H": exceeds_dpucvdx8h,
    "DPUCAHX8H": exceeds_dpucahx8h,
}
"""Device -> the predicate of its limits."""


def _exceeds(view: GraphView, match: Match, limits: Limits) -> str | None:
    node = match.anchor
    of = view.constants[node.inputs[1]].shape if view.is_constant(node.inputs[1]) else ()
    if len(of) < 3:
        return None
    group = int(node.attributes.get("group", 1))
    wide, flat = of[1] * group, (1,) * (len(of) - 2)
    row = facts(node.op)
    outputs_first = row is not None and row.weight_axis == 0
    shape = Shape(
        kernel=tuple(of[2:]),
        strides=tuple(node.attributes.get("strides", flat)),
        dilations=tuple(node.attributes.get("dilations", flat)),
        inputs=wide if outputs_first else of[0],
        outputs=of[0] if outputs_first else wide,
        group=group,
    )
    reason = beyond(shape, limits)
    return reason and f"{node.name!r} {reason}, so it runs on the CPU"
