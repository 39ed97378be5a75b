"""Only what MatMulNBits computes is packed."""

import numpy as np

from oq.emission.pack_blocks import pack_blocks
from oq.model.graph import Graph
from tests.small import normal, ops, reference, small

HEAD = "net (float[n,32] x) => (float[n,16] y)"
CONSTANTS = {
    "c": np.random.default_rng(0).integers(0, 16, (32, 16)).astype("uint4"),
    "t": np.random.default_rng(1).integers(0, 16, (16, 32)).astype("uint4"),
    "s": np.abs(normal(2, 16)),
    "st": np.abs(normal(16, 2)),
    "z": np.full((2, 16), 7).astype("uint4"),
    "zt": np.full((16, 2), 7).astype("uint4"),
    "b": normal(16),
}


def packed(body: str) -> list[str]:
    before = small(f"{HEAD} {{ {body} }}", CONSTANTS, opset=21, ir=10)
    graph = Graph(before)
    pack_blocks(graph, 0)
    made = graph.to_model()
    feeds = {"x": normal(3, 32, seed=2)}
    np.testing.assert_allclose(
        reference(made, feeds)["y"], reference(before, feeds)["y"], rtol=1e-4, atol=1e-4
    )
    return ops(made)


def test_products_are_packed_with_their_bias() -> None:
    blocks = "w = DequantizeLinear<axis = 0, block_size = 16>(c, s, z)"
    assert packed(f"{blocks} y = MatMul(x, w)") == ["MatMulNBits"]
    assert packed(f"{blocks} y = Gemm(x, w, b)") == ["MatMulNBits"]
    assert packed(f"{blocks} p = MatMul(x, w) q = MatMul(x, w) y = Add(p, q)") == [
        "MatMulNBits", "MatMulNBits", "Add"
    ]  # fmt: skip


def test_other_layouts_stay() -> None:
    along = "w = DequantizeLinear<axis = 1, block_size = 16>(t, st, zt)"
    assert packed(f"{along} y = Gemm<transB = 1>(x, w, b)") == ["DequantizeLinear", "Gemm"]
