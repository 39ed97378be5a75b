"""What divides stays in float: rounded to 0, it makes an infinity of a finite quotient.

``x / (relu(y) + 1e-5)`` is finite for every x and y.  On a grid whose step is 0.02 the sum has the
code of 0 wherever y is negative.
"""

from oq.model.ops import SINGULAR, ZERO_KEEPING, has_weight, only_moves
from oq.model.view import GraphView, NodeView

DIVIDES = "{!r} is infinite at 0, to which int8 would round what it divides by"


def divisors(view: GraphView, layers: bool) -> dict[str, str]:
    """Node -> why it stays in float, for every node whose output another divides by, or takes the
    logarithm of, across ops that keep a 0; layers with weights only with ``layers``, where the
    target gives a grid to what they write."""
    found: dict[str, str] = {}
    for node in view.nodes:
        slot = SINGULAR.get(node.op)
        source = None if slot is None else _source(view, node.input(slot))
        if source is not None and (layers or not has_weight(source.op)):
            found.setdefault(source.name, DIVIDES.format(node.name))
    return found


def _source(view: GraphView, tensor: str) -> NodeView | None:
    """The node that computes the values of ``tensor``."""
    node = view.producer(tensor)
    while node is not None and (only_moves(node.op) or node.op in ZERO_KEEPING):
        node = view.producer(node.inputs[0])
    return node
