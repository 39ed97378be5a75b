"""An Einsum that is a product of matrices becomes one, any other stays."""

import pytest

from oq.model.graph import Graph
from oq.numerics.values import Array
from oq.prepare.einsum_to_matmul import einsum_to_matmul
from oq.prepare.infer_types import infer_types
from tests.small import assert_same_outputs, normal, ops, small

CONSTANTS: dict[str, Array] = {
    "w": normal(4, 6, seed=1),
    "turned": normal(6, 4, seed=2),
    "heads": normal(4, 2, 3, seed=3),
    "join": normal(2, 3, 5, seed=4),
    "each": normal(3, 4, 6, seed=5),
    "v": normal(4, seed=6),
}


def rewritten(equation: str, inputs: str, x: str, z: str = "1") -> tuple[Graph, int]:
    rank = len(equation.partition("->")[2].replace(" ", "").replace("...", "nn"))
    y = ",".join("abcdefgh"[:rank])
    text = f"""net (float[{x}] x, float[{z}] z) => (float[{y}] y) {{
        y = Einsum <equation = "{equation}"> ({inputs})
    }}"""
    used = {n: v for n, v in CONSTANTS.items() if n in inputs.split(", ")}
    graph = Graph(small(text, used))
    infer_types(graph)
    before = graph.to_model()
    changed = einsum_to_matmul(graph).changed
    assert_same_outputs(before, graph.to_model(), rtol=1e-5, atol=1e-5)
    return graph, changed


@pytest.mark.parametrize(
    ("equation", "inputs", "x", "z", "found"),
    [
        ("bsi,io->bso", "x, w", "2,5,4", "1", ["MatMul"]),
        ("b s i, o i -> b s o", "x, turned", "2,5,4", "1", ["MatMul"]),
        ("bis,io->bos", "x, w", "2,4,5", "1", ["Transpose", "MatMul", "Transpose"]),
        ("io,bsi->bso", "w, x", "2,5,4", "1", ["MatMul"]),
        ("bsi,ihd->bshd", "x, heads", "2,5,4", "1", ["MatMul", "Reshape"]),
        ("bshd,hdo->bso", "x, join", "2,5,2,3", "1", ["Reshape", "MatMul"]),
        ("bhsd,hdo->bso", "x, join", "2,2,5,3", "1", ["Transpose", "Reshape", "MatMul"]),
        ("bsi,i->bs", "x, v", "2,5,4", "1", ["MatMul", "Reshape"]),
        ("bhqd,bhkd->bhqk", "x, z", "2,3,5,4", "2,3,6,4", ["Transpose", "MatMul"]),
        ("bhqk,bkhd->bqhd", "x, z", "2,3,5,4", "2,4,3,6", ["Transpose", "MatMul", "Transpose"]),
        ("nqi,nio->nqo", "x, each", "3,5,4", "1", ["MatMul"]),
        ("btnf,nfd->btnd", "x, each", "2,5,3,4", "1", ["Transpose", "MatMul", "Transpose"]),
        ("bnqi,nio->bnqo", "x, each", "2,3,5,4", "1", ["MatMul"]),
        (
            "bgqd,bkd->bgqk",
            "x, z",
            "2,3,5,4",
            "2,6,4",
            ["Transpose", "Transpose", "MatMul", "Transpose"],
        ),
        (
            "bkd,bgqd->bgqk",
            "x, z",
            "2,6,4",
            "2,3,5,4",
            ["Transpose", "Transpose", "MatMul", "Transpose"],
        ),
        ("ij,jk->ik", "x, z", "5,4", "4,3", ["MatMul"]),
        ("...i,io->...o", "x, w", "2,5,4", "1", ["MatMul"]),
    ],
)
def test_a_product_of_matrices(
    equation: str, inputs: str, x: str, z: str, found: list[str]
) -> None:
    graph, changed = rewritten(equation, inputs, x, z)
    assert changed == 1
    assert ops(graph.to_model()) == found
    view = graph.view()
    product = next(n for n in view.nodes if n.op == "MatMul")
    used = [t for t in inputs.split(", ") if t in CONSTANTS]
    assert [view.is_constant(t) for t in product.inputs] == [False, bool(used)]


@pytest.mark.parametrize(
    ("equation", "inputs", "x", "z"),
    [
        ("ij->ji", "x", "2,3", "1"),
        ("ij,ij->ij", "x, z", "2,3", "2,3"),
        ("ij,jk->k", "x, z", "2,3", "3,4"),
        ("ii,ij->j", "x, z", "3,3", "3,2"),
        ("bsi,ihd->bshd", "x, z", "2,5,4", "4,2,3"),
    ],
)
def test_any_other_stays(equation: str, inputs: str, x: str, z: str) -> None:
    graph, changed = rewritten(equation, inputs, x, z)
    assert changed == 0 and ops(graph.to_model()) == ["Einsum"]
