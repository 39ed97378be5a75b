"""Reasons of speed: what onnxruntime's CPU kernels would run slower in integers than in float.

Measured with onnxruntime 1.31 on x86 with AVX512-VNNI and AMX, one and two threads.  Each predicate
looks at shapes and neighbours alone, never at a model's names.
"""

from oq.predicates import data_inputs, weight_input
from oq.target import Match
from oq.view import GraphView, NodeView

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

WRITES_CODES = frozenset(
    {"AveragePool", "Concat", "Conv", "GlobalAveragePool", "LeakyRelu", "Resize", "Sigmoid"}
)
"""Ops whose integer kernels write codes and never floats."""


def window_of_few_channels(view: GraphView, match: Match) -> str | None:
    """A first layer whose window reads few channels, as long as its data is float anyway."""
    if not stays_float(view, match.anchor):
        return None
    weight = view.constants[weight_input(match.anchor) or ""]
    window = " x ".join(map(str, weight.shape[2:]))
    return (
        f"in int8 it is slower: its {window} window reads {weight.shape[1]} of "
        f"{_channels(view, match.anchor)} channels, and its data is float still"
    )


def average_of_a_part(view: GraphView, match: Match) -> str | None:
    """An AveragePool whose window is smaller than the image: one gather per value, in float."""
    window = match.anchor.attributes.get("kernel_shape")
    image = (view.shape(match.anchor.inputs[0]) or ())[2:]
    if window is None or list(image) == list(window):
        return None
    return f"in int8 it is slower: it averages windows of {' x '.join(map(str, window))}"


def both_come_in_float(view: GraphView, match: Match) -> str | None:
    """An elementwise op of tensors that their kernels write as floats at no cost."""
    varying = [t for t in data_inputs(match.anchor) if not view.is_constant(t)]
    if not varying or any(_is_written_as_codes(view, t) for t in varying):
        return None
    return "in int8 it is slower: what it reads is float still, and would be rounded for it alone"


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
    if shape[1] != _channels(view, node) and _channels(view, node) > NARROW_DEPTHWISE:
        return False
    return comes_in_float(view, node.inputs[0]) and _only_convs_read(view, node.outputs[0])


def _channels(view: GraphView, conv: NodeView) -> int:
    return int(view.constants[conv.inputs[1]].shape[1] * conv.attributes.get("group", 1))


def comes_in_float(view: GraphView, tensor: str) -> bool:
    """Whether ``tensor`` is what the graph is fed with, or made of it by ops that stay in float."""
    node = view.producer(tensor)
    if node is None:
        return not view.is_constant(tensor)
    if node.op in MOVES or node.op in FUSED:
        return comes_in_float(view, node.inputs[0])
    if node.op in SUMS:
        return all(comes_in_float(view, t) for t in node.inputs if not view.is_constant(t))
    return stays_float(view, node)


def _only_convs_read(view: GraphView, tensor: str) -> bool:
    readers = view.consumers(tensor)
    if len(readers) == 1 and readers[0].op in FUSED:
        return _only_convs_read(view, readers[0].outputs[0])
    return bool(readers) and tensor not in view.outputs and all(r.op in LAYER for r in readers)


def _is_written_as_codes(view: GraphView, tensor: str) -> bool:
    """Whether the nearest node above that computes runs in a kernel that writes codes."""
    node = view.producer(tensor)
    while node is not None and node.op in {*FUSED, *MOVES, "Flatten", "MaxPool"}:
        node = view.producer(node.inputs[0])
    if node is None or node.op in WRITES_CODES:
        return node is not None
    return node.op in SUMS and any(_is_written_as_codes(view, t) for t in node.inputs)
