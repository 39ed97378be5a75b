"""A MatMul of codes and the Add behind it: a float Gemm to onnxruntime, unless the Add is a Sum."""

import numpy as np
import onnx
import pytest

from oq.emission.keep_integer import keep_products_integer
from oq.model.graph import Graph
from oq.model.session import optimized_ops
from tests.qdq_cases import Pairs
from tests.small import normal, ops, reference


def product(*, pair: bool = True, reads: int = 1) -> onnx.ModelProto:
    """``x w + h``, of codes unless ``pair`` is False; ``reads`` of the product."""
    made = Pairs()
    x = made.input("x", 2, 16) if pair else made.net.input("x", (2, 16))
    p = made.net.node("MatMul", [x, made.stored("w", (16, 8))], "p")
    y = made.net.node("Add", [p, made.net.input("h", (2, 8))], "y")
    more = [made.net.node("Tanh", [p], "z")] if reads == 2 else []
    return made.net.model(y, *more)


def test_the_product_stays_in_integers() -> None:
    model = product()
    graph = Graph(product())
    (add,) = keep_products_integer(graph)
    kept = graph.to_model()
    assert ops(kept).count("Sum") == 1 and "Add" not in ops(kept)
    assert add in {n.name for n in kept.graph.node if n.op_type == "Sum"}
    assert optimized_ops(model)["Gemm"] == 1  # what this is against
    assert optimized_ops(kept)["MatMulIntegerToFloat"] == 1 and not optimized_ops(kept)["Gemm"]
    feeds = {"x": normal(2, 16), "h": normal(2, 8, seed=1)}
    np.testing.assert_array_equal(reference(kept, feeds)["y"], reference(model, feeds)["y"])


@pytest.mark.parametrize("model", [product(pair=False), product(reads=2)], ids=["float", "twice"])
def test_others_are_left_as_they_are(model: onnx.ModelProto) -> None:
    graph = Graph(model)
    assert keep_products_integer(graph) == ()
    assert "Sum" not in ops(graph.to_model())
