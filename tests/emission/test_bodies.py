"""Layers inside If and Loop: quantized as in the main graph, from one copy of each weight."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import oq
from oq.model.bodies import graphs_in
from oq.model.session import optimized_ops
from oq.numerics.values import Array
from tests.small import normal, reference, small

CONSTANTS: dict[str, Array] = {
    "w": normal(40, 24), "v": normal(24, 40, seed=1), "b": normal(24, seed=2),
    "u": normal(24, 24, seed=3),
}  # fmt: skip


def branches() -> onnx.ModelProto:
    """Both branches read the outer ``w``; one has a weight of its own, one reads it transposed."""
    text = """net (float[n,40] x, bool c) => (float[n,24] z) {
        y = If (c) <
            then_branch = then () => (float[n,24] t) { p = MatMul(x, w) t = Add(p, b) },
            else_branch = other () => (float[n,24] e) {
                q = MatMul(x, w)
                r = Gemm<transB = 1>(x, v, b)
                s = Add(q, r)
                e = MatMul(s, inner)
            }
        >
        z = Relu(y)
    }"""
    model = small(text, {k: CONSTANTS[k] for k in "wvb"})
    [node] = [n for n in model.graph.node if n.op_type == "If"]
    body = next(a.g for a in node.attribute if a.name == "else_branch")
    body.initializer.append(numpy_helper.from_array(CONSTANTS["u"], "inner"))
    return model


def in_blocks(weight: Array) -> Array:
    """8 bits, affine, 32 inputs to a block, as NumPy rounds them."""
    parts = []
    for i in range(0, len(weight), 32):
        part = weight[i : i + 32].astype(np.float64)
        lo, hi = np.minimum(part.min(0), 0), np.maximum(part.max(0), 0)
        scale = ((hi - lo) / 255).astype(np.float32)
        zero = np.rint(-lo / scale)
        parts.append((np.clip(np.rint(part / scale) + zero, 0, 255) - zero) * scale)
    return np.concatenate(parts)


@pytest.mark.parametrize("chosen", [True, False])
def test_both_branches(chosen: bool) -> None:
    settings = {"weights": "int8", "accuracy_level": 0}
    done = oq.quantize(branches(), "ort", settings=settings)
    onnx.checker.check_model(done.model, full_check=True)
    x = normal(3, 40, seed=7)
    found = reference(done.model, {"x": x, "c": np.asarray(chosen)}, deployed=True)["z"]
    w, v, b, u = CONSTANTS["w"], CONSTANTS["v"], CONSTANTS["b"], CONSTANTS["u"]
    first = x @ in_blocks(w)
    wanted = first + b if chosen else (first + x @ in_blocks(v.T) + b) @ in_blocks(u)
    np.testing.assert_allclose(found, np.maximum(wanted, 0), rtol=1e-3, atol=1e-3)
    assert optimized_ops(done.model)["MatMulNBits"] == 4
    stored = {t.name for t in done.model.graph.initializer}
    assert {"w_packed", "b"} <= stored and "w" not in stored
    codes = sum(CONSTANTS[name].size for name in "wvu")  # in floats, or twice, it would be more
    assert done.model.ByteSize() < 2 * codes + 4000
    assert any("weights of 4 layers are in blocks" in note for note in done.report.notes)
    assert not any("nothing is quantized" in note for note in done.report.notes)


def test_the_forecast_looks_inside() -> None:
    made = oq.quantize(branches(), "ort", settings={"weights": "int4"}).model
    found = oq.judge(made, "ort")
    assert found.findings == () and found.forecast.weight_kernels == 4


def test_what_is_kept_or_does_not_fit_stays() -> None:
    model = branches()
    extra = helper.make_node("MatMul", ["x", "w"], ["keep_me"], "kept")
    model.graph.node.insert(0, extra)
    model.graph.output.append(helper.make_tensor_value_info("keep_me", 1, ["n", 24]))
    for node in next(n for n in model.graph.node if n.op_type == "If").attribute[0].g.node:
        node.name = f"kept_{node.output[0]}"
    settings = {"weights": "int4"}
    made = oq.quantize(model, "ort", settings=settings, keep_float=["kept*"]).model
    assert optimized_ops(made)["MatMulNBits"] == 3
    assert "w" in {t.name for t in made.graph.initializer}
    plain = oq.quantize(branches(), "ort", settings={"weights": "int4", "form": "qdq"}).model
    assert "MatMulNBits" not in optimized_ops(plain)


def test_names_of_a_body_shadow_outer_ones() -> None:
    """A Loop whose state is called as an outer weight: no constant, and not packed."""
    text = """net (int64 count, bool go, float[24,24] x) => (float[24,24] y) {
        y = Loop (count, go, x) <body = turn (int64 i, bool on, float[24,24] u)
            => (bool still, float[24,24] out) {
            still = Identity(on)
            p = MatMul(x, u)
            out = MatMul(p, w)
        }>
    }"""
    constants = {"u": CONSTANTS["u"], "w": normal(24, 24, seed=8)}
    model = small(text, constants)
    made = oq.quantize(model, "ort", settings={"weights": "int8"}).model
    assert optimized_ops(made)["MatMulNBits"] == 1
    feeds = {"count": np.asarray(2), "go": np.asarray(True), "x": 0.2 * normal(24, 24)}
    wanted, found = (reference(m, feeds, deployed=True)["y"] for m in (model, made))
    assert ((wanted - found) ** 2).sum() < (wanted**2).sum() / 1000


ON = {"dynamic": "on"}


def at_run_time(x: Array, weight: Array) -> Array:
    """``x @ weight`` with uint8 data over its own range and int8 weights per column, in NumPy."""
    lo, hi = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    step = (hi - lo) / 255
    zero = np.clip(np.rint(-lo / step), 0, 255)
    codes = np.clip(np.rint(x / step) + zero, 0, 255) - zero
    scale = np.abs(weight).max(axis=0) / 127
    return np.asarray(codes * step @ (np.rint(weight / scale) * scale))


@pytest.mark.parametrize("chosen", [True, False])
def test_both_branches_with_ranges_at_run_time(chosen: bool) -> None:
    done = oq.quantize(branches(), "ort", settings=ON)
    onnx.checker.check_model(done.model, full_check=True)
    x = normal(3, 40, seed=7)
    found = reference(done.model, {"x": x, "c": np.asarray(chosen)}, deployed=True)["z"]
    w, v, b, u = CONSTANTS["w"], CONSTANTS["v"], CONSTANTS["b"], CONSTANTS["u"]
    first = at_run_time(x, w)
    wanted = first + b if chosen else at_run_time(first + at_run_time(x, v.T) + b, u)
    wanted = np.maximum(wanted, 0)
    # a code of the inner product may fall to the other side of a half
    assert ((wanted - found) ** 2).sum() < (wanted**2).sum() / 1e5
    stored = {t.name for t in done.model.graph.initializer}
    assert {"w_quantized", "w_scale", "b"} <= stored and "w" not in stored
    assert any(
        "the products of 4 layers are computed in integers" in note for note in done.report.notes
    )
    judged = oq.judge(done.model, "ort")
    assert judged.findings == () and judged.forecast.kernels == 4


def test_a_loop_with_ranges_at_run_time() -> None:
    """The range is that of each turn, and what is kept in float stays as it was."""
    text = """net (int64 count, bool go, float[24,24] x) => (float[24,24] y) {
        y = Loop (count, go, x) <body = turn (int64 i, bool on, float[24,24] u)
            => (bool still, float[24,24] out) {
            still = Identity(on)
            p = MatMul(u, w)
            out = MatMul(p, v)
        }>
    }"""
    weights = {"w": normal(24, 24, seed=8), "v": normal(24, 24, seed=9)}
    model = small(text, weights)
    body = model.graph.node[0].attribute[0].g
    body.node[2].name = "kept"
    made = oq.quantize(model, "ort", settings=ON, keep_float=["kept"]).model
    x = 0.2 * normal(24, 24)
    feeds = {"count": np.asarray(3), "go": np.asarray(True), "x": x}
    found, wanted = reference(made, feeds, deployed=True)["y"], x
    for _ in range(3):
        wanted = at_run_time(wanted, weights["w"]) @ weights["v"]
    assert ((wanted - found) ** 2).sum() < (wanted**2).sum() / 1e4
    held = {t.name: t.data_type for g in graphs_in(made.graph) for t in g.initializer}
    assert held["v"] == onnx.TensorProto.FLOAT and held["w_quantized"] == onnx.TensorProto.INT8


@pytest.mark.parametrize("glob", ["If_y/then_branch/MatMul_p", "*then_branch/*", "MatMul_p"])
def test_kept_in_float_by_the_name_that_the_plan_lists(glob: str) -> None:
    settings = {"weights": "int8"}
    done = oq.quantize(branches(), "ort", settings=settings, keep_float=[glob])
    assert optimized_ops(done.model)["MatMulNBits"] == 3
    assert [s.node for s in done.report.plan.skips if s.op == "MatMul"] == [
        "If_y/then_branch/MatMul_p"
    ]
    assert done.report.short().startswith("ort: 3 of 4 layers quantized")
