"""Embedding tables in int8 on ort: per column, as NumPy rounds them, and moved as codes."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import oq
from oq.model.session import optimized_ops
from oq.numerics.values import Array
from tests.small import reference, small

WORDS, WIDTH = 1200, 64


def table(seed: int = 0) -> Array:
    """Columns of sizes that differ by a factor of 30, with means."""
    random = np.random.default_rng(seed)
    sizes = 0.1 * 30 ** random.uniform(size=WIDTH)
    return (random.normal(0.3, 1, (WORDS, WIDTH)) * sizes).astype(np.float32)


def embedding(constants: dict[str, Array] | None = None, body: str = "") -> onnx.ModelProto:
    body = body or "e = Gather(words, ids) y = Relu(e)"
    text = f"net (int64[n,t] ids) => (float[n,t,{WIDTH}] y) {{ {body} }}"
    return small(text, {"words": table()} if constants is None else constants)


def quantized(model: onnx.ModelProto, **settings: str) -> onnx.ModelProto:
    data = {"ids": np.random.default_rng(5).integers(0, WORDS, (64, 7))}
    return oq.quantize(model, "ort", data, settings=settings, refine="none").model


def stored(model: onnx.ModelProto) -> dict[str, Array]:
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def reason(model: onnx.ModelProto, node: str = "Gather_e") -> str:
    plan = oq.make_plan(model, "ort", settings={"weights": "int4"})
    return next((s.reason for s in plan.skips if s.node == node), "")


IDS = np.random.default_rng(3).integers(-WORDS, WORDS, (2, 7))


@pytest.mark.parametrize("settings", [{}, {"weights": "int4"}, {"platform": "arm"}], ids=str)
def test_rows_are_what_numpy_rounds(settings: dict[str, str]) -> None:
    exact = embedding()
    made = quantized(exact, **settings)
    lo, hi = np.minimum(table().min(0), 0), np.maximum(table().max(0), 0)
    scale = ((hi.astype(np.float64) - lo) / 255).astype(np.float32)
    zero = np.rint(-lo.astype(np.float64) / scale)
    rounded = (np.clip(np.rint(table() / scale) + zero, 0, 255) - zero) * scale
    wanted = np.maximum(rounded[IDS], 0)
    found = reference(made, {"ids": IDS}, deployed=True)["y"]
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert optimized_ops(made) == {"Gather": 1, "DequantizeLinear": 1, "Relu": 1}
    assert not any(v.dtype == np.float32 and v.ndim == 2 for v in stored(made).values())
    assert made.ByteSize() < 0.3 * exact.ByteSize()
    judged = oq.judge(made, "ort", settings=settings)
    assert judged.findings == ()
    assert [f.op for f in judged.forecast.nodes if f.runs == "int8"] == ["Gather"]
    assert judged.forecast.float_kernels == 1


def test_tables_may_stay_in_float() -> None:
    made = quantized(embedding(), embeddings="float")
    assert [n.op_type for n in made.graph.node] == ["Gather", "Relu"]


def test_a_table_that_is_a_weight_too() -> None:
    """Rows of it in front, its transpose behind, both as integers; no float copy stays."""
    body = f"""
        e = Gather(words, ids)
        shape = Constant<value_ints = [-1, {WIDTH}]>()
        r = Reshape(e, shape)
        y = Gemm<transB = 1>(r, words)"""
    exact = small(f"net (int64[n,t] ids) => (float[m,{WORDS}] y) {{ {body} }}", {"words": table()})
    for settings in ({}, {"weights": "int8"}):
        made = quantized(exact, **settings)
        assert not any(v.dtype == np.float32 and v.size > 10**4 for v in stored(made).values())
        assert noise(exact, made) < 1e-3
        assert oq.check(made, "ort", settings=settings) == ()


def noise(exact: onnx.ModelProto, made: onnx.ModelProto) -> float:
    one, other = (reference(m, {"ids": IDS}, deployed=True)["y"] for m in (exact, made))
    return float(((one - other) ** 2).mean() / (one**2).mean())


def test_a_layer_that_reads_rows_in_integers() -> None:
    """Rows are dequantized and quantized once more, on the grid of the layer's data."""
    body = "e = Gather(words, ids) y = MatMul(e, w)"
    weight = np.random.default_rng(1).normal(size=(WIDTH, WIDTH)).astype(np.float32)
    exact = embedding({"words": table(), "w": weight}, body)
    made = quantized(exact)
    assert noise(exact, made) < 3e-3
    assert optimized_ops(made)["MatMulIntegerToFloat"] == 1
    assert oq.check(made, "ort") == ()


def outlier() -> Array:
    values = table()
    values[::20] *= 400
    return values


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (outlier(), "95 % of the rows of its table would keep less than 20 dB"),
        (table()[:1000], "its 1000x64 table is small"),
    ],
)
def test_tables_that_stay(values: Array, why: str) -> None:
    assert reason(embedding({"words": values})) == why


def test_a_table_that_another_node_reads() -> None:
    text = f"""net (int64[n,t] ids, float[{WORDS},{WIDTH}] x) => (float[n,t,{WIDTH}] e,
        float[{WORDS},{WIDTH}] z) {{ e = Gather(words, ids) z = Add(words, x) }}"""
    assert reason(small(text, {"words": table()})) == "'Add_z' reads its table 'words' in float"


def test_other_tools_dequantize_the_whole_table() -> None:
    text = f"""net (int64[n,t] ids) => (float[n,t,{WIDTH}] y) {{
        w = DequantizeLinear<axis = 1>(c, s, z) e = Gather(w, ids) y = Relu(e)
    }}"""
    constants: dict[str, Array] = {
        "c": np.ones((WORDS, WIDTH), np.uint8),
        "s": np.ones(WIDTH, np.float32),
        "z": np.zeros(WIDTH, np.uint8),
    }
    found = oq.judge(small(text, constants), "ort").forecast
    [gather] = [f for f in found.nodes if f.op == "Gather"]
    assert gather.runs == "float" and "dequantizes the whole table 'c'" in gather.reason
