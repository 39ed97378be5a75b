"""Where the error is made: known damage is found in the right tensor, in files of any making."""

import math
from typing import Any

import numpy as np
import onnx
import pytest

import oq
from oq.comparison.layers import LayerError, Remembered, compare_layers
from oq.comparison.shared_tensors import run_both, shared_tensors
from oq.errors import DataError
from oq.model.graph import Graph
from oq.numerics.values import Array, Batch
from tests.damaged import X, damaged, sqnr
from tests.graphs import Net
from tests.small import normal, reference, small

BATCHES = [Batch({"x": X[i : i + 5]}) for i in range(0, len(X), 5)]


def look(exact: onnx.ModelProto, rounded: onnx.ModelProto) -> dict[str, LayerError]:
    return {r.tensor: r for r in compare_layers(exact, rounded, lambda: BATCHES)}


def exposed(model: onnx.ModelProto, *tensors: str) -> dict[str, Array]:
    """Values of intermediate tensors, from onnxruntime without oq between."""
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    del whole.graph.output[:]
    whole.graph.output.extend(onnx.ValueInfoProto(name=t) for t in tensors)
    return reference(whole, {"x": X})


def changed(model: onnx.ModelProto, name: str, noise: float) -> onnx.ModelProto:
    """``model`` with normal noise on one initializer."""
    other = onnx.ModelProto()
    other.CopyFrom(model)
    for tensor in other.graph.initializer:
        if tensor.name == name:
            values = onnx.numpy_helper.to_array(tensor)
            noisy = values + np.random.default_rng(3).normal(0, noise, values.shape)
            tensor.CopyFrom(onnx.numpy_helper.from_array(noisy.astype(np.float32), name))
    return other


def test_all_of_the_error_belongs_to_the_layer_that_was_changed() -> None:
    model = damaged(0.1)
    found = look(model, changed(model, "w_b", 0.01))
    # before it nothing is wrong, behind it nothing is added
    for before in ("a", "ra"):
        assert found[before].sqnr_db == math.inf and found[before].share == 0.0
    assert found["b"].share == pytest.approx(100.0)
    assert found["b"].added_db == pytest.approx(found["b"].sqnr_db, abs=0.5)
    for behind in ("c", "rc", "y"):
        added = found[behind].added_db
        assert found[behind].sqnr_db < 60
        assert found[behind].share == 0.0 and added is not None and added > 90
    assert next(iter(found)) == "b", "the worst comes first"
    assert found["b"].node == "n_b"


@pytest.mark.parametrize("target", ["ort", "trt"])
def test_the_damaged_layer_has_the_largest_share(target: str) -> None:
    made = oq.quantize(damaged(), target, X, verify=False, refine="none").model
    found = look(damaged(), made)
    first = next(iter(found.values()))
    assert first.node in ("n_b", "n_rb") and first.share is not None and first.share > 80
    assert sum(r.share for r in found.values() if r.share is not None) == pytest.approx(100)


def test_numbers_are_numpys() -> None:
    model = damaged(2.0)
    made = oq.quantize(model, "ort", X, verify=False, refine="none").model
    found = look(model, made)
    exact, rounded = (exposed(m, "ra", "b", "y") for m in (model, made))
    for name in ("ra", "b", "y"):
        x, y = exact[name].astype(np.float64), rounded[name].astype(np.float64)
        assert found[name].sqnr_db == pytest.approx(sqnr(exact[name], rounded[name]), abs=1e-6)
        cosine = (x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum())
        assert found[name].cosine == pytest.approx(cosine)
        assert (found[name].lo, found[name].hi) == (x.min(), x.max())


def test_clipping_is_counted_on_the_float_models_values() -> None:
    model = damaged(0.1)
    narrow = oq.quantize(model, "trt", X * 0.25, verify=False, refine="none").model
    found = look(model, narrow)["x"]
    scale = next(
        onnx.numpy_helper.to_array(t) for t in narrow.graph.initializer if t.name == "x_scale"
    )
    beyond = (127.5 * scale < X) | (-128.5 * scale > X)
    assert found.clipped == pytest.approx(100 * float(beyond.mean())) and beyond.any()
    assert look(model, narrow)["y"].clipped is None, "it has no grid"


