"""``Add(MatMul(x, W), b)`` of a matrix x (rows, in) -> ``Gemm(x, W, b)``.

W and b must be constants.  Runtimes perform this rewrite themselves, but then the bias is float,
and a layer that ends the graph or feeds a Gelu runs in float.
"""

from oq.model.graph import Graph
from oq.model.view import GraphView, NodeView
from oq.numerics.values import Array
from oq.prepare.gemm_operands import is_matrix, row_of
from oq.prepare.outcome import Outcome, finish


def plain_gemm(graph: Graph) -> Outcome:
    """Rewrite every linear layer of constants on a float32 matrix."""
    view = graph.view()
    changed = sum(_rewrite(graph, view, n) for n in view.nodes if n.op == "MatMul")
    return finish(graph, changed)


def _rewrite(graph: Graph, view: GraphView, matmul: NodeView) -> bool:
    product, (data, weight) = matmul.outputs[0], matmul.inputs[:2]
    readers = view.consumers(product)
    if len(readers) != 1 or view.edges(product) != 1 or readers[0].op != "Add":
        return False
    if view.rank(data) != 2 or view.is_constant(data) or not is_matrix(view, weight):
        return False
    add = readers[0]
    bias = next((t for t in add.inputs if t != product), "")
    row = row_of(view, bias, view.constant_shape(weight)[1])
    if row is None:
        return False
    inputs = (data, weight, _constant(graph, view, bias, row))
    graph.take_over(add.name, "Gemm", inputs, name=f"{matmul.name}_Gemm")
    return True


def _constant(graph: Graph, view: GraphView, name: str, row: Array) -> str:
    return name if view.constant_shape(name) == row.shape else graph.add_constant(name, row)
