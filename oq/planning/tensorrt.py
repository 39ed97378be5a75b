"""What TensorRT's kernels support and what slows them down: predicates of the ``trt`` target's
rules.

The thresholds are those of NVIDIA's ModelOpt (``onnx/quantization/graph_utils.py``), unless another
source is named.  Those about speed are heuristics, which ``--mode naive`` ignores.
"""

import math
from collections.abc import Iterable

from oq.model.operands import data_inputs, weight_input
from oq.model.ops import CONVOLUTIONS, facts, only_moves
from oq.model.view import GraphView, NodeView
from oq.numerics.values import Shape
from oq.planning.target import Match

CHANNELS = 16
"""Channels per step of an int8 tensor core kernel, and the minimum sides of a product's weight."""

SMALL = 2**20
"""Multiply-accumulates per sample below which a layer takes as long as launching a kernel, in any
precision (1 us is 10**7 of them on the slowest GPU).  Such a layer is not kept in float on its own,
which would cost a reformat kernel."""

SEQUENCE = 512
"""Longest sequence for which int8 attention is faster."""

FP8_VOLUME = 32
"""Largest kernel (height times width) of the FP8 convolutions."""


def convolution_is_thin(view: GraphView, match: Match) -> str | None:
    """Int8 convolutions need 16 channels on both sides; exceptions with 8 are square kernels with
    16 on the other side or at the graph's input, and depthwise ones of 3x3 and larger."""
    node = match.anchor
    shape = _sizes(view, weight_input(node))
    if shape is None:
        return None
    outputs, inputs, *kernel = shape
    if min(outputs, inputs) >= CHANNELS or _is_small(view, node, shape, len(kernel)):
        return None
    if node.attributes.get("group", 1) == 1:
        reaches = max(outputs, inputs) >= CHANNELS or _is_first(view, node)
        fits = (outputs % 8 == 0 or inputs % 8 == 0) and reaches and len(set(kernel)) <= 1
    else:
        fits = outputs % 8 == 0 and min(kernel, default=0) >= 3
    if fits:
        return None
    size = "x".join(str(k) for k in kernel)
    return (
        f"{inputs} input channels per group, {outputs} outputs and kernel {size} are too thin for "
        "TensorRT's int8 kernels, so float is faster"
    )


def convolution_is_not_for_fp8(view: GraphView, match: Match) -> str | None:
    """FP8 convolutions need more than 16 channels on both sides and a small kernel."""
    shape = _sizes(view, weight_input(match.anchor))
    if shape is None:
        return None
    outputs, inputs, *kernel = shape
    volume = math.prod(kernel)
    if min(outputs, inputs) <= CHANNELS:
        return (
            f"{inputs} input channels per group and {outputs} outputs: float is faster where "
            f"either is {CHANNELS} or less"
        )
    if volume > FP8_VOLUME:
        return f"a kernel of {volume} positions: TensorRT's FP8 kernels take up to {FP8_VOLUME}"
    return None


def product_is_thin(view: GraphView, match: Match) -> str | None:
    """A matrix-vector product is memory-bound, and thin matrices leave the tiles of an int8 kernel
    mostly empty.  A batch of unknown size is not assumed to be 1."""
    node = match.anchor
    weight = weight_input(node)
    shape = _shape(view, node.outputs[0])
    sizes = _sizes(view, weight)
    if sizes is None:
        if 1 in shape[-2:]:
            return _VECTOR.format(name=node.name, shape=_spell(shape))
        return None
    if len(sizes) < 2 or _is_small(view, node, sizes, 0):
        return None
    if len(shape) == 2 and 1 in shape:
        return _VECTOR.format(name=node.name, shape=_spell(shape))
    depth, columns = sizes[-2:]
    if node.attributes.get("transB"):
        depth, columns = columns, depth
    if min(depth, columns) < CHANNELS:
        return f"{node.name!r} multiplies by a {depth}x{columns} matrix, too thin for int8 kernels"
    return None


_VECTOR = (
    "{name!r} is a matrix-vector product (output {shape}): it is memory-bound, so float is as fast"
)


BLOCK = 128
"""Inputs that share a scale of a 4-bit weight (ModelOpt's block size, and that of its AWQ)."""


def does_not_split_into_blocks(view: GraphView, match: Match) -> str | None:
    """TensorRT's 4-bit weights need complete blocks, and an even row length, since a byte holds
    two."""
    sizes = _sizes(view, weight_input(match.anchor))
    if sizes is None or len(sizes) < 2:
        return "its weight is a vector and has no blocks"
    depth = sizes[-1] if match.anchor.attributes.get("transB") else sizes[-2]
    if depth % BLOCK or sizes[-1] % 2:
        return f"its {_spell(sizes)} weight does not divide into blocks of {BLOCK} inputs"
    return None


def sequence_is_long(view: GraphView, match: Match) -> str | None:
    """Long attention is faster in TensorRT's fused float kernel than as two int8 products."""
    last = _shape(view, match.output)[-1:]
    if last and isinstance(last[0], int) and last[0] > SEQUENCE:
        return f"{match.anchor.name!r} has {last[0]} columns; up to {SEQUENCE} int8 is faster"
    return None


def is_not_fp8_attention(view: GraphView, match: Match) -> str | None:
    """The fused FP8 attention is ``MatMul -> [Mul|Div] -> [Add] -> Softmax -> [Cast] -> MatMul``
    with a head size in (8, 256]."""
    node = match.anchor
    first = _attention(view, node)
    if first is None:
        return (
            f"{node.name!r} is not part of a MatMul-Softmax-MatMul pattern, which "
            "TensorRT's FP8 attention needs"
        )
    head = next(iter(_shape(view, first.inputs[0])[-1:]), None)
    if isinstance(head, int) and 8 < head <= 256:
        return None
    return f"its head size is {'unknown' if head is None else head}; FP8 attention takes 9 to 256"


