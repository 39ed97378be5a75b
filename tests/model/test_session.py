"""Running models: the two readings, exposed tensors, and every error in one line."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from oq.errors import DataError, ModelError, OptionError
from oq.model.optimizer_faults import LOST_OUTPUT
from oq.model.session import (
    SERIAL,
    Session,
    Settings,
    custom_ops,
    expose,
    infer,
    optimized_ops,
    run,
    silence_onnxruntime,
    use_custom_ops,
    version,
)
from oq.numerics.grid import fake_quantize, fit, quantize
from oq.numerics.values import INT8_NARROW, UINT8, Array, Range, TensorInfo
from tests.graphs import Net
from tests.small import normal, random_feeds, reference, small

CHAIN = """net (float[n,3] x) => (float[n,3] y) {
    a = Relu(x)
    b = Neg(a)
    y = Abs(b)
}"""
LITERAL, DEPLOYED = Settings(reading="literal"), Settings()


def quantized_matmul() -> tuple[onnx.ModelProto, Array]:
    """``fake_quantize(x) @ fake_quantize(w)`` as a Q/DQ graph, and what w is after rounding."""
    weight = normal(64, 8)
    grid = fit(Range(weight.min(axis=0) * 1.0, weight.max(axis=0) * 1.0), INT8_NARROW, 1)
    model = small(
        """net (float[n,64] x) => (float[n,8] y) {
            q = QuantizeLinear(x, xs, xz)
            d = DequantizeLinear(q, xs, xz)
            w = DequantizeLinear<axis = 1>(wq, ws, wz)
            y = MatMul(d, w)
        }""",
        {
            "xs": np.asarray(8 / 255, np.float32),
            "xz": np.asarray(128, np.uint8),
            "wq": quantize(weight, grid),
            "ws": grid.scale,
            "wz": grid.zero_point,
        },
    )
    return model, fake_quantize(weight, grid)


def test_batches_side_by_side_are_batches_one_after_the_other() -> None:
    session = Session(expose(small(CHAIN, {}), ["b", "y"]), SERIAL)
    batches = [{"x": normal(n, 3, seed=n)} for n in range(1, 9)]
    for batch, found in zip(batches, session.run_all(batches, ["y", "b"]), strict=True):
        for one, other in zip(found, session.run(batch, ["y", "b"]), strict=True):
            assert np.array_equal(one, other)


def test_the_literal_reading_is_the_specification_and_the_deployed_one_fuses() -> None:
    model, weight = quantized_matmul()
    x = normal(16, 64, seed=1)
    grid = fit(Range(np.asarray(-4.0), np.asarray(4.0)), UINT8)
    expected = fake_quantize(x, grid).astype(np.float64) @ weight.astype(np.float64)
    literal = run(model, {"x": x}, settings=LITERAL)["y"]
    assert np.abs(literal - expected).max() < 1e-5
    assert np.array_equal(literal, reference(model, {"x": x})["y"])
    deployed = run(model, {"x": x}, settings=DEPLOYED)["y"]
    assert np.array_equal(deployed, reference(model, {"x": x}, deployed=True)["y"])
    assert optimized_ops(model, LITERAL)["DequantizeLinear"] == 2
    fused = optimized_ops(model, DEPLOYED)
    assert fused["MatMul"] == 0 and any("Integer" in op or "QLinear" in op for op in fused)


def test_run_picks_outputs_by_name() -> None:
    model = small("net (float[n] x) => (float[n] a, float[n] b) { a = Neg(x)\n b = Abs(x) }")
    x = normal(4)
    assert list(run(model, {"x": x})) == ["a", "b"]
    only = run(model, {"x": x}, ["b"])
    assert list(only) == ["b"] and np.array_equal(only["b"], np.abs(x))


def test_a_model_runs_from_a_path_and_beyond_the_protobuf_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "net (float[n,32] x) => (float[n,32] y) { y = Add(x, w) }"
    model = small(text, {"w": normal(32, 32)})
    path = tmp_path / "net.onnx"
    onnx.save(model, path)
    x = normal(32, 32, seed=1)
    expected = x + normal(32, 32)
    assert np.array_equal(run(path, {"x": x})["y"], expected)
    monkeypatch.setattr("oq.model.files.PROTOBUF_LIMIT", 10)
    before = model.SerializeToString()
    assert np.array_equal(run(model, {"x": x})["y"], expected)
    assert model.SerializeToString() == before


def test_inputs_and_outputs_with_their_types() -> None:
    model = small(
        """net (float[n,3,4] x, int64[2] i, float16 s, bool[m] b)
            => (float[n,3,4] y, int64[2] j, float16 t, bool[m] c) {
            y = Relu(x)
            j = Neg(i)
            t = Neg(s)
            c = Not(b)
        }"""
    )
    session = Session(model, LITERAL)
    assert session.inputs == (
        TensorInfo("x", "float32", ("n", 3, 4)),
        TensorInfo("i", "int64", (2,)),
        TensorInfo("s", "float16", None),
        TensorInfo("b", "bool", ("m",)),
    )
    assert [o.name for o in session.outputs] == ["y", "j", "t", "c"]


# ---- exposing


def test_expose_makes_exactly_these_outputs_and_leaves_the_model() -> None:
    model = small(CHAIN)
    before = model.SerializeToString()
    exposed = expose(model, ["b", "a"])
    assert [o.name for o in exposed.graph.output] == ["b", "a"]
    x = normal(2, 3)
    found = run(exposed, {"x": x})
    assert list(found) == ["b", "a"]
    assert np.array_equal(found["a"], np.maximum(x, 0))
    assert np.array_equal(found["b"], -np.maximum(x, 0))
    assert model.SerializeToString() == before


def test_exposed_tensors_survive_fusion() -> None:
    """A tensor inside what onnxruntime would fuse is still computed, and is the same."""
    text = """net (float[n,3,8,8] x) => (float[n,4,6,6] y) {
        a = Conv(x, w)
        b = Relu(a)
        y = Neg(b)
    }"""
    model = small(text, {"w": normal(4, 3, 3, 3)})
    x = normal(2, 3, 8, 8)
    found = run(expose(model, ["a", "b"]), {"x": x})
    assert np.array_equal(np.maximum(found["a"], 0), found["b"])
    assert (found["a"] < 0).any()


def test_infer_gives_types_that_only_onnxruntime_knows() -> None:
    model = small(
        """net (float[n,8] x) => (float[n,8] y) {
            a = com.microsoft.Gelu(x)
            y = Neg(a)
        }"""
    )
    model.opset_import.add(domain="com.microsoft", version=1)
    assert not onnx.shape_inference.infer_shapes(model).graph.value_info
    assert infer(model, ["a"]) == {"a": TensorInfo("a", "float32", ("n", 8))}


# ---- errors


def test_a_provider_that_is_not_built_in() -> None:
    with pytest.raises(OptionError, match=r"provider 'warp' is not in this onnxruntime; .*cpu"):
        Session(small(CHAIN), Settings(provider="warp"))


def test_a_model_that_onnxruntime_cannot_load(tmp_path: Path) -> None:
    model = small("net (float[n] x) => (float[n] y) { y = com.example.Mystery(x) }")
    with pytest.raises(ModelError, match=r"cannot load the model: .*Mystery") as caught:
        Session(model)
    assert "\n" not in str(caught.value)
    (tmp_path / "bad.onnx").write_bytes(b"\x99" * 50)
    with pytest.raises(ModelError, match="onnxruntime cannot load the model"):
        Session(tmp_path / "bad.onnx")


def test_a_batch_that_fails() -> None:
    session = Session(small(CHAIN))
    for feeds, said in (
        ({"x": normal(2, 5)}, r"a batch of x float32\[2, 5\]: "),
        ({"x": normal(2, 3).astype(np.float64)}, r"a batch of x float64\[2, 3\]: "),
    ):
        with pytest.raises(DataError, match=said) as caught:
            session.run(feeds)
        assert "\n" not in str(caught.value)
    assert session.run({"x": normal(2, 3)})[0].shape == (2, 3)  # and goes on


def test_quiet_sessions_give_the_same_values() -> None:
    x = normal(2, 3)
    plain = run(small(CHAIN), {"x": x})["y"]
    still = run(small(CHAIN), {"x": x}, settings=Settings(threads=1, spin=False))["y"]
    assert np.array_equal(plain, still)


def test_version_is_onnxruntimes() -> None:
    import onnxruntime

    assert version() == onnxruntime.__version__


def test_quietly_holds_onnxruntimes_log_back(capfd: pytest.CaptureFixture[str]) -> None:
    """The model has an initializer that nothing reads, which onnxruntime warns of by default."""
    model = small("net (float[n] x) => (float[n] y) { y = Relu(x) }", {"unused": np.ones(3)})
    content = model.SerializeToString()
    with silence_onnxruntime():
        ort.InferenceSession(content)
    assert capfd.readouterr().err == ""
    ort.InferenceSession(content)
    assert "unused" in capfd.readouterr().err


def test_libraries_in_use_are_told_to_other_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oq.model.session._custom_ops", [])
    (tmp_path / "ops.so").touch()
    use_custom_ops([tmp_path / "ops.so"])
    assert custom_ops() == ((tmp_path / "ops.so").resolve(),)


def test_what_a_residual_add_reads_can_be_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    """onnxruntime fuses the Add into the convolution, and misses the convolution's own output."""
    net = Net()
    first, second = (net.conv(net.input("x"), name, group=2) for name in "ab")
    model = net.model(net.node("Add", [first, second], "s"), "a")
    feeds = random_feeds(model)
    with pytest.raises(Exception, match=LOST_OUTPUT):
        ort.InferenceSession(model.SerializeToString(), enable_fallback=0)
    found = run(model, feeds)
    for name, values in reference(model, feeds).items():
        np.testing.assert_allclose(found[name], values, atol=1e-5)
    assert capfd.readouterr().out == ""


def test_weights_that_are_not_packed_give_the_same_products() -> None:
    model = small(
        "net (float[n,64] x) => (float[n,32] y) { y = MatMul(x, w) }", {"w": normal(64, 32)}
    )
    feeds = {"x": normal(5, 64, seed=1)}
    packed, plain = (
        Session(model, Settings("literal", packed=p)).run(feeds) for p in (True, False)
    )
    np.testing.assert_allclose(plain[0], packed[0], rtol=1e-5, atol=1e-5)
