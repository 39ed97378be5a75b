"""Every computed tensor has a type, from ONNX or from onnxruntime."""

import numpy as np
import onnx
import pytest

from oq.errors import ModelError
from oq.model.files import load_model
from oq.model.graph import Graph
from oq.numerics.values import TensorInfo
from oq.prepare.infer_types import infer_types
from tests.real import CIFAR, needs_real
from tests.small import assert_same_outputs, normal, small


def test_types_and_shapes_are_written_down() -> None:
    model = small(
        """net (float[n,3,8,8] x) => (float[n,m] y) {
            c = Conv<strides = [2,2]>(x, w)
            h = Cast<to = 10>(c)
            f = Flatten(h)
            s = Shape(x)
            y = Cast<to = 1>(f)
        }""",
        {"w": normal(4, 3, 2, 2)},
    )
    graph = Graph(model)
    outcome = infer_types(graph)
    assert outcome.refusals == ()
    tensors = graph.view().tensors
    assert tensors["c"] == TensorInfo("c", "float32", ("n", 4, 4, 4))
    assert tensors["h"].dtype == "float16"
    assert tensors["f"].shape == ("n", 64)
    assert tensors["s"] == TensorInfo("s", "int64", (4,))
    assert_same_outputs(model, graph.to_model())


def test_a_shape_that_comes_out_of_constants_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Resize gets its size from a small constant, which must not be left out."""
    monkeypatch.setattr("oq.prepare.infer_types.infer", lambda *_: pytest.fail("asked onnxruntime"))
    model = small(
        """net (float[2,3,4,4] x) => (float[2,3,h,v] y) {
            t = Resize<mode = "nearest">(x, , scales)
            y = Relu(t)
        }""",
        {"scales": np.asarray([1, 1, 2, 3], np.float32)},
    )
    graph = Graph(model)
    infer_types(graph)
    assert graph.view().tensors["t"].shape == (2, 3, 8, 12)


def test_large_weights_need_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    plain = onnx.shape_inference.infer_shapes

    def watch(model: onnx.ModelProto, data_prop: bool) -> onnx.ModelProto:
        seen.append(model.ByteSize())
        return plain(model, data_prop=data_prop)

    monkeypatch.setattr("onnx.shape_inference.infer_shapes", watch)
    text = "net (float[n,64] x) => (float[n,64] y) { t = MatMul(x, w)\n y = Relu(t) }"
    model = small(text, {"w": normal(64, 64)})
    graph = Graph(model)
    infer_types(graph)
    assert seen[0] < 1000
    assert graph.view().tensors["t"].shape == ("n", 64)
    assert_same_outputs(model, graph.to_model())


def test_onnxruntime_helps_where_onnx_does_not_know_the_op() -> None:
    text = "net (float[n,8] x) => (float[n,8] y) { t = com.microsoft.Gelu(x)\n y = Neg(t) }"
    model = small(text, {"w": normal(64, 64)})
    model.opset_import.add(domain="com.microsoft", version=1)
    graph = Graph(model)
    assert infer_types(graph).refusals == ()
    assert graph.view().tensors["t"] == TensorInfo("t", "float32", ("n", 8))


def test_an_op_that_nobody_knows() -> None:
    text = "net (float[n] x) => (float[n] y) { t = com.example.Mystery(x)\n y = Neg(t) }"
    with pytest.raises(ModelError, match=r"cannot load the model: .*Mystery"):
        infer_types(Graph(small(text)))


def test_a_tensor_without_a_type_is_named() -> None:
    """Sequences hold no real values of their own."""
    text = """net (float[n] x) => (float[n] y) {
        s = SequenceConstruct(x, x)
        y = SequenceAt(s, zero)
    }"""
    graph = Graph(small(text, {"zero": np.asarray(0, np.int64)}))
    assert infer_types(graph).refusals == (
        "tensor 's' has no type that ONNX or onnxruntime can infer",
    )


@needs_real
@pytest.mark.parametrize("name", ["resnet20.onnx", "resnet20_torchscript_opset13.onnx"])
def test_every_tensor_of_a_real_model_is_typed(name: str) -> None:
    graph = Graph(load_model(CIFAR / name))
    assert infer_types(graph).refusals == ()
    view = graph.view()
    for node in view.nodes:
        for tensor in node.outputs:
            assert view.tensors[tensor].dtype is not None
            assert node.op != "Conv" or view.rank(tensor) == 4
