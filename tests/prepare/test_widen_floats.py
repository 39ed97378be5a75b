"""Nothing but float32 is left inside, bodies and attributes too, and the numbers stay."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from oq.model.graph import Graph
from oq.model.restore_types import restore_types
from oq.prepare.order import prepare
from oq.prepare.widen_floats import FLOAT32, is_float16, widen_floats
from tests.small import normal, random_feeds, reference, small

W = normal(4, 4, seed=1)

EVERYWHERE = """net (float16[n,4] x, bool c) => (float16[n,4] y, float[n,4] z)
<float16[n,4] a, float[n,4] s> {
    k = Constant <value = float16 {14336}> ()
    a = MatMul (x, w)
    b = Mul (a, k)
    i = If (c) <
        then_branch = yes () => (float16[n,4] t) {
            two = Constant <value = float16 {16384}> ()
            t = Mul (b, two)
        },
        else_branch = no () => (float16[n,4] e) { e = Relu (b) }
    >
    f = Cast <to = 1> (i)
    s = Softmax (f)
    h = Cast <to = 10> (s)
    y = Add (h, x)
    o = ConstantOfShape <value = float16[1] {15360}> (shape)
    p = Add (i, o)
    z = Cast <to = 1> (p)
}"""


def everywhere() -> onnx.ModelProto:
    return small(EVERYWHERE, {"w": W.astype(np.float16), "shape": np.asarray([1, 4])})


def kinds(message: object) -> set[int]:
    """Every element type that a model names, whatever the field."""
    text = str(message)
    names = ("elem_type: ", "data_type: ")
    return {int(line.split()[1]) for line in text.splitlines() if line.strip().startswith(names)}


def restored(model: onnx.ModelProto) -> onnx.ModelProto:
    widened, own = widen_floats(model)
    graph = Graph(onnx.shape_inference.infer_shapes(widened))
    restore_types(graph, own.inputs, own.outputs)
    return graph.to_model()


@pytest.mark.parametrize("flag", [True, False])
def test_the_same_numbers_in_float32_between_inputs_and_outputs_of_their_own(flag: bool) -> None:
    model = everywhere()
    widened, own = widen_floats(model)
    onnx.checker.check_model(widened, full_check=True)
    assert TensorProto.FLOAT16 in kinds(model) and TensorProto.FLOAT16 not in kinds(widened)
    assert own.inputs == {"x": "float16"} and own.outputs == {"y": "float16"}
    made = restored(model)
    onnx.checker.check_model(made, full_check=True)
    assert list(made.graph.input) == list(model.graph.input)
    feeds = {**random_feeds(model), "c": np.asarray(flag)}
    expected, found = reference(model, feeds), reference(made, feeds)
    for name, values in expected.items():
        assert found[name].dtype == values.dtype
        np.testing.assert_allclose(found[name], values, rtol=4e-3, atol=4e-3)


def test_a_float32_model_is_returned_as_it_is() -> None:
    model = small("net (float[n,4] x) => (float[n,4] y) { y = MatMul (x, w) }", {"w": W})
    widened, own = widen_floats(model)
    assert widened is model and own is FLOAT32 and not is_float16(model)


def test_islands_of_float32_are_known_and_casts_are_none() -> None:
    _, own = widen_floats(everywhere())
    assert "s" in own.singles and own.singles.isdisjoint({"f", "z", "a", "b", "y"})


def test_casts_around_an_island_go() -> None:
    prepared = prepare(everywhere(), 13)
    found = [n.op for n in prepared.graph.view().nodes]
    assert "Cast" not in found and "Softmax" in found


@pytest.mark.parametrize(
    ("body", "widens"), [("y = MatMul (x, w)", True), ("y = Mul (x, w)", False)]
)
def test_float64_becomes_float32_where_layers_are_float64(body: str, widens: bool) -> None:
    model = small(f"net (double[4,4] x) => (double[4,4] y) {{ {body} }}", {"w": W.astype(float)})
    own = widen_floats(model)[1]
    assert (own.most == "float64") is widens
    if widens:
        feeds = random_feeds(model)
        found = reference(restored(model), feeds)["y"]
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, feeds["x"] @ W, rtol=1e-5, atol=1e-5)


def test_a_mask_beyond_float32_stays_finite() -> None:
    mask = np.asarray([np.finfo(np.float64).min, -np.inf, 1.0, 2.0])
    text = "net (double[4,4] x) => (double[4,4] y) { a = MatMul (x, w)\n y = Add (a, mask) }"
    widened, _ = widen_floats(small(text, {"w": W.astype(float), "mask": mask}))
    found = {t.name: numpy_helper.to_array(t) for t in widened.graph.initializer}["mask"]
    assert found.dtype == np.float32 and found[0] == np.finfo(np.float32).min
    assert np.isneginf(found[1])


def test_bfloat16_values_are_exact() -> None:
    kind = helper.tensor_dtype_to_np_dtype(TensorProto.BFLOAT16)
    text = "net (bfloat16[n,4] x) => (bfloat16[n,4] y) { y = MatMul (x, w) }"
    model = small(text)
    model.graph.initializer.append(numpy_helper.from_array(W.astype(kind), "w"))
    widened, own = widen_floats(model)
    assert own.inputs == {"x": "bfloat16"} and own.most == "bfloat16"
    found = numpy_helper.to_array(widened.graph.initializer[0])
    np.testing.assert_array_equal(found, W.astype(kind).astype(np.float32))


@pytest.mark.parametrize("kind", ["float16", "float64"])
def test_outputs_that_are_inputs_or_constants_keep_their_types(kind: str) -> None:
    net = {"float16": "float16", "float64": "double"}[kind]
    text = f"""net ({net}[4,4] x) => ({net}[4,4] x, {net}[4,4] w, {net}[4,4] y, {net}[4,4] r) {{
        y = MatMul (x, w)
        r = Relu (y)
    }}"""
    model = small(text, {"w": W.astype(kind)})
    made = restored(model)
    feeds = random_feeds(model)
    expected, found = reference(model, feeds), reference(made, feeds)
    assert list(found) == ["x", "w", "y", "r"]
    for name, values in expected.items():
        assert found[name].dtype == kind
        np.testing.assert_allclose(found[name], values, rtol=4e-3, atol=4e-3)
