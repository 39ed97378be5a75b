"""Ranges at run time: what NumPy computes from the definition, in the kernels of another tool."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

import oq
from oq.errors import OptionError
from oq.model.session import optimized_ops
from oq.numerics.values import Array
from tests.decoder import as_past, decoder, no_past
from tests.small import normal, reference, small

ON = {"dynamic": "on"}


def at_run_time(x: Array) -> Array:
    """DynamicQuantizeLinear and back: uint8 over the range of x and 0."""
    lo, hi = min(x.min(), 0.0), max(x.max(), 0.0)
    scale = np.float32((np.float32(hi) - np.float32(lo)) / np.float32(255))
    zero = np.clip(np.rint(-np.float32(lo) / scale), 0, 255)
    return np.asarray((np.clip(np.rint(x / scale) + zero, 0, 255) - zero) * scale)


def per_output(weight: Array) -> Array:
    scale = np.abs(weight).max(axis=0) / np.float32(127)
    return np.asarray(np.rint(weight / scale) * scale)


BODIES = {
    "product": ("y = MatMul(x, w)", ["MatMul_y"]),
    "bias": ("m = MatMul(x, w) y = Add(m, b)", ["m_Gemm"]),
    "gemm": ("y = Gemm<transB = 1>(x, wt, b)", ["Gemm_y"]),
    "no bias": ("y = Gemm(x, w)", ["Gemm_y"]),
}


@pytest.mark.parametrize("name", BODIES)
def test_layers_compute_what_the_definition_says(name: str) -> None:
    body, _ = BODIES[name]
    weight, bias = normal(24, 16, seed=1), normal(16, seed=2)
    constants = {"w": weight, "wt": np.ascontiguousarray(weight.T), "b": bias}
    exact = small(f"net (float[n,24] x) => (float[n,16] y) {{ {body} }}", constants)
    made = oq.quantize(exact, "ort", settings=ON).model
    onnx.checker.check_model(made, full_check=True)
    x = 3 * normal(7, 24, seed=3) + 1
    wanted = at_run_time(x) @ per_output(weight) + (bias if "b)" in body else 0)
    for deployed in (False, True):
        found = reference(made, {"x": x}, deployed=deployed)["y"]
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    assert sum(optimized_ops(made)[op] for op in ("DynamicQuantizeMatMul", "MatMulIntegerToFloat"))
    held = {t.name: numpy_helper.to_array(t) for t in made.graph.initializer}
    assert not any(v.dtype == np.float32 and v.size > 24 for v in held.values())


def test_data_is_quantized_once_for_all_its_readers() -> None:
    text = """net (float[n,8] x) => (float[n,8] y) {
        a = MatMul(x, w) b = MatMul(x, v) c = Add(a, b) y = MatMul(c, w)
    }"""
    exact = small(text, {"w": normal(8, 8), "v": normal(8, 8, seed=1)})
    made = oq.quantize(exact, "ort", settings=ON).model
    ops = [n.op_type for n in made.graph.node]
    assert ops.count("DynamicQuantizeLinear") == 2 and ops.count("MatMulInteger") == 3
    assert sum(t.data_type == onnx.TensorProto.INT8 for t in made.graph.initializer) == 2


def test_a_decoder_with_a_past() -> None:
    """As another tool makes it: as near to the float model, from the same kernels."""
    exact = decoder()
    made = oq.quantize(exact, "ort", settings=ON).model
    ops, states = optimized_ops(made), {True: no_past(2), False: no_past(2)}
    assert ops["DynamicQuantizeMatMul"] + ops["MatMulIntegerToFloat"] == 13
    ids = np.random.default_rng(1).integers(0, 61, (2, 7))
    for words in (ids[:, :4], ids[:, 4:5], ids[:, 5:]):
        ran = {}
        for is_exact, model in ((True, exact), (False, made)):
            ran[is_exact] = reference(model, {"ids": words, **states[is_exact]}, deployed=True)
            states[is_exact] = as_past(ran[is_exact])
        for name, wanted in ran[True].items():
            noise = ((wanted - ran[False][name]) ** 2).sum()
            assert noise < (wanted**2).sum() / 300, name
    judged = oq.judge(made, "ort")
    assert judged.findings == () and judged.forecast.kernels == 13
    assert judged.forecast.integer_macs > 0.9 * judged.forecast.macs


def test_the_forecast_reads_files_of_another_tool(tmp_path: Path) -> None:
    onnx.save(decoder(), tmp_path / "float.onnx")
    quantize_dynamic(
        tmp_path / "float.onnx", tmp_path / "theirs.onnx", weight_type=QuantType.QInt8,
        per_channel=True,
    )  # fmt: skip
    theirs = onnx.load(tmp_path / "theirs.onnx")
    found, ops = oq.judge(theirs, "ort").forecast, optimized_ops(theirs)
    assert found.kernels == ops["DynamicQuantizeMatMul"] + ops["MatMulIntegerToFloat"] == 12


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_lstm(direction: str, tmp_path: Path) -> None:
    """As near to the float model as another tool's, in the same kernel; states go in and out."""
    ways, hidden = (2 if direction == "bidirectional" else 1), 12
    state = f"float[{ways},n,{hidden}]"
    text = f"""net (float[t,n,10] x, {state} h, {state} c)
        => (float[t,{ways},n,{hidden}] y, {state} now_h, {state} z)
    {{
        y, now_h, now_c = LSTM <hidden_size = {hidden}, direction = "{direction}">
            (x, w, r, b, , h, c)
        z = Relu(now_c)
    }}"""
    constants = {
        "w": 0.4 * normal(ways, 4 * hidden, 10),
        "r": 0.4 * normal(ways, 4 * hidden, hidden, seed=1),
        "b": normal(ways, 8 * hidden, seed=2),
    }
    exact = small(text, constants)
    made = oq.quantize(exact, "ort", settings=ON).model
    assert optimized_ops(made)["DynamicQuantizeLSTM"] == 1
    held = {t.name: numpy_helper.to_array(t) for t in made.graph.initializer}
    assert sum(v.size for v in held.values() if v.dtype == np.int8 and v.ndim == 3) == sum(
        constants[name].size for name in "wr"
    )
    onnx.save(exact, tmp_path / "float.onnx")
    quantize_dynamic(
        tmp_path / "float.onnx", tmp_path / "theirs.onnx", weight_type=QuantType.QInt8,
        per_channel=True,
    )  # fmt: skip
    theirs = onnx.load(tmp_path / "theirs.onnx")
    feeds = {"x": normal(9, 2, 10, seed=5), "h": normal(ways, 2, hidden), "c": normal(ways, 2, 12)}
    wanted, noises = reference(exact, feeds), []
    for model in (made, theirs):
        found = reference(model, feeds, deployed=True)
        noises.append(sum(float(((v - found[name]) ** 2).mean()) for name, v in wanted.items()))
        for name, values in wanted.items():
            assert ((values - found[name]) ** 2).mean() < (values**2).mean() / 1000, name
    assert noises[0] < 3 * noises[1]  # both vary with the threads that share a batch
    for model in (made, theirs):
        judged = oq.judge(model, "ort")
        assert [f.op for f in judged.forecast.nodes if f.runs == "int8"] == ["DynamicQuantizeLSTM"]
        assert judged.forecast.kernels == 1 and judged.findings == ()


