"""``Div(x, c)`` by a constant -> ``Mul(x, 1 / c)``: there are integer kernels for Mul, but none for
Div.

Exact if c is a power of two, else up to the last bit of float32.  Exporters write ``scores /
sqrt(d)`` in attention and ``x * relu6(x + 3) / 6`` for HardSwish this way. A Div of a graph input
is kept: it preprocesses the data, in float.  So is one in front of an Erf, by which onnxruntime
knows a Gelu.
"""

import numpy as np

from oq.model.graph import Graph
from oq.model.view import GraphView, NodeView
from oq.prepare.outcome import Outcome, finish


def div_to_mul(graph: Graph) -> Outcome:
    """Rewrite every Div of float32 values by constants with finite reciprocals."""
    view = graph.view()
    changed = 0
    for node in view.nodes:
        if node.op == "Div" and _is_rewritable(view, node):
            _rewrite(graph, view, node)
            changed += 1
    return finish(graph, changed)


def _is_rewritable(view: GraphView, node: NodeView) -> bool:
    over, under = node.inputs
    info = view.tensors.get(over)
    if any(n.op == "Erf" for n in view.consumers(node.outputs[0])):
        return False
    if view.producer(over) is None or not view.is_constant(under) or info is None:
        return False
    size = np.abs(view.constants[under].astype(np.float64))
    limits = np.finfo(np.float32)
    held = np.isfinite(size) & (size <= 1 / float(limits.tiny)) & (size >= 1 / float(limits.max))
    return info.dtype == "float32" and bool(held.all())


def _rewrite(graph: Graph, view: GraphView, node: NodeView) -> None:
    over, under = node.inputs
    factor = (1 / view.constants[under].astype(np.float64)).astype(np.float32)
    inputs = (over, graph.add_constant(f"{under}_reciprocal", factor))
    graph.take_over(node.name, "Mul", inputs, name=f"{node.name}_Mul")
