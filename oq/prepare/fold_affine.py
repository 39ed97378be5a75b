"""``Add(Mul(W * x + b, k), c)`` -> ``(W k) * x + (b k + c)`` for Conv; k and c constants per channel.

Either may stand alone.  Exporters of normalization layers with a separate scale write them, and a
kernel of integers would be rounded once more at each.
"""

import numpy as np

from oq.graph import Graph
from oq.prepare.outcome import Outcome
from oq.spec import Array
from oq.view import GraphView, NodeView


def fold_affine(graph: Graph) -> Outcome:
    """Fold every Mul and Add by finite float32 constants that alone reads a Conv of constants."""
    changed = 0
    for node in graph.view().nodes:
        if node.op in {"Mul", "Add"} and len(node.inputs) == 2:
            changed += any(_fold(graph, node, slot) for slot in (0, 1))
    if changed:
        graph.cleanup()
    return Outcome(changed)


def _fold(graph: Graph, node: NodeView, slot: int) -> bool:
    """Fold ``node`` into the Conv at its input ``slot``; False when that is not possible."""
    view = graph.view()
    node = view.node(node.name)
    conv = view.producer(node.inputs[slot])
    if conv is None or conv.op != "Conv" or view.edges(node.inputs[slot]) != 1:
        return False
    if not all(view.is_constant(t) for t in conv.inputs[1:] if t):
        return False
    weight = view.constants[conv.inputs[1]]
    factor = _per_channel(view, node.inputs[1 - slot], weight)
    if factor is None or weight.dtype != np.float32:
        return False
    has_bias = len(conv.inputs) > 2 and bool(conv.inputs[2])
    bias = view.constants[conv.inputs[2]].astype(np.float64) if has_bias else np.zeros(len(weight))
    if node.op == "Mul":
        scaled = (weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))).astype(np.float32)
        graph.set_input(conv.name, 1, graph.add_constant(f"{conv.name}.weight", scaled))
        bias = bias * factor
    else:
        bias = bias + factor
    if has_bias or node.op == "Add":
        shifted = bias.astype(np.float32)
        graph.set_input(conv.name, 2, graph.add_constant(f"{conv.name}.bias", shifted))
    graph.bypass(node.name, slot)
    return True


def _per_channel(view: GraphView, tensor: str, weight: Array) -> Array | None:
    """Constant ``tensor`` as one float64 value per channel (axes: out), or None."""
    if not view.is_constant(tensor):
        return None
    values = view.constants[tensor]
    if values.dtype != np.float32 or values.ndim > weight.ndim or not np.isfinite(values).all():
        return None
    shape = (*(1,) * (weight.ndim - values.ndim), *values.shape)
    if shape[1] not in {1, len(weight)} or values.size != shape[1]:
        return None
    return np.broadcast_to(values.astype(np.float64).reshape(-1), (len(weight),))
