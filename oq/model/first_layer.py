"""First layers of few channels, which onnxruntime's CPU runs faster in float than in int8.

Measured with onnxruntime 1.31 on x86 with AVX512-VNNI and AMX, one and two threads, from shapes and
neighbours alone.
"""

from oq.model.operands import weight_input
from oq.model.view import GraphView, NodeView

FEW_CHANNELS = 3
"""Of a window, per group.  onnxruntime gathers a window row by row, so these are copies of 3 to 9
bytes: 16 x 3 x 3 x 3 over 32 x 32 pixels takes 36 us in int8 and 14 us in float, over 4 channels 20
us and 19 us."""

NARROW_DEPTHWISE = 32
"""Channels.  Per pixel, the int8 depthwise kernel costs 14 ns before any channel: 3 x 3 over
112 x 112 pixels takes 259 us in int8 and 51 us in float with 8 channels, 282 us and 153 us with
32; with 128 over 14 x 14 both take about 14 us."""

LAYER = frozenset({"Conv"})
"""What may stay in float as a first layer, and what may read it."""

FUSED = frozenset({"Relu", "Clip"})
"""What a convolution runs itself, in float as in integers."""

MOVES = frozenset(
    {"Cast", "Div", "Pad", "Reshape", "Slice", "Squeeze", "Sub", "Transpose", "Unsqueeze"}
)
"""What stands between a graph's input and its first layer and stays in float with it."""

SUMS = frozenset({"Add", "Mul"})
"""Ops that run in integers where an operand is in codes."""


def stays_float(view: GraphView, node: NodeView) -> bool:
    """Whether ``node`` is such a first layer.  Only Convs may read it: a MaxPool or an Add behind
    it would run on codes in channels-first order, several times slower (the layout that
    onnxruntime's transpose optimizer leaves there)."""
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
    """Whether ``tensor`` is what the graph is fed with, or made of it by ops that stay in float."""
    node = view.producer(tensor)
    if node is None:
        return not view.is_constant(tensor)
    if node.op in MOVES or node.op in FUSED:
        return is_computed_in_float(view, node.inputs[0])
    if node.op in SUMS:
        return all(is_computed_in_float(view, t) for t in node.inputs if not view.is_constant(t))
    return stays_float(view, node)


def _only_convs_read(view: GraphView, tensor: str) -> bool:
    readers = view.consumers(tensor)
    if len(readers) == 1 and readers[0].op in FUSED:
        return _only_convs_read(view, readers[0].outputs[0])
    return bool(readers) and tensor not in view.outputs and all(r.op in LAYER for r in readers)
