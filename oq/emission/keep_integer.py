"""Keeps products in integers that onnxruntime would make a float Gemm of.

It fuses a MatMul and an Add into a Gemm before it looks for quantized nodes, also where the Add
joins two activations (``h W + x`` of a recurrent cell), and a Gemm runs in float if its bias is not
an int32 constant.  A Sum of two tensors computes the same in the same time, and no optimization of
onnxruntime rewrites it (probed with 1.32).
"""

from oq.model.graph import Graph
from oq.model.operands import gemm_sum
from oq.model.qdq import dequantized_by


def keep_products_integer(graph: Graph) -> tuple[str, ...]:
    """Write every such Add behind a MatMul of two dequantized tensors as a Sum; returns their
    names."""
    view = graph.view()
    adds = []
    for node in view.nodes:
        # in a body onnxruntime may know shapes that are unknown here
        found = gemm_sum(view, node, perhaps=True)
        if found and all(dequantized_by(view, t) is not None for t in node.inputs[:2]):
            adds.append(found[0])
    for add in adds:
        graph.recast(add.name, "Sum", add.inputs, {})
    return tuple(add.name for add in adds)
