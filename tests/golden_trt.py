"""Golden plans for TensorRT alone, with layers of real widths: each shows one rule of its profile.

Written by reasoning from NVIDIA's "Working with Quantized Types" and ModelOpt's placement, not
from what the code says.  A site is ``tensor > readers``; weights are per channel of axis 0 (Conv,
Gemm with transB) or 1 (MatMul).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from tests.golden import Golden
from tests.graphs import Build, Net

IMAGE = ("n", 32, 64, 64)
TOKENS = ("n", 64, 128)

LONE_ADD = "no convolution branch fuses it; a standalone Add runs in float"
LONE = "TensorRT runs standalone elementwise ops in float"
F8 = "float8_e4m3fn"
SOFTMAX = "TensorRT keeps softmax in float"


@dataclass(frozen=True, slots=True)
class Shown:
    """A graph, the options it is planned with, and the plan."""

    build: Build
    golden: Golden
    options: Mapping[str, str]
    naive: bool


TRT: dict[str, Shown] = {}


def shown(
    activations: dict[str, str],
    layers: Mapping[str, str],
    kernels: set[str],
    floats: dict[str, str] | None = None,
    naive: bool = False,
    **options: str,
) -> Callable[[Build], Build]:
    """``layers``: quantized layer -> how its weight ``w_layer`` is stored."""
    sites = {**activations, **{f"w_{name} > {name}": kind for name, kind in layers.items()}}

    def add(build: Build) -> Build:
        name = getattr(build, "__name__", "") + "".join(f" {k}={v}" for k, v in options.items())
        golden = Golden(sites, kernels, floats or {})
        TRT[name + (" naive" if naive else "")] = Shown(build, golden, options, naive)
        return build

    return add


def conv(net: Net, data: str, name: str, out: int = 32, into: int = 32, size: int = 3) -> str:
    weight = net.weight(f"w_{name}", out, into, size, size)
    return net.node("Conv", [data, weight], name, pads=[size // 2] * 4)


def matmul(net: Net, data: str, name: str, out: int, into: int) -> str:
    return net.node("MatMul", [data, net.weight(f"w_{name}", into, out)], name)


# ---- what a convolution's kernel takes in


@shown({"x > c": "int8", "r > d": "int8"}, {"c": "int8/0", "d": "int8/0"}, {"c b r", "d m"})
def bias_and_factor() -> onnx.ModelProto:
    """A constant added or multiplied belongs to the layer; no pair stands in between."""
    net = Net()
    b = net.node("Add", [conv(net, net.input("x", IMAGE), "c"), net.weight("k", 32, 1, 1)], "b")
    r = net.node("Relu", [b], "r")
    return net.model(net.node("Mul", [net.constant("f", 0.5), conv(net, r, "d")], "m"))


@shown(
    {"x > c": "int8", "m > d": "int8"},
    {"c": "int8/0", "d": "int8/0"},
    {"c s m", "d t o"},
    {"a": LONE_ADD},
)
def no_add_through_an_activation() -> onnx.ModelProto:
    """Conv -> SiLU -> Add: the Add cannot join through the activation (TensorRT issue 3861)."""
    net = Net()

    def silu(tensor: str, inner: str, outer: str) -> str:
        return net.node("Mul", [tensor, net.node("Sigmoid", [tensor], inner)], outer)

    m = silu(conv(net, net.input("x", IMAGE), "c"), "s", "m")
    return net.model(net.node("Add", [m, silu(conv(net, m, "d"), "t", "o")], "a"))


# ---- residual Add


@shown(
    {"x > c": "int8"}, {"c": "int8/0"}, {"c a"}, {"e": "target trt does not support Exp in int8"}
)
def skip_of_a_float_node() -> onnx.ModelProto:
    """Nothing quantizes ``e``, so neither does the Add: the kernel takes it in as it is."""
    net = Net()
    x = net.input("x", IMAGE)
    e = net.node("Exp", [net.input("y", IMAGE)], "e")
    return net.model(net.node("Add", [conv(net, x, "c"), e], "a"))


@shown({"x > a c": "int8"}, {"c": "int8/0"}, {"c a"})
def skip_from_the_graph_input() -> onnx.ModelProto:
    """The convolution's own pair on ``x`` is there already."""
    net = Net()
    x = net.input("x", IMAGE)
    return net.model(net.node("Add", [x, conv(net, x, "c")], "a"))


