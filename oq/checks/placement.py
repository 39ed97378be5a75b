"""Checks of the placement of Q/DQ pairs: graphs that load, but run slower or compute something else
than they define.  Rows of :mod:`oq.checks.legal`; sources are the vendor pages named there and in
each row."""

from collections.abc import Iterator

from oq.model.operands import weight_input
from oq.model.ops import PRODUCTS, has_weight
from oq.model.qdq import (
    DQ,
    PAIR,
    Q,
    above_pair,
    before_pair,
    block_size,
    codes_dtype,
    constant,
    dequantized_by,
    pairs,
    past_pair,
    quantizers_of,
    same_grid,
    stored,
)
from oq.model.view import GraphView, NodeView
from oq.planning.check import Found

CROSSED = frozenset({"Gather", "MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"})
"""Ops across which onnxruntime moves a pair (QDQPropagationTransformer)."""


def residual_sides(view: GraphView) -> Iterator[Found]:
    """A residual Add fuses into the layer on one side; its other operand, the skip connection, is
    the one to quantize (NVIDIA, Working with Quantized Types, recommendation 4)."""
    for node in view.nodes:
        if node.op != "Add" or any(_is_stored(view, t) for t in node.inputs):
            continue
        paired = [before_pair(view, t) is not None for t in node.inputs]
        layers = [_layer(view, t) for t in node.inputs]
        named = next((n.name for n in layers if n is not None), None)
        if named is None:
            continue
        if all(paired):
            yield node.name, f"both operands are quantized, so it cannot fuse into {named!r}"
        elif any(paired):
            free = 1 - paired.index(True)
            if layers[free] is None:
                yield (
                    node.name,
                    f"the pair is on the branch of {named!r}, and the skip connection is float",
                )


def concat_grids(view: GraphView) -> Iterator[Found]:
    """A pair moves across a Concat if all sides have the same scale; else a branch is
    requantized.  One with a float result stays in float."""
    for node in view.nodes:
        if node.op != "Concat":
            continue
        ends = [dq for t in node.inputs if (dq := dequantized_by(view, t)) is not None]
        below = quantizers_of(view, node.outputs[0])
        if not below:
            continue
        ends += below
        odd = next((n for n in ends[1:] if not same_grid(view, ends[0], n)), None)
        if odd is not None:
            yield (
                node.name,
                f"scale or zero point of {ends[0].name!r} and {odd.name!r} around it differ",
            )


def pad_is_cut_off(view: GraphView) -> Iterator[Found]:
    """A zero Pad fuses into the next convolution if no pair lies between them."""
    for node in view.nodes:
        above = above_pair(view, node.inputs[0]) if node.op == "Conv" else None
        if above is None or above.op != "Pad":
            continue
        value = constant(view, above, 2)
        if above.attributes.get("mode", "constant") == "constant" and (
            value is None or not value.any()
        ):
            yield node.name, f"there is a Q/DQ pair between Pad {above.name!r} and it"


def half_quantized(view: GraphView) -> Iterator[Found]:
    """A layer runs in integers if its data and its weight are both quantized."""
    for node in view.nodes:
        weight = weight_input(node)
        if weight is None or not node.inputs[0]:
            continue
        data = dequantized_by(view, node.inputs[0]) is not None
        if data and view.is_constant(weight):
            yield node.name, f"its data is quantized and its weight {weight!r} is float"


def doubled_pair(view: GraphView) -> Iterator[Found]:
    """DQ -> Q with nothing between: onnxruntime merges the two pairs into one, with the smaller
    scale (DoubleQDQPairsRemover), so the results are not those of the file."""
    for node in pairs(view):
        above = dequantized_by(view, node.inputs[0]) if node.op == Q else None
        if above is None or view.edges(above.outputs[0]) != 1 or same_grid(view, above, node):
            continue
        q = view.producer(above.inputs[0])
        if q is not None and q.op == Q:
            yield node.name, f"it only requantizes the output of {q.name!r}"


def weight_only(view: GraphView) -> Iterator[Found]:
    """Integer weights per channel with float data become MatMulNBits, which quantizes the data too.
    Weights in blocks are made for that kernel."""
    for node in view.nodes:
        weight = weight_input(node)
        dq = None if weight is None else dequantized_by(view, weight)
        if dq is None or node.op not in PRODUCTS or node.attributes.get("transB"):
            continue
        if block_size(dq) is not None:
            continue
        if stored(view, dq) and dequantized_by(view, node.inputs[0]) is None:
            yield node.name, "its weight is integer and its data is float"


def shared_int8(view: GraphView) -> Iterator[Found]:
    """int8 activations with several readers: onnxruntime on x86 supports them in uint8 only."""
    for q in pairs(view):
        if q.op != Q or codes_dtype(view, q) != "int8" or view.is_constant(q.inputs[0]):
            continue
        readers = view.consumers(q.outputs[0])
        if sum(view.edges(dq.outputs[0]) for dq in readers if dq.op == DQ) > 1:
            yield q.name, f"the int8 tensor {q.inputs[0]!r} has several readers"


def int8_across_a_move(view: GraphView) -> Iterator[Found]:
    """From opset 21 on, moving an int8 pair across an op makes onnxruntime 1.31 refuse the file
    on x86 (TypeInferenceError: output_dtype INT8 does not match y_zero_point type UINT8)."""
    for node in view.nodes if view.opset >= 21 else ():
        dq = dequantized_by(view, node.inputs[0]) if node.op in CROSSED else None
        if dq is None or codes_dtype(view, dq) != "int8" or stored(view, dq):
            continue
        if any(n.op not in PAIR for n in view.consumers(node.outputs[0])):
            yield node.name, "it is between an int8 DequantizeLinear and a layer"


def moved_into_a_body(view: GraphView) -> Iterator[Found]:
    """onnxruntime moves a DequantizeLinear behind ops that move values, also to a node that reads
    the result only in its bodies: there version 1.32 writes beyond its list of inputs, and the
    process dies."""
    for tensor in moved_tensors(view):
        holder = next((n for n in view.consumers(tensor) if tensor in n.captured), None)
        if holder is not None:
            yield holder.name, f"its bodies read {tensor!r}, which is moved behind a pair"


def moved_tensors(view: GraphView) -> Iterator[str]:
    """What comes from a DequantizeLinear across ops that only move values."""
    moved = set[str]()
    for node in view.nodes:
        if node.op not in CROSSED or not node.inputs:
            continue
        if node.inputs[0] in moved or dequantized_by(view, node.inputs[0]) is not None:
            moved.update(t for t in node.outputs if t)
            yield from (t for t in node.outputs if t)


def _layer(view: GraphView, tensor: str) -> NodeView | None:
    """The weighted layer that ``tensor`` comes from, through a pair or a BatchNormalization, when
    nothing else reads what it computes."""
    tensor = past_pair(view, tensor)
    producer = view.producer(tensor)
    if producer is not None and producer.op == "BatchNormalization":
        tensor = producer.inputs[0]
        producer = view.producer(tensor)
    is_layer = producer is not None and has_weight(producer.op) and view.edges(tensor) == 1
    return producer if is_layer else None


def _is_stored(view: GraphView, tensor: str) -> bool:
    dq = dequantized_by(view, tensor)
    return view.is_constant(tensor) or (dq is not None and stored(view, dq))
