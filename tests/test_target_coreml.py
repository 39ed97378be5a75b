"""Golden plans of Core ML: zero-point-free grids, behind whole kernels, none on a graph output."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import oq
from oq.model.graph import Graph
from oq.planning import registry
from oq.planning.plan import plan
from tests import golden_images, golden_layers
from tests.golden import EXAMPLES, Golden, floats, kernels, sites
from tests.graphs import Net
from tests.small import normal, small

assert golden_images and golden_layers  # they fill EXAMPLES

ATTENTION = (
    "product of two activations (attention): int8 costs accuracy in the softmax and "
    "saves little time"
)


def golden(
    layers: str, activations: dict[str, str], found: set[str], left: dict[str, str] | None = None
) -> Golden:
    """Convolutions ``layers`` have weights w_* per output channel and a float bias."""
    weights = {f"w_{c} > {c}": "int8/0" for c in layers}
    return Golden(activations | weights, found, left or {})


GOLDEN = {
    # A graph output is the float tensor, so the last kernel has no grid behind it.
    "conv_relu": golden("c", {"x > c": "int8"}, {"c r"}),
    # Behind a ReLU or a ReLU6 nothing is negative: uint8, with zero point 0 all the same.
    "conv_clip": golden("cd", {"x > c": "int8", "r > *": "uint8"}, {"c r", "d"}),
    # Both operands of a residual Add have grids, and the Add is a kernel with its ReLU.
    "residual": golden(
        "cdf",
        {"x > c": "int8", "r > *": "uint8", "e > *": "uint8", "f > *": "int8"},
        {"c r", "d e", "f", "a o"},
    ),
    "residual_with_downsample": golden(
        "cdfg",
        {"x > c": "int8", "r > *": "uint8", "e > *": "uint8", "f > *": "int8", "g > *": "int8"},
        {"c r", "d e", "f", "g", "a o"},
    ),
    "concat": golden(
        "abc", {"x > a b": "int8", "a > *": "= k", "b > *": "= k", "k > *": "int8"},
        {"a", "b", "k", "c"},
    ),
    "depthwise": golden("cd", {"x > c": "int8", "r > *": "uint8"}, {"c r", "d"}),
    # Pooling and reshaping have one grid on both sides.
    "pooled_head": golden(
        "cg",
        {"x > c": "int8", "r > *": "uint8", "p > *": "= r", "f > *": "= p"},
        {"c r", "p", "f", "g"},
    ),
    "pooling_at_the_end": golden("c", {"x > c": "int8", "r > *": "uint8"}, {"c r", "p"}),
    "maxpool": golden(
        "cd", {"x > c": "int8", "r > *": "uint8", "m > *": "= r"}, {"c r", "m", "d"}
    ),
    "a_chain_of_moves": golden(
        "cg",
        {"x > c": "int8", "r > *": "uint8", "m > *": "= r", "f > *": "= m"},
        {"c r", "m", "f", "g"},
    ),
    "sigmoid": golden(
        "cd", {"x > c": "int8", "s > *": "uint8 0.00390625 0"}, {"c s", "d"}
    ),
    # SiLU is part of the kernel and may be negative.
    "silu": golden("cd", {"x > c": "int8", "m > *": "int8"}, {"c s m", "d"}),
    "shared_weight": Golden({"x > a b": "int8", "w > a b": "int8/0"}, {"a", "b"}, {}),
    "matmul_with_bias": Golden(
        {"x > m": "int8", "w > m": "int8/1", "b > *": "int8", "v > o": "int8/1"}, {"m b", "o"}, {}
    ),
    "attention": Golden(
        {
            **{"x > k q": "int8", "w > q": "int8/1", "v > k": "int8/1"},
            **{"q > *": "int8", "k > *": "int8"},
        },
        {"q", "k", "t"},
        {"a": ATTENTION, "s": "Core ML keeps softmax in float16", "o": ATTENTION},
    ),
    "layer_norm": Golden(
        {"l > m": "int8", "w > m": "int8/1"},
        {"m"},
        {"l": "Core ML keeps normalization in float16"},
    ),
    # The weight (in, out, ...) of a transposed convolution has its output channels at axis 1.
    "conv_transpose": golden(
        "c", {"x > c": "int8", "c > *": "int8", "w > t": "int8/1"}, {"c", "t"}
    ),
    "relu_read_by_two_layers": golden(
        "cde", {"x > c": "int8", "r > *": "uint8"}, {"c r", "d", "e"}
    ),
    "a_convolution_read_by_two_nodes": golden(
        "cd",
        {"x > c": "int8", "c > *": "int8", "r > d": "uint8"},
        {"c", "d"},
        {
            "r": "'c' is read by Exp, Relu, so Relu cannot be fused",
            "e": "target coreml does not support Exp in int8",
        },
    ),
    "add_of_a_constant": golden(
        "c",
        {"x > c": "int8", "s > *": "uint8 0.00390625 0"},
        {"c s"},
        {"a": "operand 'k' of 'n_a' is a constant"},
    ),
    "no_layer_is_near": Golden(
        {},
        set(),
        {
            "s": "a standalone activation stays in float16",
            "a": "operand 'k' of 'n_a' is a constant",
        },
    ),
    "nearest_resize": golden(
        "cd",
        {"x > c": "int8", "c > *": "int8", "u > d": "int8"},
        {"c", "d"},
        {"u": "Core ML has no quantized resize"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name: str) -> None:
    found = plan(Graph(EXAMPLES[name].build()).view(), registry.target("coreml"))
    assert sites(found) == dict(GOLDEN[name].sites)
    assert kernels(found) == GOLDEN[name].kernels
    assert floats(found) == dict(GOLDEN[name].floats)


@pytest.mark.parametrize(("act", "scale"), [("Sigmoid", 1 / 256), ("Tanh", 1 / 128)])
@pytest.mark.parametrize("bias", [True, False])
def test_an_activation_of_fixed_range_fuses_with_a_matrix_product(
    act: str, scale: float, bias: bool
) -> None:
    """As with a Gemm: both become Core ML's linear."""
    middle = "b = Add(m, k)" if bias else "b = Identity(m)"
    text = f"net (float[n,s,4] x) => (float[n,s,4] y) {{ m = MatMul(x, w) {middle} t = {act}(b) "
    constants = {"w": normal(4, 4), "v": normal(4, 4, seed=1)} | ({"k": normal(4)} if bias else {})
    model = small(text + "y = MatMul(t, v) }", constants)
    made = oq.quantize(model, "coreml", {"x": normal(16, 3, 4)}, refine="none", verify=False).model
    assert oq.check(made, "coreml") == ()
    scales = {t.name: numpy_helper.to_array(t) for t in made.graph.initializer}
    assert scales["t_scale"] == scale and not {"m_scale", "b_scale"} & scales.keys()


def dead_channel() -> onnx.ModelProto:
    net = Net()
    weight = np.random.default_rng(0).normal(size=(4, 4, 3, 3)).astype(np.float32)
    weight[1] *= 1e-9
    names = [net.input("x", (1, 4, 6, 6)), net.constant("w", weight)]
    net.node("Relu", [net.node("Conv", names, "c")], "r")
    return net.model(net.conv("r", "d"))


def test_scales_survive_float16_and_zero_points_are_zero() -> None:
    """A weight of 1e-9 would need a scale that float16 rounds by hundreds of percent."""
    data = np.random.default_rng(1).normal(size=(8, 4, 6, 6)).astype(np.float32)
    model = oq.quantize(dead_channel(), "coreml", data, verify=False).model
    held = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    scales = [v for k, v in held.items() if k.endswith("_scale")]
    assert len(scales) == 4
    for scale in scales:
        assert scale.dtype == np.float32
        assert np.array_equal(scale.astype(np.float16).astype(np.float32), scale)
        assert (scale >= 2.0**-14).all()
    assert all(not v.any() for k, v in held.items() if k.endswith("_zero_point"))
    assert held["r_zero_point"].dtype == np.uint8
    assert held["x_zero_point"].dtype == np.int8