def test_a_reader_that_takes_the_tensor_itself_is_not_blamed_for_the_copy() -> None:
    """TensorRT's placement rounds a tensor for the convolution and leaves the skip alone."""
    net = Net()
    r = net.node("Relu", [net.conv(net.input("x"), "c")], "r")
    net.node("Sin", [r], "skip")
    net.conv(r, "d")
    model = net.model("d", "skip")
    found = look(model, oq.quantize(model, "trt", X, verify=False, refine="none").model)
    assert found["r"].added_db is not None and found["r"].added_db < 60
    assert found["skip"].added_db is not None and found["skip"].added_db > 90
    assert found["skip"].share == 0.0 and found["skip"].sqnr_db < 60


def test_a_name_with_two_meanings_is_not_compared() -> None:
    """A channel-wise scale that the next layer takes back, as equalization leaves it."""
    net = Net()
    net.conv(net.node("Relu", [net.conv(net.input("x"), "a")], "ra"), "b")
    model = net.model("b")
    scales = np.asarray([0.01, 20.0, 0.5, 7.0], np.float32)
    other = onnx.ModelProto()
    other.CopyFrom(model)
    for tensor in other.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if tensor.name in ("w_a", "b_a"):
            values = values * scales.reshape(-1, *[1] * (values.ndim - 1))
        if tensor.name == "w_b":
            values = values / scales.reshape(1, -1, 1, 1)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), tensor.name))
    found = look(model, other)
    assert found["b"].sqnr_db > 80, "the function is the same"
    for name in ("a", "ra"):
        assert not found[name].alike and found[name].share is None
    assert found["b"].alike and found["b"].share == 0.0


def test_real_damage_is_compared_however_large() -> None:
    found = look(
        damaged(), oq.quantize(damaged(500.0), "trt", X, verify=False, refine="none").model
    )
    assert all(r.alike for r in found.values())


def test_several_passes_give_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small limit leaves one sample to blame layers by, and takes few tensors at a time."""
    model, one = damaged(2.0), [Batch({"x": X[:1]})]
    made = oq.quantize(model, "ort", X, verify=False, refine="none").model
    passes: list[int] = []
    held: list[int] = []

    def watched(*given: Any) -> Any:
        for batch, exact, found in run_both(*given):
            held.append(sum(v.nbytes for v in (*exact.values(), *found.values())))
            yield batch, exact, found

    monkeypatch.setattr("oq.comparison.error_shares.run_both", watched)
    whole = compare_layers(model, made, lambda: one)
    everything = max(held)
    held.clear()
    parts = compare_layers(model, made, lambda: one, limit=10_000, progress=passes.append)
    assert parts == whole
    assert passes.count(1) > 1
    assert max(held) < everything


def test_files_of_another_tool_are_read_by_structure() -> None:
    """Names of quantized copies are not looked at: what a DequantizeLinear gives is the copy."""
    net = Net()
    net.constant("s", 0.02)
    net.constant("z", 128, np.uint8)
    x = net.input("x")
    codes = net.node("QuantizeLinear", [x, "s", "z"], "some_name")
    copy = net.node("DequantizeLinear", [codes, "s", "z"], "other_name")
    model = net.model(net.conv(copy, "c"))
    plain = Net()
    exact = plain.model(plain.conv(plain.input("x"), "c"))
    shared = {t.name: t for t in shared_tensors(Graph(exact).view(), Graph(model).view())}
    assert set(shared) == {"x", "c"}
    assert shared["x"].copy == "other_name"
    assert shared["x"].ends == pytest.approx((-128.5 * 0.02, 127.5 * 0.02))
    assert (shared["c"].copy, shared["c"].ends) == ("c", None)


def test_no_samples() -> None:
    with pytest.raises(DataError, match="no samples to compare layers on"):
        compare_layers(damaged(), damaged(), lambda: [])


def test_the_first_samples_are_remembered() -> None:
    seen = Remembered(iter([Batch({"x": X[:12]})] * 5))
    assert len(list(seen)) == 5
    assert [len(b.feeds["x"]) for b in seen.kept] == [12, 12, 12]


@pytest.mark.parametrize("target", ["ort", "dpu"])
def test_a_scalar_inside_is_compared(target: str) -> None:
    model = small(
        """net (float[n,8] x, float gain) => (float[n,4] y) {
            a = MatMul(x, w) g = Relu(gain) r = Mul(a, g) y = MatMul(r, v)
        }""",
        {"w": normal(8, 8), "v": normal(8, 4)},
    )
    feeds = [{"x": normal(1, 8, seed=i), "gain": np.float32(1 + i / 8)} for i in range(8)]
    made = oq.quantize(model, target, feeds, verify=False, refine="none", mode="naive")
    found = oq.verify(model, made.model, feeds, per_layer=True, latency=False)
    assert found.layers is not None