@shown(
    {"x > c": "int8", "t > l": "int8", "l > p": "int8", "g > q": "int8"},
    {"c": "int8/0", "p": "int8/1", "q": "int8/1"},
    {"c", "t", "l", "p g", "q", "u"},
    {"a": "'c' is read by Add, Transpose, so Add cannot be fused"},
)
def convnext() -> onnx.ModelProto:
    """The one convolution is the common ancestor of both branches, so it cannot take the Add in;
    its output is int8 for the normalization behind it."""
    net = Net()
    c = conv(net, net.input("x", IMAGE), "c")
    t = net.node("Transpose", [c], "t", perm=[0, 2, 3, 1])
    norm = net.node("LayerNormalization", [t, net.weight("g0", 32), net.weight("b0", 32)], "l")
    g = net.node("Gelu", [matmul(net, norm, "p", 128, 32)], "g")
    u = net.node("Transpose", [matmul(net, g, "q", 32, 128)], "u", perm=[0, 3, 1, 2])
    return net.model(net.node("Add", [c, u], "a"))


# ---- what stays in float beside a convolution


@shown(
    {"x > c": "int8", "r > p": "int8", "p > d": "int8", "e > f": "int8", "m > g": "int8"},
    {"c": "int8/0", "d": "int8/0", "f": "int8/0", "g": "int8/0"},
    {"c r", "p", "d e", "f s", "g"},
    {"m": LONE},
)
def squeeze_and_excite() -> onnx.ModelProto:
    """The gate is not a SiLU: its Mul stays in float between two integer kernels."""
    net = Net()
    r = net.node("Relu", [conv(net, net.input("x", IMAGE), "c")], "r")
    pooled = net.node("GlobalAveragePool", [r], "p")
    e = net.node("Relu", [conv(net, pooled, "d", 16, 32, 1)], "e")
    s = net.node("Sigmoid", [conv(net, e, "f", 32, 16, 1)], "s")
    return net.model(conv(net, net.node("Mul", [r, s], "m"), "g"))


@shown({"x > p": "int8"}, {"c": "int8/0"}, {"p", "c"})
def reflected_pad() -> onnx.ModelProto:
    """The pair stands in front of the Pad, none between it and its convolution."""
    net = Net()
    pads = net.constant("pads", [0, 0, 1, 1, 0, 0, 1, 1], np.int64)
    p = net.node("Pad", [net.input("x", IMAGE), pads], "p", mode="reflect")
    weight = net.weight("w_c", 32, 32, 3, 3)
    return net.model(net.node("Conv", [p, weight], "c"))


@shown(
    {"p > c": "int8"},
    {"c": "int8/0"},
    {"c"},
    {"p": "'n_p' pads with a value other than 0, which the range of its input may not contain"},
)
def pad_with_a_value() -> onnx.ModelProto:
    net = Net()
    names = [net.constant("pads", [0, 0, 1, 1, 0, 0, 1, 1], np.int64), net.constant("v", 1.5)]
    p = net.node("Pad", [net.input("x", IMAGE), *names], "p")
    return net.model(net.node("Conv", [p, net.weight("w_c", 32, 32, 3, 3)], "c"))


@shown(
    {"x > p": "int8", "q > d": "int8"},
    {"c": "int8/0", "d": "int8/0"},
    {"p", "q", "c", "d"},
    {"e": "target trt does not support Exp in int8"},
)
def pads_with_other_readers() -> onnx.ModelProto:
    """``q`` has a float reader, which must not see rounded values, so its pair stands behind."""
    net = Net()
    pads = net.constant("pads", [0, 0, 1, 1, 0, 0, 1, 1], np.int64)
    p = net.node("Pad", [net.input("x", IMAGE), pads], "p", mode="edge")
    q = net.node("Pad", [net.input("y", IMAGE), pads], "q", mode="edge")
    c = net.node("Conv", [p, net.weight("w_c", 32, 32, 3, 3)], "c")
    d = net.node("Conv", [q, net.weight("w_d", 32, 32, 3, 3)], "d")
    return net.model(c, d, net.node("Exp", [q], "e"))


@shown(
    {"x > c": "int8", "r > u": "int8", "u > d": "int8"},
    {"c": "int8/0", "d": "int8/0"},
    {"c r", "u", "d"},
)
def linear_resize() -> onnx.ModelProto:
    """Behind a convolution; what it makes is a mixture, with a grid of its own."""
    net = Net()
    net.constant("scales", [1, 1, 2, 2])
    r = net.node("Relu", [conv(net, net.input("x", IMAGE), "c")], "r")
    return net.model(conv(net, net.node("Resize", [r, "", "scales"], "u", mode="linear"), "d"))


@shown(
    {"x > c": "int8"},
    {"c": "int8/0"},
    {"c"},
    {"u": "it computes a graph output ('u'), which stays in float"},
)
def resize_at_the_end() -> onnx.ModelProto:
    net = Net()
    net.constant("scales", [1, 1, 2, 2])
    c = conv(net, net.input("x", IMAGE), "c")
    return net.model(net.node("Resize", [c, "", "scales"], "u", mode="linear"))


