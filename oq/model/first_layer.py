"""First layers over few channels, which onnxruntime's CPU runs faster in float than in int8.

Measured with onnxruntime 1.31 on x86 with AVX512-VNNI and AMX, one and two threads; depends only on
shapes and neighbouring nodes.
"""

from oq.model.operands import weight_input
from oq.model.ops import CLIPPING
from oq.model.view import GraphView, NodeView

FEW_CHANNELS = 3
"""Maximum number of channels per group.  onnxruntime gathers a window row by row, which means
copies of 3 to 9 bytes: 16 x 3 x 3 x 3 over 32 x 32 pixels takes 36 us in int8 and 14 us in float,
over 4 channels 20 us and 19 us."""

NARROW_DEPTHWISE = 32
"""Maximum number of channels.  The int8 depthwise kernel has a fixed cost of 14 ns per pixel: 3 x 3
over 112 x 112 pixels takes 259 us in int8 and 51 us in float with 8 channels, 282 us and 153 us
with 32; with 128 over 14 x 14 both take about 14 us."""

LAYER = frozenset({"Conv"})
"""Ops that may stay in float as a first layer, and that may read it."""

MOVES = frozenset(
    {"Cast", "Div", "Pad", "Reshape", "Slice", "Squeeze", "Sub", "Transpose", "Unsqueeze"}
)
"""Ops between a graph input and its first layer that stay in float with it."""

SUMS = frozenset({"Add", "Mul"})
"""Ops that run in int8 if one operand is quantized."""


def stays_float(view: GraphView, node: NodeView) -> bool:
    """Whether ``node`` is such a first layer.  Only Convs may read it: a MaxPool or an Add after it
    would run in int8 in channels-first order, several times slower (the layout that onnxruntime's
    transpose optimizer leaves there)."""
    weight = weight_input(node)
    if node.op not in LAYER or weight is None or not view.is_constant(weight):
        return False
    shape = view.constants[weight].shape
    if len(shape) != 4 or shape[1] > FEW_CHANNELS or shape[2:] == (1, 1):
        return False
    if shape[1] != channels_of(view, node) and channels_of(view, node) > NARROW_DEPTHWISE:
        return False
    return is_computed_in_float(view, node.inputs[0]) and _only_convs_read(view, node.outputs[0])


def channels_of(view: GraphView, conv: NodeView) -> int:
    return int(view.constants[conv.inputs[1]].shape[1] * conv.attributes.get("group", 1))


def is_computed_in_float(view: GraphView, tensor: str) -> bool:
    """Whether ``tensor`` is a graph input, or computed from one by ops that stay in float."""
    node = view.producer(tensor)
    if node is None:
        return not view.is_constant(tensor)
    if node.op in MOVES or node.op in CLIPPING:
        return is_computed_in_float(view, node.inputs[0])
    if node.op in SUMS:
        return all(is_computed_in_float(view, t) for t in node.inputs if not view.is_constant(t))
    return stays_float(view, node)


def _only_convs_read(view: GraphView, tensor: str) -> bool:
    readers = view.consumers(tensor)
    if len(readers) == 1 and readers[0].op in CLIPPING:
        return _only_convs_read(view, readers[0].outputs[0])
    return bool(readers) and tensor not in view.outputs and all(r.op in LAYER for r in readers)
