"""Keeps products in integers that onnxruntime would make a float Gemm of.

It fuses a MatMul and an Add into a Gemm before it looks for quantized nodes, also where the Add
joins two activations (``h W + x`` of a recurrent cell), and a Gemm whose bias is no int32 constant
runs in float.  A Sum of two tensors computes the same in the same time, and no optimization of
onnxruntime rewrites it (probed with 1.32).
"""

from oq.model.graph import Graph
from oq.model.operands import gemm_sum
from oq.model.qdq import dequantized_by
from oq.model.view import GraphView, NodeView


def keep_products_integer(graph: Graph) -> tuple[str, ...]:
    """Write every such Add behind a MatMul of two dequantized tensors as a Sum; returns their
    names."""
    view = graph.view()
    found = [add for node in view.nodes if (add := _fused(view, node)) is not None]
    for add in found:
        graph.recast(add.name, "Sum", add.inputs, {})
    return tuple(add.name for add in found)


def _fused(view: GraphView, node: NodeView) -> NodeView | None:
    """The Add that may be fused with the MatMul ``node``: in a body onnxruntime may know shapes
    that are unknown here."""
    if node.op != "MatMul" or any(dequantized_by(view, t) is None for t in node.inputs[:2]):
        return None
    readers = view.consumers(node.outputs[0])
    alone = len(readers) == 1 and view.edges(node.outputs[0]) == 1 and readers[0].op == "Add"
    unknown = alone and any(view.shape(t) is None for t in (node.inputs[0], *readers[0].inputs))
    return readers[0] if unknown or gemm_sum(view, node) is not None else None
