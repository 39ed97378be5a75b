"""``Gemm`` in the form that integer kernels have: ``y = x W + b``, b one value per output.

* ``Gemm(x, W, b, alpha, beta) = alpha x W + beta b`` -> ``Gemm(x, alpha W, beta b)``.
* transA: x is transposed in front.
* A bias of shape (1, out), (1,) or () -> (out,), since it is broadcast over the rows; one that
  beta = 0 takes away goes.

W and b must be constants.
"""

import numpy as np

from oq.model.graph import Graph
from oq.model.view import GraphView, NodeView
from oq.numerics.values import Array, TensorInfo
from oq.prepare.outcome import Outcome, finish


def gemm_operands(graph: Graph) -> Outcome:
    """Rewrite every Gemm of constants on a float32 matrix."""
    view, changed = graph.view(), 0
    for node in view.nodes:
        if node.op == "Gemm" and _is_layer(view, node):
            parts = [fold(graph, view, node) for fold in (_fold_alpha, _fold_beta, _turn)]
            changed += any(parts)
    return finish(graph, changed)


def row_of(view: GraphView, bias: str, features: int) -> Array | None:
    """The constant ``bias`` as one value per output (axes: out), or None when it is not that."""
    if not view.is_constant(bias):
        return None
    values = view.constants[bias]
    if values.dtype != np.float32 or values.ndim > 2:
        return None
    if values.size != 1 and values.shape not in {(features,), (1, features)}:
        return None
    return np.ascontiguousarray(np.broadcast_to(values.reshape(-1), (features,)))


def is_matrix(view: GraphView, tensor: str) -> bool:
    """Whether ``tensor`` is a constant float32 matrix."""
    if not view.is_constant(tensor):
        return False
    values = view.constants[tensor]
    return values.ndim == 2 and values.dtype == np.float32


def _is_layer(view: GraphView, gemm: NodeView) -> bool:
    data, weight, bias = gemm.inputs[0], gemm.inputs[1], gemm.input(2)
    if not is_matrix(view, weight) or view.is_constant(data):
        return False
    return not bias or row_of(view, bias, _features(view, gemm)) is not None


def _features(view: GraphView, gemm: NodeView) -> int:
    return int(view.constants[gemm.inputs[1]].shape[0 if gemm.attributes.get("transB") else 1])


def _fold_alpha(graph: Graph, view: GraphView, gemm: NodeView) -> bool:
    weight = gemm.inputs[1]
    alpha = float(gemm.attributes.get("alpha", 1.0))
    if alpha == 1.0:
        return False
    scaled = (view.constants[weight] * np.float32(alpha)).astype(np.float32)
    graph.set_input(gemm.name, 1, graph.add_constant(f"{weight}_scaled", scaled))
    graph.set_attribute(gemm.name, "alpha", 1.0)
    return True


def _fold_beta(graph: Graph, view: GraphView, gemm: NodeView) -> bool:
    bias = gemm.input(2)
    beta = float(gemm.attributes.get("beta", 1.0))
    row = row_of(view, bias, _features(view, gemm)) if bias else None
    if beta == 1.0 and (row is None or view.constants[bias].shape == row.shape):
        return False
    graph.set_attribute(gemm.name, "beta", 1.0)
    if row is not None and beta == 0.0:
        graph.set_input(gemm.name, 2, "")
    elif row is not None:
        scaled = (row * np.float32(beta)).astype(np.float32)
        graph.set_input(gemm.name, 2, graph.add_constant(f"{bias}_row", scaled))
    return True


def _turn(graph: Graph, view: GraphView, gemm: NodeView) -> bool:
    if not gemm.attributes.get("transA"):
        return False
    data = gemm.inputs[0]
    turned = graph.add_node(
        *("Transpose", (data,), f"{data}_transposed"),
        name=f"{gemm.name}_Transpose",
        attributes={"perm": [1, 0]},
        dtype="float32",
        before=gemm.name,
    )
    shape = view.shape(data)
    if shape is not None:
        graph.set_types({turned: TensorInfo(turned, "float32", shape[::-1])})
    graph.set_input(gemm.name, 0, turned)
    graph.set_attribute(gemm.name, "transA", 0)
    return True