# ---- attention


def _attention() -> onnx.ModelProto:
    """softmax(q k / 8 + mask) v, with a mask that is fed."""
    net = Net()
    x = net.input("x", TOKENS)
    q, k, v = (matmul(net, x, name, 128, 128) for name in "qkv")
    scores = net.node("MatMul", [q, net.node("Transpose", [k], "t", perm=[0, 2, 1])], "a")
    scaled = net.node("Mul", [scores, net.constant("eighth", 0.125)], "m")
    masked = net.node("Add", [scaled, net.input("mask", (64, 64))], "b")
    mixed = net.node("MatMul", [net.node("Softmax", [masked], "s"), v], "z")
    return net.model(matmul(net, mixed, "o", 128, 128))


PROJECTIONS = dict.fromkeys("qkvo", "int8/1")
BMM = (
    "product of two activations (attention): int8 costs accuracy in the softmax and "
    "saves little time"
)


@shown(
    {"x > k q v": "int8", "z > o": "int8"},
    PROJECTIONS,
    {"q", "k", "v", "t", "o"},
    {"a": BMM, "m": LONE, "b": LONE_ADD, "s": SOFTMAX, "z": BMM},
)
def attention() -> onnx.ModelProto:
    return _attention()


@shown(
    {
        **{"x > k q v": "int8", "z > o": "int8", "q > a": "int8", "t > a": "int8"},
        **{"s > z": "int8", "v > z": "int8"},
    },
    PROJECTIONS,
    {"q", "k", "v", "t", "o", "a", "z"},
    {"m": LONE, "b": LONE_ADD, "s": SOFTMAX},
    attention="int8",
)
def attention_in_int8() -> onnx.ModelProto:
    """Both products on request; the mask and the Softmax never."""
    return _attention()


# ---- FP8


FEW = "{} input channels per group and {} outputs: float is faster where either is 16 or less"


@shown(
    {"r > d": F8, "e > a f": F8, "s > g": F8},
    {"d": F8 + "/0", "f": F8 + "/0", "g": F8 + "/0"},
    {"d e", "f a s", "g"},
    {
        "c": FEW.format(3, 32),
        "r": "its layer 'n_c' stays in float",
        "h": "a kernel of 49 positions: TensorRT's FP8 kernels take up to 32",
        "p": "TensorRT does not support it in FP8",
        "l": FEW.format(1, 32),
    },
    dtype="fp8",
)
def fp8() -> onnx.ModelProto:
    """Convolutions with more than 16 channels, the residual Add, a head; no depthwise layer, no
    7x7 kernel, no pooling."""
    net = Net()
    r = net.node("Relu", [conv(net, net.input("x", ("n", 3, 64, 64)), "c", 32, 3)], "r")
    e = net.node("Relu", [conv(net, r, "d")], "e")
    s = net.node("Relu", [net.node("Add", [conv(net, e, "f"), e], "a")], "s")
    h = conv(net, conv(net, s, "g"), "h", size=7)
    p = net.node("GlobalAveragePool", [h], "p")
    return net.model(net.node("Conv", [p, net.weight("w_l", 32, 1, 1, 1)], "l", group=32))


@shown(
    {"x > k q v": F8, "z > o": F8, "q > a": F8, "t > a": F8, "s > z": F8, "v > z": F8},
    dict.fromkeys("qkvo", F8 + "/1"),
    {"q", "k", "v", "t", "o", "a", "z"},
    {"m": LONE, "b": LONE_ADD, "s": SOFTMAX},
    dtype="fp8",
)
def attention_in_fp8() -> onnx.ModelProto:
    """As the fused kernel has it: head size 128, a factor and a mask before the Softmax."""
    return _attention()


@shown(
    {"x > q": F8, "y > k": F8},
    {"q": F8 + "/1", "k": F8 + "/1"},
    {"q", "k", "t"},
    {
        "a": "its head size is 8; FP8 attention takes 9 to 256",
        "s": SOFTMAX,
        "z": "its head size is 8; FP8 attention takes 9 to 256",
        "u": "'n_u' is not part of a MatMul-Softmax-MatMul pattern, which TensorRT's FP8 "
        "attention needs",
    },
    dtype="fp8",
    naive=True,
)
def attention_with_small_heads() -> onnx.ModelProto:
    net = Net()
    q = matmul(net, net.input("x", TOKENS), "q", 8, 128)
    k = matmul(net, net.input("y", TOKENS), "k", 8, 128)
    a = net.node("MatMul", [q, net.node("Transpose", [k], "t", perm=[0, 2, 1])], "a")
    z = net.node("MatMul", [net.node("Softmax", [a], "s"), k], "z")
    return net.model(net.node("MatMul", [z, "t"], "u"))


