"""A product with a constant on the left -> one with the constant on the right, transposed.

    y = W x   ->   y = (x' W')'

for a matrix W (out, in) and x (..., in, columns), and for ``Gemm(W, x, C)`` with its factors and
transposes.  Rules of targets, and integer kernels, have the weight as the second operand; the
Transposes only move codes.  Exporters write layers over the other axis so (token mixing of
MLP-Mixer, 1x1 convolutions of sequences).
"""

import numpy as np

from oq.model.graph import Graph
from oq.model.view import GraphView, NodeView
from oq.numerics.values import TensorInfo
from oq.prepare.outcome import Outcome, finish

SMALLEST = 2
"""Rows and columns of W; a single row only adds up x."""


def constant_left(graph: Graph) -> Outcome:
    """Rewrite every product of a constant float32 matrix with a float32 tensor of known rank."""
    view, changed = graph.view(), 0
    for node in view.nodes:
        if node.op in {"MatMul", "Gemm"} and _fits(view, node):
            _rewrite(graph, view, node)
            changed += 1
    return finish(graph, changed)


def _fits(view: GraphView, node: NodeView) -> bool:
    left, right = node.inputs[:2]
    info, rank = view.tensors.get(right), view.rank(right)
    if not view.is_constant(left) or view.is_constant(right) or rank is None or rank < 2:
        return False
    values = view.constants[left]
    is_float = info is not None and info.dtype == values.dtype.name == "float32"
    return is_float and values.ndim == 2 and min(values.shape) >= SMALLEST


def _rewrite(graph: Graph, view: GraphView, node: NodeView) -> None:
    (left, right), out = node.inputs[:2], node.outputs[0]
    attributes, rank = node.attributes, view.rank(right) or 2
    weight = view.constants[left]
    if not attributes.get("transA"):
        weight = weight.T
    weight = (weight * np.float32(attributes.get("alpha", 1.0))).astype(np.float32)
    data = right if attributes.get("transB") else _turned(graph, node, right, rank)
    stored = np.ascontiguousarray(weight)
    constant = graph.add_constant(f"{left}_transposed", stored)
    product = graph.add_node(
        *("MatMul", (data, constant), f"{out}_product"),
        name=f"{node.name}_MatMul",
        dtype="float32",
        before=node.name,
    )
    shape = view.shape(right) or ()
    columns = shape[-2 if attributes.get("transB") else -1]
    for tensor, size in ((data, len(stored)), (product, stored.shape[1])):
        if tensor != right:
            info = TensorInfo(tensor, "float32", (*shape[:-2], columns, size))
            graph.set_types({tensor: info})
    made = _turned(graph, node, product, rank)
    if node.input(2):
        bias, beta = node.inputs[2], float(attributes.get("beta", 1.0))
        if beta != 1.0:
            factor = graph.add_constant(f"{node.name}.beta", np.asarray(beta, np.float32))
            bias = _add(graph, node, "Mul", (bias, factor))
        made = _add(graph, node, "Add", (made, bias))
    graph.split_output(out, f"{out}_before")
    graph.give_output(out, made)


def _turned(graph: Graph, node: NodeView, tensor: str, rank: int) -> str:
    """``tensor`` with its last two axes exchanged."""
    axes = [*range(rank - 2), rank - 1, rank - 2]
    return _add(graph, node, "Transpose", (tensor,), perm=axes)


def _add(
    graph: Graph, node: NodeView, op: str, inputs: tuple[str, ...], **attributes: object
) -> str:
    return graph.add_node(
        *(op, inputs, f"{node.outputs[0]}_{op}"),
        name=f"{node.name}_{op}",
        attributes=attributes,
        dtype="float32",
        before=node.name,
    )
