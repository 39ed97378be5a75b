"""Linear layers in the form that integer Gemm kernels support.

* ``Add(MatMul(x, W), b)`` of a matrix x (rows, in) -> ``Gemm(x, W, b)``.
* ``Gemm(x, W, b, alpha, beta) = alpha x W + beta b`` -> ``Gemm(x, alpha W, beta b)``.
* A bias of shape (1, out), (1,) or () -> (out,), since it is broadcast over the rows.

W and b must be constants.  Runtimes perform the first rewrite themselves, but then the bias is
float, and a layer that ends the graph or feeds a Gelu runs in float.
"""

import numpy as np

from oq.model.graph import Graph
from oq.model.view import GraphView, NodeView
from oq.numerics.values import Array
from oq.prepare.outcome import Outcome


def plain_gemm(graph: Graph) -> Outcome:
    """Rewrite every linear layer of constants on a float32 matrix."""
    changed = 0
    for node in graph.view().nodes:
        if node.op == "MatMul":
            changed += _from_matmul(graph, node)
        elif node.op == "Gemm":
            changed += _from_gemm(graph, node)
    if changed:
        graph.cleanup()
    return Outcome(changed)


def _from_matmul(graph: Graph, matmul: NodeView) -> bool:
    view = graph.view()
    product, (data, weight) = matmul.outputs[0], matmul.inputs[:2]
    readers = view.consumers(product)
    if len(readers) != 1 or view.edges(product) != 1 or readers[0].op != "Add":
        return False
    if view.rank(data) != 2 or view.is_constant(data) or not _is_matrix(view, weight):
        return False
    add = readers[0]
    bias = next((t for t in add.inputs if t != product), "")
    row = _row(view, bias, view.constants[weight].shape[1])
    if row is None:
        return False
    inputs = (data, weight, _constant(graph, view, bias, row))
    graph.take_over(add.name, "Gemm", inputs, name=f"{matmul.name}_Gemm")
    return True


def _from_gemm(graph: Graph, gemm: NodeView) -> bool:
    view, weight = graph.view(), gemm.inputs[1]
    bias = gemm.input(2)
    if not _is_matrix(view, weight) or view.is_constant(gemm.inputs[0]):
        return False
    alpha, beta = (float(gemm.attributes.get(name, 1.0)) for name in ("alpha", "beta"))
    values = view.constants[weight]
    row = None
    if bias:
        row = _row(view, bias, values.shape[0 if gemm.attributes.get("transB") else 1])
        if row is None:
            return False
        row = (row * np.float32(beta)).astype(np.float32)
    same_bias = row is None or (beta == 1.0 and view.constants[bias].shape == row.shape)
    if alpha == 1.0 and same_bias:
        return False
    if alpha != 1.0:
        scaled = (values * np.float32(alpha)).astype(np.float32)
        graph.set_input(gemm.name, 1, graph.add_constant(f"{weight}_scaled", scaled))
        graph.set_attribute(gemm.name, "alpha", 1.0)
    if row is not None and not same_bias:
        graph.set_input(gemm.name, 2, graph.add_constant(f"{bias}_row", row))
        graph.set_attribute(gemm.name, "beta", 1.0)
    return True


def _is_matrix(view: GraphView, tensor: str) -> bool:
    if not view.is_constant(tensor):
        return False
    values = view.constants[tensor]
    return values.ndim == 2 and values.dtype == np.float32


def _row(view: GraphView, bias: str, features: int) -> Array | None:
    """The constant ``bias`` as one value per output (axes: out), or None when it is not that."""
    if not view.is_constant(bias):
        return None
    values = view.constants[bias]
    if values.dtype != np.float32 or values.ndim > 2:
        return None
    if values.size != 1 and values.shape not in {(features,), (1, features)}:
        return None
    return np.ascontiguousarray(np.broadcast_to(values.reshape(-1), (features,)))


def _constant(graph: Graph, view: GraphView, name: str, row: Array) -> str:
    return name if view.constants[name].shape == row.shape else graph.add_constant(name, row)
