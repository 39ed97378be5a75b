"""How errors arrive behind a layer: the formulas against errors pushed through onnxruntime."""

import numpy as np
import onnx
import pytest

from oq.calibration.reader_weights import error_gains
from oq.model.graph import Graph
from oq.numerics.calibrator import ErrorGains
from oq.numerics.values import INT8, Array
from oq.planning.spec import Own, Site
from tests.small import normal, reference, small

SPREAD, SHIFT = 0.3, 0.2

LAYERS: dict[str, tuple[str, dict[str, Array], tuple[int, ...]]] = {
    "conv": (
        "net (float[n,4,12,12] x) => (float[n,5,10,10] y) { y = Conv(x, w) }",
        {"w": normal(5, 4, 3, 3) + np.float32(0.1)},
        (40, 4, 12, 12),
    ),
    "depthwise": (
        "net (float[n,4,12,12] x) => (float[n,4,10,10] y) { y = Conv <group = 4> (x, w) }",
        {"w": normal(4, 1, 3, 3)},
        (60, 4, 12, 12),
    ),
    "gemm": (
        "net (float[n,16] x) => (float[n,6] y) { y = Gemm <transB = 1> (x, w) }",
        {"w": normal(6, 16)},
        (20000, 16),
    ),
    "gemm, not transposed": (
        "net (float[n,16] x) => (float[n,6] y) { y = Gemm(x, w) }",
        {"w": normal(16, 6) + np.float32(0.2)},
        (20000, 16),
    ),
    "matmul": (
        "net (float[n,5,16] x) => (float[n,5,6] y) { y = MatMul(x, w) }",
        {"w": normal(16, 6)},
        (4000, 5, 16),
    ),
    "add": ("net (float[n,16] x) => (float[n,16] y) { y = Add(x, x) }", {}, (20000, 16)),
}


def site(consumers: tuple[str, ...] = ()) -> Site:
    return Site("x", Own(INT8), "activation", "r", consumers)


def simulate(model: onnx.ModelProto, shape: tuple[int, ...]) -> ErrorGains:
    """Independent errors of known variance and mean, fed to the (linear) layer by themselves."""
    random = np.random.default_rng(0)
    errors = (random.standard_normal(shape) * SPREAD + SHIFT).astype(np.float32)
    out = reference(model, {"x": errors})["y"].astype(np.float64)
    channel = 1 if out.ndim == 4 else out.ndim - 1
    others = tuple(a for a in range(out.ndim) if a != channel)
    return ErrorGains(
        float(out.var(axis=others).mean()) / SPREAD**2,
        float((out.mean(axis=others) ** 2).mean()) / SHIFT**2,
    )


@pytest.mark.parametrize("name", [n for n in LAYERS if n != "add"])
def test_noise_and_bias_are_what_arrives(name: str) -> None:
    """Within 5 %, what this many errors tell."""
    text, constants, shape = LAYERS[name]
    model = small(text, constants)
    found, expected = error_gains(Graph(model).view(), site()), simulate(model, shape)
    assert found.noise == pytest.approx(expected.noise, rel=0.05)
    assert found.bias == pytest.approx(expected.bias, rel=0.05, abs=0.05)


def test_layers_without_constant_weights_pass_errors_on() -> None:
    for text in (
        "net (float[n,4] x) => (float[n,4] y) { y = Relu(x) }",
        "net (float[4,4] x, float[4,4] w) => (float[4,4] y) { y = MatMul(x, w) }",
        "net (float[n,4] x) => (float[n,4] y) { y = com.example.Mystery(x) }",
    ):
        assert error_gains(Graph(small(text)).view(), site()) == ErrorGains(1.0, 1.0)


def test_readers_add_up_and_only_those_of_the_site_count() -> None:
    a, b = normal(8, 3), normal(8, 5, seed=1)
    view = Graph(
        small(
            """net (float[n,8] x) => (float[n,3] y, float[n,5] z, float[n,8] r) {
                y = MatMul(x, a)
                z = MatMul(x, b)
                r = Relu(x)
            }""",
            {"a": a, "b": b},
        )
    ).view()
    names = {n.outputs[0]: n.name for n in view.consumers("x")}
    noise = {"y": (a.astype(float) ** 2).sum(0).mean(), "z": (b.astype(float) ** 2).sum(0).mean()}
    assert error_gains(view, site()).noise == pytest.approx(noise["y"] + noise["z"] + 1)
    assert error_gains(view, site((names["z"],))).noise == pytest.approx(noise["z"])
    assert error_gains(view, site((names["z"],))).bias == pytest.approx(
        (b.astype(float).sum(0) ** 2).mean()
    )


def test_nobody_reads_an_output() -> None:
    view = Graph(small("net (float[n,4] x) => (float[n,4] y) { y = Relu(x) }")).view()
    assert error_gains(view, Site("y", Own(INT8), "activation", "r")) == ErrorGains(1.0, 1.0)
