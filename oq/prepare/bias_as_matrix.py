"""``MatMul(x, W) + b``, b (out,) -> the same with b (1, out): a bias that onnxruntime leaves alone.

Where all axes of x (more than two) have fixed sizes, onnxruntime joins the two nodes to Reshape,
Gemm, Reshape, whichever type they run in (``MatMulAddFusion``, before it looks for quantized
nodes).  The Gemm reads a float bias, so it has no integer kernel and the layer runs in float: 6.5
times as long on a block of two layers.  A bias with two axes does not fit that rewrite (probed with
onnxruntime 1.31), and MatMul keeps its integer kernel.
"""

from oq.model.graph import Graph
from oq.model.operands import added_row
from oq.prepare.outcome import Outcome


def bias_as_matrix(graph: Graph) -> Outcome:
    """Give the bias of every such layer a first axis of 1."""
    changed = 0
    for node in graph.view().nodes:
        found = added_row(graph.view(), node)
        if found is None:
            continue
        add, bias = found
        values = graph.view().constants[bias].reshape(1, -1)
        slot = add.inputs.index(bias)
        graph.set_input(add.name, slot, graph.add_constant(f"{bias}_matrix", values))
        changed += 1
    if changed:
        graph.cleanup()
    return Outcome(changed)