# ---- 4-bit weights


@shown(
    {},
    {"p": "int4/0 by 128", "g": "int4/1 by 128"},
    {"f", "p", "g"},
    {
        "c": "TensorRT has 4-bit weights for MatMul and Gemm only",
        "r": "TensorRT runs standalone activations in float",
        "q": "its 64x100 weight does not divide into blocks of 128 inputs",
    },
    weights="int4",
)
def four_bit_weights() -> onnx.ModelProto:
    """Blocks lie along the inputs: axis 0 of MatMul's (in, out), 1 of Gemm's under transB."""
    net = Net()
    c = conv(net, net.input("x", ("n", 32, 4, 4)), "c")
    net.constant("shape", [-1, 512], np.int64)
    p = matmul(net, net.node("Reshape", [c, "shape"], "f"), "p", 256, 512)
    r = net.node("Relu", [p], "r")
    g = net.node("Gemm", [r, net.weight("w_g", 64, 256)], "g", transB=1)
    return net.model(matmul(net, g, "q", 100, 64))


# ---- transposed convolutions


@shown(
    {"x > t": "int8", "r > c": "int8"},
    {"t": "int8", "c": "int8/0"},
    {"t r", "c"},
    conv_transpose="int8",
)
def conv_transpose() -> onnx.ModelProto:
    """One scale per weight, since releases disagree on the axis."""
    net = Net()
    t = net.node("ConvTranspose", [net.input("x", IMAGE), net.weight("w_t", 32, 32, 2, 2)], "t")
    return net.model(conv(net, net.node("Relu", [t], "r"), "c"))


# ---- what would be slower


def _thin() -> onnx.ModelProto:
    """Channels 3 -> 8 -> (depthwise) 8 -> 24 -> 12 -> (1x3) 16 -> 32 on an image of 128x128."""
    net = Net()
    c = conv(net, net.input("x", ("n", 3, 128, 128)), "c", 8, 3)
    d = net.node("Conv", [c, net.weight("w_d", 8, 1, 3, 3)], "d", group=8, pads=[1] * 4)
    e = conv(net, d, "e", 24, 8, 1)
    f = conv(net, e, "f", 12, 24, 1)
    g = net.node("Conv", [f, net.weight("w_g", 16, 12, 1, 3)], "g", pads=[0, 1, 0, 1])
    return net.model(conv(net, g, "h", 32, 16))


def _too_thin(into: int, out: int, kernel: str) -> str:
    return (
        f"{into} input channels per group, {out} outputs and kernel {kernel} are too thin for "
        "TensorRT's int8 kernels, so float is faster"
    )


STAYS = ("c", "d", "e", "f", "h")


@shown(
    {"x > c": "int8", "c > d": "int8", "d > e": "int8", "e > f": "int8", "g > h": "int8"},
    dict.fromkeys(STAYS, "int8/0"),
    set(STAYS),
    {"g": _too_thin(12, 16, "1x3")},
)
def thin_layers() -> onnx.ModelProto:
    """3 -> 8 is the first layer, 8 depthwise is 3x3, 8 -> 24 and 24 -> 12 have 16 on one side and a
    multiple of 8 on one; 12 -> 16 is not square."""
    return _thin()


@shown(
    {
        **{"x > c": "int8", "c > d": "int8", "d > e": "int8", "e > f": "int8"},
        **{"f > g": "int8", "g > h": "int8"},
    },
    dict.fromkeys("cdefgh", "int8/0"),
    set("cdefgh"),
    naive=True,
)
def all_of_them() -> onnx.ModelProto:
    return _thin()


@shown(
    {"x > a": "int8", "b > c": "int8"},
    {"a": "int8/1", "c": "int8/1"},
    {"a", "c"},
    {"b": "'n_b' multiplies by a 2048x8 matrix, too thin for int8 kernels"},
)
def thin_products() -> onnx.ModelProto:
    """``c`` is as thin, and too small for its precision to matter."""
    net = Net()
    a = matmul(net, net.input("x", ("n", 128, 2048)), "a", 2048, 2048)
    b = matmul(net, a, "b", 8, 2048)
    return net.model(matmul(net, b, "c", 16, 8))


@shown(
    {"b > c": "int8"},
    {"c": "int8/1"},
    {"c"},
    {
        "b": "'n_b' is a matrix-vector product (output 1x1024): it is memory-bound, so float is "
        "as fast"
    },
)
def product_with_a_vector() -> onnx.ModelProto:
    """A head for one sample; a batch of unknown size is not taken for one."""
    net = Net()
    b = matmul(net, net.input("x", (1, 2048)), "b", 1024, 2048)
    return net.model(matmul(net, b, "c", 10, 1024))
