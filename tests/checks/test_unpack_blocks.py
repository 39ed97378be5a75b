"""MatMulNBits read as Q/DQ: the same numbers, the same names."""

import numpy as np
import pytest

import oq
from oq.checks.unpack_blocks import unpack_blocks
from oq.model.graph import Graph
from tests.small import normal, ops, reference, small


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("points", ["affine", "none"])
def test_what_is_unpacked_computes_the_same(bits: int, points: str) -> None:
    exact = small(
        "net (float[n,50] x) => (float[n,7] y) { y = MatMul(x, w) }", {"w": normal(50, 7)}
    )
    settings = {"weights": f"int{bits}", "zero_points": points, "accuracy_level": 0}
    made = oq.quantize(exact, "ort", settings=settings).model
    graph = Graph(made)
    assert unpack_blocks(graph) == 1
    plain = graph.to_model()
    assert ops(plain) == ["DequantizeLinear", "MatMul"]
    assert plain.graph.node[1].name == made.graph.node[0].name
    feeds = {"x": normal(3, 50, seed=4)}
    found, wanted = reference(plain, feeds)["y"], reference(made, feeds)["y"]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_other_targets_do_not_read_it() -> None:
    text = "net (float[n,64] x) => (float[n,8] y) { y = MatMul(x, w) }"
    exact = small(text, {"w": normal(64, 8)})
    made = oq.quantize(exact, "ort", settings={"weights": "int4"}).model
    assert [f.check for f in oq.check(made, "trt")] == ["only-qdq"]
    with pytest.raises(oq.OqError, match="quantized already: node 'MatMul_y' is a MatMulNBits"):
        oq.quantize(made, "ort", settings={"weights": "int4"})
