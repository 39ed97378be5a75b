"""Small models in ONNX's text form, and onnxruntime itself as the reference that runs them."""

from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

from oq.model.graph import Graph
from oq.model.view import GraphView
from oq.numerics.values import Array


def small(
    text: str, constants: Mapping[str, Array] | None = None, *, opset: int = 17, ir: int = 8
) -> onnx.ModelProto:
    """The model of graph ``text`` (``net (float[n,3] x) => (float[n,3] y) { y = Relu(x) }``)."""
    imports = f'["" : {opset}, "com.example" : 1]'
    model = onnx.parser.parse_model(f"<ir_version: {ir}, opset_import: {imports}> {text}")
    for name, values in (constants or {}).items():
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    return model


def normal(*shape: int, seed: int = 0) -> Array:
    """Standard normal float32 values."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def view(model: onnx.ModelProto) -> GraphView:
    """The read-only picture of ``model``, with the types and shapes that ONNX infers."""
    return Graph(onnx.shape_inference.infer_shapes(model, strict_mode=True)).view()


def floats(*values: float) -> Array:
    """A float32 vector."""
    return np.asarray(values, np.float32)


def reference(
    model: onnx.ModelProto, feeds: Mapping[str, Array], *, deployed: bool = False
) -> dict[str, Array]:
    """Every output by name, from onnxruntime without oq between (unoptimized by default)."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    if not deployed:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options)
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def random_feeds(model: onnx.ModelProto, *, free: int = 2, seed: int = 0) -> dict[str, Array]:
    """Normal values for every input, axes of free size being ``free`` long."""
    given = {t.name for t in model.graph.initializer}
    random, feeds = np.random.default_rng(seed), {}
    for value in model.graph.input:
        if value.name in given:
            continue
        kind = value.type.tensor_type
        shape = [d.dim_value or free for d in kind.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        feeds[value.name] = np.asarray(random.standard_normal(shape)).astype(dtype)
    return feeds


def assert_same_outputs(
    before: onnx.ModelProto, after: onnx.ModelProto, *, rtol: float = 0.0, atol: float = 0.0
) -> None:
    """Both models give the same outputs, by name, on random input; bit for bit by default."""
    onnx.checker.check_model(after, full_check=True)
    feeds = random_feeds(before)
    expected, found = reference(before, feeds), reference(after, feeds)
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert found[name].dtype == values.dtype
        np.testing.assert_allclose(found[name], values, rtol=rtol, atol=atol, err_msg=name)


def ops(model: onnx.ModelProto) -> list[str]:
    """The ops of the main graph in file order."""
    return [n.op_type for n in model.graph.node]
