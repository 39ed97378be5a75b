"""The model at batch 1, and which inputs cannot have one."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from oq.deployment.xmodel.shapes import at_batch_1, static_view
from oq.errors import ModelError
from tests.graphs import Net
from tests.small import reference


def small(*shape: str | int, dtype: int = TensorProto.FLOAT) -> onnx.ModelProto:
    node = helper.make_node("Identity", ["x"], ["y"], "n")
    given = helper.make_tensor_value_info("x", dtype, shape)
    made = helper.make_tensor_value_info("y", dtype, None)
    graph = helper.make_graph([node], "g", [given], [made])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("batch", [1, "n"])
def test_a_free_batch_becomes_1(batch: str | int) -> None:
    view = static_view(at_batch_1(small(batch, 3, 8, 6)))
    assert view.inputs[0].shape == (1, 3, 8, 6) == view.shape("y")


def test_an_axis_that_is_the_batch_in_another_input_becomes_1_too() -> None:
    net = Net()
    net.input("x", ("n", 3))
    net.input("z", ("n", "n", 3))
    net.node("Add", ["x", "z"], "y")
    assert static_view(at_batch_1(net.model("y"))).shape("y") == (1, 1, 3)


def test_shapes_that_are_computed_are_seen() -> None:
    """Reshape to [batch, -1], the batch by Shape, Squeeze and Concat; a Constant among them."""
    net = Net()
    net.input("x", ("n", 3, 4, 2))
    net.node("Shape", ["x"], "s", start=0, end=1)
    net.node("Squeeze", ["s"], "b")
    net.node("Constant", [], "k", value_ints=[1])
    net.node("Reshape", ["b", "k"], "r")
    net.node("Concat", ["r", net.constant("m", [-1], np.int64)], "t", axis=0)
    net.node("Reshape", ["x", "t"], "y")
    model = net.model("y")
    found = at_batch_1(model)
    assert static_view(found).shape("y") == (1, 24)
    assert "Constant" not in {n.op_type for n in found.graph.node}
    feeds = {"x": np.random.default_rng(0).standard_normal((1, 3, 4, 2)).astype(np.float32)}
    np.testing.assert_array_equal(reference(found, feeds)["y"], reference(model, feeds)["y"])


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (small(8, 3, 8, 6), "input 'x' has a batch of 8; .* batch 1 only.* with 1x3x8x6"),
        (small("n", 3, "h", 6), r"axis of free size \(h\).*--shape x=1x3xSIZEx6"),
        (small("n", 3, dtype=TensorProto.INT64), "input 'x' is int64"),
        (small(), "input 'x' has no axes"),
    ],
    ids=["batch", "free", "integers", "scalar"],
)
def test_what_has_no_fixed_shape_of_batch_1_is_refused(model: onnx.ModelProto, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        at_batch_1(model)
