"""Predicates about speed: layers that onnxruntime's CPU kernels run slower in int8 than in float.

Measured with onnxruntime 1.31 on x86 with AVX512-VNNI and AMX, one and two threads.  Each predicate
looks only at shapes and neighbouring nodes, never at names.
"""

from oq.model.first_layer import FUSED, MOVES, SUMS, channels_of, stays_float
from oq.model.operands import data_inputs, weight_input
from oq.model.view import GraphView
from oq.planning.target import Match

WRITES_CODES = frozenset(
    {"AveragePool", "Concat", "Conv", "GlobalAveragePool", "LeakyRelu", "Resize", "Sigmoid"}
)
"""Ops whose integer kernels always write integers, never floats."""


def window_of_few_channels(view: GraphView, match: Match) -> str | None:
    """A first convolution over few channels, if its input is float."""
    if not stays_float(view, match.anchor):
        return None
    weight = view.constants[weight_input(match.anchor) or ""]
    window = " x ".join(map(str, weight.shape[2:]))
    return (
        f"slower in int8: its {window} kernel reads {weight.shape[1]} of "
        f"{channels_of(view, match.anchor)} channels, and its input is float"
    )


def averages_windows(view: GraphView, match: Match) -> str | None:
    """An AveragePool whose window is smaller than the image: its integer kernel gathers every
    value."""
    window = match.anchor.attributes.get("kernel_shape")
    image = (view.shape(match.anchor.inputs[0]) or ())[2:]
    if window is None or list(image) == list(window):
        return None
    return f"slower in int8: it averages windows of {' x '.join(map(str, window))}"


def inputs_are_float(view: GraphView, match: Match) -> str | None:
    """An elementwise op whose inputs are written as floats by integer kernels at no cost."""
    varying = [t for t in data_inputs(match.anchor) if not view.is_constant(t)]
    if not varying or any(_is_written_as_codes(view, t) for t in varying):
        return None
    return "slower in int8: its inputs are float and would need an extra quantize step"


def _is_written_as_codes(view: GraphView, tensor: str) -> bool:
    """Whether the nearest node above that computes runs in a kernel that writes codes."""
    node = view.producer(tensor)
    while node is not None and node.op in {*FUSED, *MOVES, "Flatten", "MaxPool"}:
        node = view.producer(node.inputs[0])
    if node is None or node.op in WRITES_CODES:
        return node is not None
    return node.op in SUMS and any(_is_written_as_codes(view, t) for t in node.inputs)
