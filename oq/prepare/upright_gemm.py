"""``Gemm(x, W, b, transB=1)`` with a constant W (out, in) -> ``Gemm(x, W^T, b)``.

onnxruntime fuses a blockwise DequantizeLinear only with a Gemm whose weight is stored as (in, out):
under ``transB`` it dequantizes the whole weight on every run (probed with onnxruntime 1.32).
Layers that share W share its transpose.
"""

import numpy as np

from oq.model.graph import Graph
from oq.prepare.outcome import Outcome, finish


def upright_gemm(graph: Graph) -> Outcome:
    """Store the constant weight of every Gemm as (in, out)."""
    view, upright = graph.view(), dict[str, str]()
    changed = 0
    for node in view.nodes:
        if node.op != "Gemm" or not node.attributes.get("transB"):
            continue
        weight = node.inputs[1]
        if not view.is_constant(weight):
            continue
        if weight not in upright:
            values = np.ascontiguousarray(view.constants[weight].T)
            upright[weight] = graph.add_constant(f"{weight}_transposed", values)
        graph.set_input(node.name, 1, upright[weight])
        graph.set_attribute(node.name, "transB", 0)
        changed += 1
    return finish(graph, changed)
