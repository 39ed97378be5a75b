"""Predicates about speed: layers that onnxruntime's CPU kernels run slower in int8 than in float.

Measured with onnxruntime 1.31 on x86 with AVX512-VNNI and AMX, one and two threads.  Each predicate
looks only at shapes and neighbouring nodes, never at names.
"""

from oq.model.first_layer import MOVES, SUMS, channels_of, stays_float
from oq.model.operands import data_inputs, weight_input
from oq.model.ops import CLIPPING
from oq.model.view import GraphView
from oq.planning.target import Match

WRITES_CODES = frozenset(
    {"AveragePool", "Concat", "Conv", "GlobalAveragePool", "LeakyRelu", "Resize", "Sigmoid"}
)
"""Ops whose integer kernels always write integers, never floats."""

THROUGH = frozenset({*CLIPPING, *MOVES, "Flatten", "MaxPool"})
"""Ops that write what they read, codes or floats."""


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
    codes = view.once(_written_as_codes)
    if not varying or any(t in codes for t in varying):
        return None
    return "slower in int8: its inputs are float and would need an extra quantize step"


def _written_as_codes(view: GraphView) -> frozenset[str]:
    """The tensors of which the nearest node above that computes runs in a kernel that writes
    codes; through any chain of sums."""
    codes: set[str] = set()
    for node in view.nodes:
        if node.op in THROUGH:
            found = node.input(0) in codes
        else:
            sums = node.op in SUMS and any(t in codes for t in node.inputs)
            found = node.op in WRITES_CODES or sums
        if found:
            codes.update(node.outputs)
    return frozenset(codes)
