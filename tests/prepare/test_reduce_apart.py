"""A reduction and the pair behind it are kept apart, since OpenVINO fuses them wrongly."""

import numpy as np
import onnx
import pytest

import oq
from oq.engines.engine import find_engine
from oq.model.graph import Graph
from oq.model.session import Settings, run
from oq.prepare.infer_types import infer_types
from oq.prepare.reduce_apart import reduce_apart
from tests.small import assert_same_outputs, normal, ops, small


@pytest.mark.parametrize(("kept", "moved"), [(0, "Squeeze"), (1, "Unsqueeze")])
@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"])
def test_the_axes_are_moved_by_a_node_of_their_own(op: str, kept: int, moved: str) -> None:
    shape = "n,3,1" if kept else "n,3"
    text = f"""net (float[n,3,5] x) => (float[{shape}] y) {{
        r = {op}<keepdims = {kept}>(x, axes) y = Relu(r)
    }}"""
    graph = Graph(small(text, {"axes": np.array([-1])}, opset=18))
    infer_types(graph)
    before = graph.to_model()
    assert reduce_apart(graph).changed == 1
    assert ops(graph.to_model()) == [op, moved, "Relu"]
    assert_same_outputs(before, graph.to_model())


@pytest.mark.parametrize(
    "middle",
    [
        "m = ReduceMax<keepdims = 0>(c, axes)",
        "k = ReduceMax<keepdims = 1>(c, axes) m = Squeeze(k, axes)",
        "k = ReduceMax<keepdims = 1>(c, axes) m = Flatten(k)",
    ],
)
def test_a_maximum_over_points_is_right_in_openvino(middle: str) -> None:
    pytest.importorskip("openvino")
    text = f"""net (float[n,8,10] x) => (float[n,5] y) {{
        c = Conv<kernel_shape = [1]>(x, w) {middle} y = MatMul(m, v)
    }}"""
    constants = {"w": normal(16, 8, 1), "v": normal(16, 5, seed=1), "axes": np.array([2])}
    model = onnx.shape_inference.infer_shapes(small(text, constants, opset=18))
    x = normal(24, 8, 10, seed=2)
    made = oq.quantize(model, "openvino", {"x": x}, refine="none", verify=False).model
    loaded = find_engine("openvino").load(made, Settings())
    exact, [found] = run(model, {"x": x[:4]})["y"], loaded.run({"x": x[:4]})
    assert 10 * np.log10((exact**2).sum() / ((exact - found) ** 2).sum()) > 30
