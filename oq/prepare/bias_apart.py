"""A layer's bias that is not a constant row is added behind it.

    Conv(x, W, b) -> Conv(x, W) + b (1, out, 1, 1)        Gemm(x, W, C) -> Gemm(x, W) + beta C

for b that is computed, and C that is computed, a column, or a whole matrix.  Integer kernels store
one value per output channel; without such a bias the layer itself runs in integers.
"""

import numpy as np

from oq.model.graph import Graph
from oq.model.ops import has_bias
from oq.model.view import GraphView, NodeView
from oq.prepare.outcome import Outcome, finish

SLOT = 2
"""The slot of the bias."""


def bias_apart(graph: Graph) -> Outcome:
    """Take every such bias out of layers with constant float32 weights."""
    view, changed = graph.view(), 0
    for node in view.nodes:
        if not has_bias(node.op) or not node.input(SLOT) or _is_stored(view, node):
            continue
        weight = node.inputs[1]
        if view.is_constant(weight) and view.constants[weight].dtype == np.float32:
            _rewrite(graph, view, node)
            changed += 1
    return finish(graph, changed)


def _is_stored(view: GraphView, node: NodeView) -> bool:
    """Whether the bias is one constant per output channel, or one for all."""
    bias = node.inputs[SLOT]
    if not view.is_constant(bias):
        return False
    shape = view.constants[bias].shape
    return node.op != "Gemm" or all(size == 1 for size in shape[:-1])


def _rewrite(graph: Graph, view: GraphView, node: NodeView) -> None:
    bias, out = node.inputs[SLOT], node.outputs[0]
    beta = float(node.attributes.get("beta", 1.0))
    product = graph.split_output(out, f"{out}_product")
    graph.set_input(node.name, SLOT, "")
    if node.op != "Gemm":
        axes = [1, -1, *[1] * (view.constants[node.inputs[1]].ndim - 2)]
        shape = graph.add_constant(f"{bias}_shape", np.asarray(axes, np.int64))
        bias = _behind(graph, node, "Reshape", (bias, shape), f"{bias}_channels")
    elif beta != 1.0:
        factor = graph.add_constant(f"{node.name}.beta", np.asarray(beta, np.float32))
        bias = _behind(graph, node, "Mul", (bias, factor), f"{bias}_scaled")
    if node.op == "Gemm":
        graph.set_attribute(node.name, "beta", 1.0)
    total = graph.add_node(
        *("Add", (product, bias), f"{out}_biased"),
        name=f"{node.name}_Add",
        like=product,
        dtype="float32",
    )
    graph.give_output(out, total)


def _behind(graph: Graph, node: NodeView, op: str, inputs: tuple[str, str], wish: str) -> str:
    return graph.add_node(op, inputs, wish, name=wish, dtype="float32", before=node.name)
