"""``MatMul(x, W)`` with W (1, ..., 1, in, out) -> the same with W (in, out).

Exporters write such weights for 1x1 convolutions and projections per head.  A weight with two axes
has a scale per output channel; a stack of matrices has one scale, since onnxruntime's
MatMulIntegerToFloat takes no other (it loads such a file and fails when it is run).
"""

from oq.model.graph import Graph
from oq.model.ops import STACKING
from oq.prepare.outcome import Outcome, finish


def squeeze_weight(graph: Graph) -> Outcome:
    """Drop leading axes of length 1 of every constant right operand, where the left one has at
    least as many axes, so that the shape of the result stays."""
    view, changed = graph.view(), 0
    for node in view.nodes:
        if node.op not in STACKING or not view.is_constant(node.inputs[1]):
            continue
        shape, rank = view.constant_shape(node.inputs[1]), view.rank(node.inputs[0])
        if len(shape) < 3 or shape[:-2] != (1,) * (len(shape) - 2):
            continue
        if rank is None or rank < len(shape):
            continue
        matrix = view.constants[node.inputs[1]].reshape(shape[-2:])
        flat = graph.add_constant(f"{node.inputs[1]}_matrix", matrix)
        graph.set_input(node.name, 1, flat)
        changed += 1
    return finish(graph, changed)
