"""The float16 rest: the same interface, values that float16 holds, casts around what stays."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

import oq
from oq.emission.float16 import to_float16
from oq.model.graph import Graph
from oq.numerics.values import Array
from tests.graphs import IMAGE, Net
from tests.small import ops, reference, small

HALF, SINGLE = TensorProto.FLOAT16, TensorProto.FLOAT


def halved(
    model: onnx.ModelProto, peaks: dict[str, float] | None = None
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    graph = Graph(onnx.shape_inference.infer_shapes(model))
    notes = to_float16(graph, peaks or {})
    made = graph.to_model()
    onnx.checker.check_model(made, full_check=True)
    assert [i.type for i in made.graph.input] == [i.type for i in model.graph.input]
    assert [o.type.tensor_type.elem_type for o in made.graph.output] == [SINGLE] * len(
        model.graph.output
    )
    return made, notes


def types(model: onnx.ModelProto) -> dict[str, int]:
    """Element type of every tensor, as ONNX infers it from the operators."""
    del model.graph.value_info[:]
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    found = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.output)}
    return found | {t.name: t.data_type for t in graph.initializer}


def close(before: onnx.ModelProto, after: onnx.ModelProto, x: Array) -> None:
    expected, found = reference(before, {"x": x}), reference(after, {"x": x})
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], values, rtol=4e-3, atol=4e-3, err_msg=name)


X = np.random.default_rng(0).normal(size=(2, 8)).astype(np.float32)
WEIGHT = np.random.default_rng(1).normal(0, 0.3, size=(8, 8)).astype(np.float32)


def test_everything_between_the_casts_is_float16() -> None:
    text = """net (float[n,8] x) => (float[n,8] y) {
        a = MatMul (x, w)
        b = Relu (a)
        y = Add (b, k)
    }"""
    model = small(text, {"w": WEIGHT, "k": WEIGHT[0]}, opset=19, ir=9)
    made, notes = halved(model)
    assert notes == () and sorted(ops(made)) == ["Add", "Cast", "Cast", "MatMul", "Relu"]
    found = types(made)
    assert {found[t] for t in ("a", "b")} == {HALF}
    assert [t.data_type for t in made.graph.initializer] == [HALF, HALF]
    close(model, made, X)


@pytest.mark.parametrize(
    ("constant", "peaks", "note"),
    [
        (1e6, {}, "constant 'k' holds 1e+06, float16 65504"),
        (1e-9, {}, "constant 'k' would become 0"),
        (2.0, {"b": 7e4}, "'b' reaches 7e+04, float16 65504"),
        (2.0, {"c": np.inf}, "'c' reaches inf, float16 65504"),
    ],
)
def test_what_float16_cannot_hold_stays_in_float32(
    constant: float, peaks: dict[str, float], note: str
) -> None:
    text = """net (float[n,8] x) => (float[n,8] y) {
        a = MatMul (x, w)
        [mul] b = Mul (a, k)
        [div] c = Div (b, k)
        y = Add (c, w2)
    }"""
    constants = {"w": WEIGHT, "w2": WEIGHT[0], "k": np.asarray(constant, np.float32)}
    model = small(text, constants, opset=19, ir=9)
    made, notes = halved(model, peaks)
    assert notes[0].endswith(f"keeps float32: {note}")
    found = types(made)
    assert found["a"] == HALF
    assert SINGLE in {found["b"], found["c"]}
    close(model, made, X)


def test_an_infinite_mask_is_float16_too() -> None:
    mask = np.where(np.eye(8, dtype=bool), 0, -np.inf).astype(np.float32)
    text = """net (float[8,8] x) => (float[8,8] y) { a = Add (x, m)  y = Softmax (a) }"""
    model = small(text, {"m": mask}, opset=19, ir=9)
    made, notes = halved(model)
    assert notes == () and types(made)["a"] == HALF
    close(model, made, np.resize(X, (8, 8)))


def test_slots_and_outputs_that_onnx_keeps_in_float32() -> None:
    """Resize reads its scales in float32; what an attribute types stays as it is."""
    text = """net (float[1,1,2,4] x) => (float[1,1,4,8] y) {
        r = Resize <mode = "nearest"> (x, , scales)
        i = Cast <to = 7> (r)
        f = Cast <to = 1> (i)
        y = Mul (f, r)
    }"""
    model = small(text, {"scales": np.asarray([1, 1, 2, 2], np.float32)}, opset=19, ir=9)
    made, notes = halved(model)
    assert notes == ()
    found = types(made)
    assert (found["scales"], found["r"], found["f"]) == (SINGLE, HALF, SINGLE)
    close(model, made, X[:1].reshape(1, 1, 2, 4))


def test_names_of_outputs_and_of_what_subgraphs_read_stay_float32() -> None:
    text = """net (float[n,8] x) => (float[n,8] a, float[n,8] y) {
        a = MatMul (x, w)
        b = Relu (a)
        c = Relu (b)
        some = ReduceSum <keepdims = 0> (x)
        flag = Greater (some, zero)
        d = If (flag) <
            then_branch = t () => (float[n,8] p) { p = Neg (b) },
            else_branch = e () => (float[n,8] q) { q = Abs (b) }
        >
        y = Add (c, d)
    }"""
    constants = {"w": WEIGHT, "zero": np.asarray(0.0, np.float32)}
    model = small(text, constants, opset=19, ir=9)
    made, notes = halved(model)
    assert [n.split(" keeps")[1] for n in notes] == [" float32: its body computes in float32"]
    found = types(made)
    assert found["c"] == HALF and found["a"] == found["b"] == SINGLE
    relu = next(n for n in made.graph.node if "c" in n.output)
    assert found[relu.input[0]] == HALF
    for sign in (1, -1):
        close(model, made, sign * np.abs(X))


def test_a_dequantize_linear_writes_the_type_of_its_scale() -> None:
    text = """net (float[n,8] x) => (float[n,8] y) {
        q = QuantizeLinear (x, s, z)
        d = DequantizeLinear (q, s, z)
        y = Relu (d)
    }"""
    scale = np.asarray(np.float16(0.03), np.float32)
    for opset, ir in ((19, 9), (21, 10), (23, 11)):
        model = small(text, {"s": scale, "z": np.zeros((), np.int8)}, opset=opset, ir=ir)
        made, _ = halved(model)
        assert types(made)["d"] == HALF
        close(model, made, X)
    huge = small(text, {"s": scale * 1e5, "z": np.zeros((), np.int8)}, opset=19, ir=9)
    made, notes = halved(huge)
    assert len(notes) == 2 and types(made)["d"] == SINGLE


# ---- as an option of the target


def network() -> onnx.ModelProto:
    net = Net()
    r = net.node("Relu", [net.conv(net.input("x"), "c")], "r")
    big = net.node("Mul", [r, net.constant("k", 3e4)], "big")
    small_again = net.node("Div", [big, net.constant("l", 3e4)], "back")
    return net.model(net.conv(small_again, "d"))


@pytest.mark.parametrize("dtype", ["int8", "fp8"])
def test_measured_ranges_decide(dtype: str) -> None:
    """``big`` has no grid, so only a look at its values can tell."""
    data = np.random.default_rng(0).normal(size=(16, *IMAGE[1:])).astype(np.float32)
    settings = {"high_precision": "fp16", "dtype": dtype}
    done = oq.quantize(network(), "trt", data, settings=settings, mode="naive")
    notes = [n for n in done.report.notes if "float32" in n]
    assert len(notes) == 2 and all("'big' reaches" in n for n in notes)
    scales = [t for t in done.model.graph.initializer if "_scale" in t.name]
    assert scales and all(t.data_type == HALF for t in scales)
    assert all(np.isfinite(numpy_helper.to_array(t)).all() for t in scales)
    assert done.report.verification is not None
    assert done.report.verification.literal.outputs[0].sqnr_db > 22
    assert done.report.findings == ()


def test_a_few_are_named_and_the_rest_counted() -> None:
    chain = "  ".join(f"t{i + 1} = Relu (t{i})" for i in range(8))
    text = f"net (float[n,8] t0) => (float[n,8] t8) {{ {chain} }}"
    _, notes = halved(small(text, opset=19, ir=9), {f"t{i}": 1e6 for i in range(9)})
    assert len(notes) == 6 and notes[-1] == "3 more nodes keep float32"


def test_a_loop_over_weights_of_its_own_keeps_its_state_in_float32() -> None:
    text = """net (float[n,8] x) => (float[n,8] y) {
        a = Relu (x)
        s = Loop (three, , a) <
            body = b (int64 i, bool c, float[n,8] st) => (bool d, float[n,8] u)
                <float[8] k = {1, 2, 3, 4, 5, 6, 7, 8}> { d = Identity (c) u = Mul (st, k) }
        >
        y = Abs (s)
    }"""
    model = small(text, {"three": np.asarray(3)}, opset=19, ir=9)
    made, _ = halved(model)
    assert types(made)["y"] == SINGLE
    close(model, made, X)
