"""The matrix behind a product, in whatever scope it lies: NumPy's product with it is the node's."""

import numpy as np
import onnx
import pytest

from oq.model.bodies import bodies_of
from oq.model.products import Matrix, find_matrix, scope_of
from oq.numerics.values import Array
from tests.small import normal, reference, small

WEIGHT, BIAS = normal(4, 3), normal(3, seed=1)
X = normal(2, 4, seed=2)


def main(text: str, **constants: Array) -> onnx.ModelProto:
    return small(f"net (float[2,4] x) => (float[2,3] y) {{ {text} }}", constants)


def matrix_of(graph: onnx.GraphProto) -> Matrix | str:
    return find_matrix(graph.node[-1], [scope_of(graph)])


@pytest.mark.parametrize(
    ("text", "weight", "upright", "bias"),
    [
        ("y = MatMul(x, w)", WEIGHT, True, ""),
        ("y = Gemm(x, w)", WEIGHT, True, ""),
        ("y = Gemm(x, w, b)", WEIGHT, True, "b"),
        ("y = Gemm<transB = 1>(x, w, b)", WEIGHT.T.copy(), False, "b"),
        ("y = Gemm<alpha = 1.0, beta = 1.0, transA = 0>(x, w, b)", WEIGHT, True, "b"),
    ],
)
def test_the_product_with_it_is_the_nodes(
    text: str, weight: Array, upright: bool, bias: str
) -> None:
    model = main(text, w=weight, b=BIAS)
    found = matrix_of(model.graph)
    assert isinstance(found, Matrix)
    assert (found.upright, found.bias, found.scope) == (upright, bias, 0)
    stored = onnx.numpy_helper.to_array(found.weight)
    wanted = X @ (stored if found.upright else stored.T) + (BIAS if found.bias else 0)
    np.testing.assert_allclose(reference(model, {"x": X})["y"], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "weight", "reason"),
    [
        ("y = Gemm<alpha = 0.5>(x, w)", WEIGHT, "scales or transposes"),
        ("y = Gemm<beta = 0.0>(x, w, b)", WEIGHT, "scales or transposes"),
        ("v = Abs(w) y = MatMul(x, v)", WEIGHT, "'v' is not a constant"),
        ("y = MatMul(x, w)", WEIGHT * np.float32("inf"), "not a constant float32 matrix of finite"),
        ("y = MatMul(x, w)", WEIGHT[None], "not a constant float32 matrix"),
        ("c = Abs(b) y = Gemm(x, w, c)", WEIGHT, "bias 'c'"),
        ("y = Relu(x)", WEIGHT, "Relu is not a product"),
        ("y = Conv(x, w)", WEIGHT, "Conv is not a product with a matrix"),
        ("y = com.example.MatMul(x, w)", WEIGHT, "MatMul is not a product"),
    ],
)
def test_why_there_is_none(text: str, weight: Array, reason: str) -> None:
    found = matrix_of(main(text, w=weight, b=BIAS).graph)
    assert isinstance(found, str) and reason in found


IF = """net (float[2,4] x, bool c) => (float[2,3] y) {{
    y = If (c) <
        then_branch = then () => (float[2,3] t) {{ {} t = MatMul(x, w) }},
        else_branch = other () => (float[2,3] e) {{ e = MatMul(x, w) }}
    >
}}"""


def inner(text: str) -> tuple[onnx.GraphProto, Matrix | str]:
    """The first branch, and what is found for its product."""
    graph = small(IF.format(text), {"w": WEIGHT}).graph
    branch = next(body for name, body in bodies_of(graph.node[0]) if name == "then_branch")
    return branch, find_matrix(branch.node[-1], [scope_of(branch), scope_of(graph)])


def test_a_matrix_of_the_outer_graph() -> None:
    _, found = inner("")
    assert isinstance(found, Matrix) and found.scope == 1


def test_a_name_of_the_body_hides_the_outer_matrix() -> None:
    """As ONNX resolves names: innermost first."""
    branch, found = inner("")
    branch.node.insert(0, onnx.helper.make_node("Identity", ["x"], ["w"]))
    outer = small("net (float[2,4] x) => (float[2,4] y) { y = Relu(x) }", {"w": WEIGHT}).graph
    found = find_matrix(branch.node[-1], [scope_of(branch), scope_of(outer)])
    assert isinstance(found, str) and "'w' is not a constant" in found
    branch.node.pop(0)
    own = onnx.numpy_helper.from_array(2 * WEIGHT, "w")
    branch.initializer.append(own)
    found = find_matrix(branch.node[-1], [scope_of(branch), scope_of(outer)])
    assert isinstance(found, Matrix) and (found.scope, found.weight) == (0, own)
