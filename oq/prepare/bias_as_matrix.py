"""``MatMul(x, W) + b``, b (out,) -> the same with b (1, out), which onnxruntime does not rewrite.

If x has more than two axes, all of fixed size, onnxruntime fuses the two nodes into Reshape, Gemm,
Reshape, in float as in int8 (``MatMulAddFusion``, before it looks for quantized nodes).  The Gemm
reads a float bias, so it has no integer kernel and the layer runs in float: 6.5 times as long on a
block of two layers.  A bias with two axes does not match that rewrite (probed with onnxruntime
1.31), and MatMul keeps its integer kernel.
"""

from oq.model.graph import Graph
from oq.model.operands import added_row
from oq.prepare.outcome import Outcome, finish


def bias_as_matrix(graph: Graph) -> Outcome:
    """Prepend an axis of length 1 to the bias of every such layer."""
    view, changed = graph.view(), 0
    for node in view.nodes:
        found = added_row(view, node)
        if found is None:
            continue
        add, bias = found
        values = view.constants[bias].reshape(1, -1)
        slot = add.inputs.index(bias)
        graph.set_input(add.name, slot, graph.add_constant(f"{bias}_matrix", values))
        changed += 1
    return finish(graph, changed)