def is_not_behind_a_convolution(view: GraphView, match: Match) -> str | None:
    """An int8 input is only faster if the kernel of a convolution can write it."""
    tensor = match.anchor.inputs[0]
    producer = view.producer(tensor)
    while producer is not None and _joins_a_kernel(view, producer):
        tensor = next(t for t in producer.inputs if not view.is_constant(t))
        producer = view.producer(tensor)
    weight = None if producer is None else weight_input(producer)
    stored = weight is not None and view.is_constant(weight)
    if producer is not None and producer.op in CONVOLUTIONS and stored:
        return None
    return "an int8 input is only faster directly after a convolution, whose kernel can write it"


def ends_the_graph(view: GraphView, match: Match) -> str | None:
    """A layer that computes a graph output is quantized only if it has weights."""
    if any(t in view.outputs for t in _moved(view, match.output)):
        return f"it computes a graph output ({match.output!r}), which stays in float"
    return None


def feeds_no_quantized_layer(view: GraphView, match: Match) -> str | None:
    """Pooling that reads int8 also writes int8 (NVIDIA, Working with Quantized Types,
    recommendation 5), so a quantized layer must read its output."""
    for tensor in _moved(view, match.output):
        for reader in view.consumers(tensor):
            weight = weight_input(reader)
            if weight is not None and view.is_constant(weight):
                return None
    return f"no quantized layer reads {match.output!r}, so int8 pooling would need a reformat"


def _moved(view: GraphView, tensor: str) -> list[str]:
    """``tensor`` and what only moves its values."""
    found = [tensor]
    for here in found:
        found += [t for n in view.consumers(here) if only_moves(n.op) for t in n.outputs]
    return found


def _joins_a_kernel(view: GraphView, node: NodeView) -> bool:
    """Whether ``node`` moves values or belongs behind a layer: activation, BatchNormalization, a
    constant added or multiplied."""
    row = facts(node.op)
    if row is None or not data_inputs(node):
        return False
    varying = [t for t in dict.fromkeys(node.inputs) if t and not view.is_constant(t)]
    if len(varying) == 1:
        return row.kind in {"copy", "activation"} or node.op in {"Add", "Mul"}
    return False


def _is_first(view: GraphView, node: NodeView) -> bool:
    tensor = node.inputs[0]
    while (producer := view.producer(tensor)) is not None and only_moves(producer.op):
        tensor = producer.inputs[0]
    return producer is None


_TO_SOFTMAX = (("Mul", "Div"), ("Add",))
"""What may stand between the first product of an attention and its Softmax, in this order."""


def _attention(view: GraphView, node: NodeView) -> NodeView | None:
    """The first product of the attention that ``node`` is one of the two products of."""
    down = _down(view, node.outputs[0], _TO_SOFTMAX)
    if down is not None and down.op == "Softmax":
        second = _down(view, down.outputs[0], (("Cast",),))
        return node if second is not None and second.op == "MatMul" else None
    soft = _up(view, node.inputs[0], (("Cast",),))
    if soft is None or soft.op != "Softmax":
        return None
    first = _up(view, soft.inputs[0], tuple(reversed(_TO_SOFTMAX)))
    return first if first is not None and first.op == "MatMul" else None


def _down(view: GraphView, tensor: str, between: Iterable[tuple[str, ...]]) -> NodeView | None:
    """The one reader of ``tensor``, past optional nodes ``between``."""
    for ops in between:
        readers = view.consumers(tensor)
        if len(readers) == 1 and readers[0].op in ops:
            tensor = readers[0].outputs[0]
    readers = view.consumers(tensor)
    return readers[0] if len(readers) == 1 and view.edges(tensor) == 1 else None


def _up(view: GraphView, tensor: str, between: Iterable[tuple[str, ...]]) -> NodeView | None:
    """What computes ``tensor``, past optional nodes ``between``."""
    producer = view.producer(tensor)
    for ops in between:
        if producer is not None and producer.op in ops:
            producer = view.producer(producer.inputs[0])
    return producer


def _is_small(view: GraphView, node: NodeView, weight: tuple[int, ...], axes: int) -> bool:
    """Whether ``node`` has fewer than :data:`SMALL` multiply-accumulates for one sample: one per
    weight and position of the output, whose last ``axes`` axes are positions (0: all but the
    last).  An unknown batch counts once, an unknown image is not small."""
    shape = _shape(view, node.outputs[0])
    positions = shape[-axes:] if axes else shape[:-1]
    if axes and not (len(shape) > axes and all(isinstance(s, int) for s in positions)):
        return False
    return math.prod((*weight, *(s for s in positions if isinstance(s, int)))) < SMALL


def _shape(view: GraphView, tensor: str) -> Shape:
    """What is known of the shape: () where nothing is."""
    return view.shape(tensor) or ()


def _sizes(view: GraphView, tensor: str | None) -> tuple[int, ...] | None:
    """The shape of a constant, without loading it."""
    shape = view.shape(tensor) if tensor is not None and view.is_constant(tensor) else None
    return None if shape is None else tuple(s for s in shape if isinstance(s, int))


def _spell(shape: Shape) -> str:
    return "x".join("?" if s is None else str(s) for s in shape)
