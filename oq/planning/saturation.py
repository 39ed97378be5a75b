"""The argument of a function that saturates, where it holds a power of a tensor, stays in float.

Gelu is often written as ``x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`` (Hendrycks and
Gimpel, 2016).  For x up to 20 the argument of the tanh reaches 300, and all but -3..3 gives 1 or
-1: of 256 codes, three are left for the part that matters.
"""

from collections import deque
from collections.abc import Iterable

from oq.model.ops import LINEAR, POWERS, SATURATING, SCALING, SQUARES
from oq.model.view import GraphView, NodeView

NEAREST = 16
"""Nodes in front of the function that are looked at: a power further away is that of a layer."""

CROSSED = LINEAR | SQUARES | POWERS.keys()
"""Ops that are crossed on the way back."""

FEW = "{!r} saturates, and its argument holds a power: most codes would lie where it is flat"


def powers(view: GraphView) -> dict[str, str]:
    """Node -> why it stays in float, for the nodes between a tensor that is multiplied by itself
    and the function that saturates."""
    found: dict[str, str] = {}
    for node in view.nodes:
        if node.op in SATURATING:
            between = _behind(view, node.inputs)
            roots = frozenset(r for n in between if (r := _root(view, n)) is not None)
            if roots:
                reason = FEW.format(node.name)
                found |= {n.name: reason for n in _behind(view, node.inputs, roots)}
    return found


def _behind(
    view: GraphView, tensors: Iterable[str], roots: frozenset[str] = frozenset()
) -> list[NodeView]:
    """The nodes that compute ``tensors``, back to ``roots``, the nearest first."""
    found: dict[str, NodeView] = {}
    todo = deque(tensors)
    while todo and len(found) < NEAREST:
        tensor = todo.popleft()
        maker = None if tensor in roots else view.producer(tensor)
        if maker is None or maker.name in found or maker.op not in CROSSED:
            continue
        found[maker.name] = maker
        todo += [t for t in maker.inputs if t]
    return list(found.values())


def _root(view: GraphView, node: NodeView) -> str | None:
    """The tensor of which ``node`` makes a power: its input, or the one of its two that the other
    is computed from."""
    if node.op in SQUARES or node.op in POWERS:
        return node.input(0)
    if node.op not in SCALING:
        return None
    one, two = node.inputs
    for tensor, other in ((one, two), (two, one)):
        if view.is_constant(tensor):
            continue
        if tensor == other or any(tensor in n.inputs for n in _behind(view, [other])):
            return tensor
    return None
