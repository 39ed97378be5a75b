"""Sparse constants become the dense ones that onnxruntime makes of them."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import oq
from oq.errors import ModelError
from oq.model.sparse import with_dense_constants
from tests.small import assert_same_outputs, normal, small


def sparse(
    name: str, places: list[int] | list[list[int]], shape: list[int]
) -> onnx.SparseTensorProto:
    values = numpy_helper.from_array(normal(len(places)), name)
    return helper.make_sparse_tensor(
        values, numpy_helper.from_array(np.array(places), f"{name}_at"), shape
    )


def model(places: list[int] | list[list[int]]) -> onnx.ModelProto:
    made = small("net (float[n,4] x) => (float[n,3] y) { m = MatMul(x, w) y = MatMul(m, v) }")
    made.graph.sparse_initializer.append(sparse("w", places, [4, 3]))
    value = sparse("", [[0, 1], [2, 2]], [3, 3])
    made.graph.node.insert(0, helper.make_node("Constant", [], ["v"], sparse_value=value))
    return made


@pytest.mark.parametrize("places", [[0, 4, 11], [[0, 2], [1, 0], [3, 1]]])
def test_written_out(places: list[int] | list[list[int]]) -> None:
    made = model(places)
    dense = with_dense_constants(made)
    assert not dense.graph.sparse_initializer and made.graph.sparse_initializer
    assert [t.data_type for t in dense.graph.initializer] == [TensorProto.FLOAT]
    assert_same_outputs(made, dense)
    assert oq.make_plan(made, "ort").sites


def test_places_outside_are_refused() -> None:
    with pytest.raises(ModelError, match="outside"):
        with_dense_constants(model([0, 4, 12]))
    plain = small("net (float[n] x) => (float[n] y) { y = Relu(x) }")
    assert with_dense_constants(plain) is plain


def test_a_model_in_memory_is_written_out_too() -> None:
    made = model([0, 4, 11])
    result = oq.quantize(made, "ort", {"x": normal(8, 4)}, refine="none")
    assert len(result.report.plan.groups) == 2