def test_recurrent_layers_without_such_a_kernel_say_so() -> None:
    body = "y, h = GRU<hidden_size = 3>(x, w, r)"
    text = f"net (float[t,n,4] x) => (float[t,1,n,3] y, float[1,n,3] h) {{ {body} }}"
    exact = small(text, {"w": normal(1, 9, 4), "r": normal(1, 9, 3)})
    [skip] = oq.make_plan(exact, "ort", settings=ON).skips
    assert skip.reason == "onnxruntime has no kernel for it that quantizes its data at run time"
    lstm = small(
        """net (float[t,n,4] x, float[1,12,3] r) => (float[t,1,n,3] y) {
            y = LSTM<hidden_size = 3>(x, w, r)
        }""",
        {"w": normal(1, 12, 4)},
    )
    [skip] = oq.make_plan(lstm, "ort", settings=ON).skips
    assert skip.reason == "its recurrent weight 'r' is computed at run time"
    [skip] = oq.make_plan(lstm, "ort").skips
    assert "--set dynamic=on" in skip.reason


def test_what_needs_no_data_takes_some() -> None:
    exact = small("net (float[n,8] x) => (float[n,8] y) { y = MatMul(x, w) }", {"w": normal(8, 8)})
    data = {"x": normal(32, 8, seed=4)}
    for value in ("on", True):
        done = oq.quantize(exact, "ort", data, settings={"dynamic": value})
        assert done.report.refinement == () and done.report.verification is not None
        assert done.report.verification.deployed.outputs[0].sqnr_db > 30
        assert "no activation has a range that is measured" in str(done.report)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": "int4"}, "--set dynamic=on quantizes the data of layers, and weights=int4"),
        ({"attention": "int8"}, "--set attention=int8 needs calibrated activations"),
        ({"block": "64"}, "--set block=64 is for --set weights=int4 and weights=int8"),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, str], message: str) -> None:
    exact = small("net (float[n,8] x) => (float[n,8] y) { y = MatMul(x, w) }", {"w": normal(8, 8)})
    with pytest.raises(OptionError, match=message):
        oq.make_plan(exact, "ort", settings={**ON, **settings})
