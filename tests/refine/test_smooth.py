"""SmoothQuant: the float function stays, activations and weights share their outliers evenly."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest

import oq
from oq.comparison.deviation import sqnr_db
from oq.numerics.values import Array
from oq.refine.channel_statistics import channel_extremes
from oq.refine.smooth import smooth
from oq.refine.subject import Subject
from tests.graphs import Net
from tests.refine.nets import subject
from tests.small import reference

BUNDLED = Path(__file__).parents[2] / "models" / "bundled"
WIDTH = 8
SPREAD = np.asarray([40, 1, 1, 0.1, 5, 1, 0, 1], np.float32)


def tokens(count: int = 3, seed: int = 7) -> tuple[dict[str, Array], ...]:
    """(sample, token, channel) with uneven channels, one of them dead."""
    random = np.random.default_rng(seed)
    return tuple(
        {"x": (random.normal(size=(4, 6, WIDTH)) * SPREAD).astype(np.float32)} for _ in range(count)
    )


def linear(net: Net, data: str, output: str, width: int = WIDTH) -> str:
    """MatMul and Add, as exporters write a linear layer."""
    net.node("MatMul", [data, net.weight(f"w_{output}", WIDTH, width)], f"{output}_m")
    return net.node("Add", [f"{output}_m", net.weight(f"b_{output}", width)], output)


def norm(net: Net, data: str, output: str) -> str:
    names = [net.constant(f"g_{output}", SPREAD + 0.1), net.weight(f"o_{output}", WIDTH)]
    return net.node("LayerNormalization", [data, *names], output)


def start() -> tuple[Net, str]:
    net = Net()
    return net, net.input("x", ("n", 6, WIDTH))


def attention() -> onnx.ModelProto:
    """Three readers, one of them without a bias."""
    net, x = start()
    norm(net, x, "t")
    q, k = linear(net, "t", "q"), linear(net, "t", "k")
    v = net.node("MatMul", ["t", net.weight("w_v", WIDTH, WIDTH)], "v")
    net.constants["w_k"] *= 5
    net.node("Add", [net.node("Add", [q, k], "s"), v], "y")
    return net.model("y")


def moved() -> onnx.ModelProto:
    """Readers behind ops that keep the last axis, and one that only asks for the shape."""
    net, x = start()
    norm(net, x, "t")
    net.node("MatMul", ["t", net.weight("w_b", WIDTH, 5)], "b")
    net.node("Transpose", ["t"], "u", perm=[1, 0, 2])
    net.node("Reshape", ["u", net.constant("shape", [-1, WIDTH], np.int64)], "f")
    net.node("Cast", [net.node("Shape", ["t"], "sizes")], "z", to=onnx.TensorProto.FLOAT)
    net.gemm("f", "y", features=WIDTH)
    return net.model("y", "b", "z")


def root_mean_square() -> onnx.ModelProto:
    """RMSNorm as exporters write it: the factor is a Mul; then written out with an offset."""
    net, x = start()
    net.node("Mul", [x, net.constant("g", SPREAD + 0.1)], "t")
    linear(net, "t", "a")
    net.node("Mul", ["a", net.constant("h", SPREAD + 0.2)], "s")
    linear(net, net.node("Add", ["s", net.weight("o", WIDTH)], "u"), "y")
    return net.model("y")


def layers() -> onnx.ModelProto:
    """A layer, Relu, and two layers that read it; then one more, nothing between."""
    net, x = start()
    net.node("Relu", [linear(net, x, "a")], "t")
    net.constants["w_a"] *= SPREAD + 0.1
    net.node("Add", [linear(net, "t", "b"), linear(net, "t", "c")], "s")
    linear(net, linear(net, "s", "u"), "y")
    return net.model("y")


NETS: Mapping[str, tuple[Callable[[], onnx.ModelProto], dict[str, tuple[str, ...]]]] = {
    "attention": (attention, {"t": ("w_q", "w_k", "w_v")}),
    "moved": (moved, {"t": ("w_b", "w_y")}),
    "root_mean_square": (root_mean_square, {"t": ("w_a",), "u": ("w_y",)}),
    "layers": (layers, {"t": ("w_b", "w_c"), "u": ("w_y",)}),
}


def both(model: onnx.ModelProto, target: str = "trt") -> tuple[Subject, Subject]:
    before = subject(model, target, samples=tokens())
    return before, before.remade(smooth(before))


@pytest.mark.parametrize("target", ["ort", "trt", "dpu"])
@pytest.mark.parametrize("net", NETS)
def test_the_function_stays_on_any_data(net: str, target: str) -> None:
    before, after = both(NETS[net][0](), target)
    assert after.early
    for feeds in tokens(seed=99):
        wanted, found = (reference(s.model, feeds) for s in (before, after))
        for name, exact in wanted.items():
            assert np.abs(found[name] - exact).max() < 1e-5 * np.abs(exact).max()


@pytest.mark.parametrize("name", NETS)
def test_channels_and_the_weights_that_read_them_get_one_size(name: str) -> None:
    """With a = 1/2: max|X[j]| / s = max|W[j]| s = sqrt(max|X[j]| max|W[j]|), over all readers."""
    make, fans = NETS[name]
    before, after = both(make())
    for tensor, weights in fans.items():

        def sizes(s: Subject, tensor: str = tensor, weights: tuple[str, ...] = weights) -> Array:
            lo, hi = channel_extremes(s.model, {tensor: -1}, s.samples)[tensor]
            matrices = [
                s.constant(w).T if w == "w_y" and tensor == "t" else s.constant(w) for w in weights
            ]
            rows = [np.abs(w).max(axis=1) for w in matrices]
            return np.stack([np.maximum(-lo, hi), np.max(rows, axis=0)])

        plain, even = sizes(before), sizes(after)
        live = plain[0] > 0
        wanted = np.sqrt(plain[0] * plain[1])[live]
        np.testing.assert_allclose(even[0][live], wanted, rtol=1e-4)
        np.testing.assert_allclose(even[1][live], wanted, rtol=1e-4)
        assert plain[0].max() / np.median(plain[0]) > 2


def refused(change: Callable[[Net], str]) -> str:
    net, x = start()
    norm(net, x, "t")
    linear(net, "t", "q")
    found = smooth(subject(net.model("q", change(net)), "trt", samples=tokens()))
    assert not found.constants
    return found.note


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda net: net.node("Add", ["t", "q"], "y"), "'t' is also read by 'n_y'"),
        (lambda _: "t", "'t' is also read by a graph output"),
        (
            lambda net: net.node("MatMul", ["x", "w_q"], "y"),
            "constant 'w_q' has another reader",
        ),
        (
            lambda net: net.node("Mul", ["x", "g_t"], "y"),
            "constant 'g_t' has another reader",
        ),
        (
            lambda net: net.node("MatMul", [net.node("Transpose", ["t"], "u", perm=[0, 2, 1]),
                                            net.weight("w_y", 6, 3)], "y"),
            "'t' is also read by 'n_u'",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_scaled_alone_is_refused_with_the_reason(
    change: Callable[[Net], str], reason: str
) -> None:
    assert reason in refused(change)


def test_a_model_without_such_layers_runs_nothing() -> None:
    net = Net()
    net.conv(net.node("Relu", [net.conv(net.input("x"), "a")], "r"), "y")
    found = smooth(subject(net.model("y"), "trt"))
    assert (found.constants, found.note) == (
        {},
        "it needs a normalization, a linear layer or a factor that feeds layers alone",
    )


def spiked(by: float) -> onnx.ModelProto:
    """The bundled transformer, one channel behind each normalization ``by`` times as large, what
    reads it as much smaller: the same function."""
    model = onnx.load(str(BUNDLED / "transformer.onnx"))
    values = {t.name: onnx.numpy_helper.to_array(t).copy() for t in model.graph.initializer}
    for norm_node in (n for n in model.graph.node if n.op_type == "LayerNormalization"):
        readers = [n for n in model.graph.node if norm_node.output[0] in n.input]
        if all(n.op_type == "MatMul" for n in readers):
            for name in norm_node.input[1:]:
                values[name][5] *= by
            for reader in readers:
                values[reader.input[1]][5] /= by
    for tensor in model.graph.initializer:
        tensor.CopyFrom(onnx.numpy_helper.from_array(values[tensor.name], tensor.name))
    return model


@pytest.mark.parametrize(("target", "gain"), [("ort", 15), ("trt", 15), ("coreml", 10), ("dpu", 5)])
def test_an_outlier_channel_costs_nothing_any_more(target: str, gain: float) -> None:
    model, images = spiked(30), np.load(BUNDLED / "digits_eval.npz")["input"]
    exact = reference(model, {"input": images})["logits"].astype(np.float64)
    found = {}
    for steps in ("none", "smooth"):
        made = oq.quantize(
            model,
            target,
            str(BUNDLED / "digits_calib.npz"),
            samples=200,
            refine=steps,
            verify=False,
        ).model
        error = reference(made, {"input": images})["logits"] - exact
        found[steps] = sqnr_db(float((exact**2).sum()), float((error**2).sum()))
    assert found["smooth"] > found["none"] + gain


def test_it_is_tried_by_default_and_says_what_it_gained() -> None:
    report = oq.quantize(
        spiked(30), "ort", str(BUNDLED / "digits_calib.npz"), samples=200, verify=False
    ).report
    assert "smooth: kept, output SQNR" in str(report)
    assert next(o for o in report.refinement if o.step == "smooth").note == "6 tensors smoothed"


def test_an_exported_encoder_is_smoothed_at_every_normalization() -> None:
    """torch's own encoder layer, which transposes between its normalization and its projection."""
    torch = pytest.importorskip("torch")
    layer = torch.nn.TransformerEncoderLayer(
        WIDTH, 2, 16, batch_first=True, norm_first=True, activation="gelu"
    )
    encoder = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    for place, values in enumerate(encoder.parameters()):
        values.data += 0.01 * (place + 1)  # as trained: equal constants would be exported as one
    samples = {"src": np.concatenate([t["x"] for t in tokens(8)])}
    report = oq.quantize(
        encoder, "trt", samples, example_inputs=torch.zeros(2, 6, WIDTH), refine="smooth",
        mode="naive", verify=False,
    ).report  # fmt: skip
    assert report.refinement[0].note == "4 tensors smoothed"
