"""Evaluates nodes that depend only on constants.

Covers Constant nodes, the Shape/Gather/Concat chains of the TorchScript exporter with static
shapes, weight transposes and casts.  The evaluation is onnx-graphsurgeon's.
"""

from oq.model.graph import Graph
from oq.model.session import silence_onnxruntime
from oq.prepare.outcome import Outcome


def fold_constants(graph: Graph) -> Outcome:
    """Evaluate every node whose inputs are all constants."""
    view = graph.view()
    foldable = any(
        node.op == "Constant"
        or (node.inputs and all(view.is_constant(t) for t in node.inputs if t))
        for node in view.nodes
    )
    has_shapes = any(n.op == "Shape" for n in view.nodes)
    if not (foldable or has_shapes):
        return Outcome()
    with silence_onnxruntime():
        return Outcome(graph.fold_constants())
