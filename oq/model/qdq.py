"""How a Q/DQ graph is read: nodes of pairs, their grids, and what stands on their two sides."""

from collections.abc import Iterator

import numpy as np

from oq.model.view import GraphView, NodeView
from oq.numerics.values import Array

Q, DQ = "QuantizeLinear", "DequantizeLinear"
PAIR = frozenset({Q, DQ})


def pairs(view: GraphView) -> Iterator[NodeView]:
    """Every QuantizeLinear and DequantizeLinear."""
    return (n for n in view.nodes if n.op in PAIR)


def scales(view: GraphView) -> Iterator[tuple[NodeView, Array]]:
    """Every node of a pair whose scale is a constant, with that scale."""
    for node in pairs(view):
        scale = constant(view, node, 1)
        if scale is not None:
            yield node, scale


def constant(view: GraphView, node: NodeView, slot: int) -> Array | None:
    """The constant at input ``slot`` of ``node``; None where there is none."""
    name = node.input(slot)
    return view.constants[name] if name and view.is_constant(name) else None


def dequantized_by(view: GraphView, tensor: str) -> NodeView | None:
    """The DequantizeLinear that computes ``tensor``."""
    producer = view.producer(tensor) if tensor else None
    return producer if producer is not None and producer.op == DQ else None


def quantizers_of(view: GraphView, tensor: str) -> tuple[NodeView, ...]:
    """The QuantizeLinear nodes that read ``tensor`` as their data."""
    return tuple(n for n in view.consumers(tensor) if n.op == Q and n.inputs[0] == tensor)


def above_pair(view: GraphView, tensor: str) -> NodeView | None:
    """The node above the Q/DQ pair that ends in ``tensor``."""
    source = before_pair(view, tensor)
    return None if source is None else view.producer(source)


def before_pair(view: GraphView, tensor: str) -> str | None:
    """The float tensor that the Q/DQ pair ending in ``tensor`` rounds."""
    dq = dequantized_by(view, tensor)
    q = None if dq is None else view.producer(dq.inputs[0])
    return q.inputs[0] if q is not None and q.op == Q else None


def past_pair(view: GraphView, tensor: str) -> str:
    """The float tensor that the Q/DQ pair ending in ``tensor`` rounds; without one ``tensor``."""
    source = before_pair(view, tensor)
    return tensor if source is None else source


def stored(view: GraphView, dq: NodeView) -> bool:
    """Whether ``dq`` dequantizes what is in the file: integer codes, or a float constant whose
    QuantizeLinear is still to be folded."""
    codes = dq.inputs[0]
    q = view.producer(codes)
    return view.is_constant(codes) or (
        q is not None and q.op == Q and view.is_constant(q.inputs[0])
    )


def block_size(dq: NodeView) -> int | None:
    """The number of neighbours that share a scale of ``dq``; None without blocks."""
    found = int(dq.attributes.get("block_size", 0))
    return found or None


def codes_dtype(view: GraphView, node: NodeView) -> str:
    """The integer type of a Q's or DQ's codes: its zero point's, or its codes', or uint8."""
    zero = constant(view, node, 2)
    if zero is not None:
        return str(zero.dtype.name)
    info = view.tensors.get(node.inputs[0] if node.op == DQ else node.outputs[0])
    known = None if info is None else info.dtype
    return known or "uint8"


def same_grid(view: GraphView, first: NodeView, second: NodeView) -> bool:
    """Whether two nodes of pairs carry the same scale, zero point and integer type."""
    if first.inputs[1:3] == second.inputs[1:3]:
        return True
    one, other = constant(view, first, 1), constant(view, second, 1)
    if one is None or other is None or not np.array_equal(one, other):
        return False
    left, right = constant(view, first, 2), constant(view, second, 2)
    return codes_dtype(view, first) == codes_dtype(view, second) and np.array_equal(
        0 if left is None else left, 0 if right is None else right
    )
