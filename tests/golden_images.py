"""Golden plans of convolutions, residual blocks, pooling and what moves values between them.

``ort``: a kernel runs in integers when all its data inputs come from Q/DQ and its output goes into
one Q, so every kernel's output has a grid for everybody (``*``).  ``trt``: a pair stands on the
inputs of weighted layers only, for the readers named, and on the skip branch of a residual Add.
"""

import numpy as np
import onnx

from tests.golden import SOFTMAX, Golden, example, golden, joins, window
from tests.graphs import Net


@example(
    golden("ort", [("x", "c")], {"x > c": "uint8", "r > *": "uint8"}, {"c r"}),
    golden("trt", [("x", "c")], {"x > c": "int8"}, {"c r"}),
)
def conv_relu() -> onnx.ModelProto:
    """Ranges are those behind the activation; trt quantizes no graph output."""
    net = Net()
    net.node("Relu", [net.conv(net.input("x"), "c")], "r")
    return net.model("r")


@example(
    golden(
        "ort",
        [("x", "c"), ("r", "d")],
        {"x > c": "uint8", "r > *": "uint8", "d > *": "uint8"},
        {"c r", "d"},
    ),
    golden("trt", [("x", "c"), ("r", "d")], {"x > c": "int8", "r > d": "int8"}, {"c r", "d"}),
)
def conv_clip() -> onnx.ModelProto:
    """ReLU6: the bounds are not data."""
    net = Net()
    bounds = [net.constant("low", 0.0), net.constant("high", 6.0)]
    relu = net.node("Clip", [net.conv(net.input("x"), "c"), *bounds], "r")
    return net.model(net.conv(relu, "d"))


def block(net: Net, downsample: bool, swapped: bool = False) -> str:
    """A residual block behind ``x -> c -> r``: main branch d, e, f; skip r or g; sum a, ReLU o."""
    r = net.node("Relu", [net.conv(net.input("x"), "c")], "r")
    main = net.conv(net.node("Relu", [net.conv(r, "d")], "e"), "f")
    ends = [main, net.conv(r, "g") if downsample else r]
    return net.node("Relu", [net.node("Add", ends[::-1] if swapped else ends, "a")], "o")


IDENTITY = [("x", "c"), ("r", "d"), ("e", "f")]
IDENTITY_ORT = golden(
    "ort",
    IDENTITY,
    {"x > c": "uint8", "r > *": "uint8", "e > *": "uint8", "f > *": "uint8", "o > *": "uint8"},
    {"c r", "d e", "f", "a o"},
)
IDENTITY_TRT = golden(
    "trt",
    IDENTITY,
    # One grid on r for the convolution and for the skip; none on f, a or o.
    {"x > c": "int8", "r > a d": "int8", "e > f": "int8"},
    {"c r", "d e", "f a o"},
)


@example(IDENTITY_ORT, IDENTITY_TRT)
def residual() -> onnx.ModelProto:
    net = Net()
    return net.model(block(net, downsample=False))


@example(IDENTITY_ORT, IDENTITY_TRT)
def residual_with_the_skip_first() -> onnx.ModelProto:
    net = Net()
    return net.model(block(net, downsample=False, swapped=True))


DOWN = [*IDENTITY, ("r", "g")]
DOWN_ORT = golden(
    "ort",
    DOWN,
    {
        **{"x > c": "uint8", "r > *": "uint8", "e > *": "uint8", "f > *": "uint8"},
        **{"g > *": "uint8", "o > *": "uint8"},
    },
    {"c r", "d e", "f", "g", "a o"},
)
DOWN_TRT = golden(
    "trt",
    DOWN,
    # The downsample's output is the skip; the longer branch takes the Add.
    {"x > c": "int8", "r > d g": "int8", "e > f": "int8", "g > a": "int8"},
    {"c r", "d e", "f a o", "g"},
)


@example(DOWN_ORT, DOWN_TRT)
def residual_with_downsample() -> onnx.ModelProto:
    net = Net()
    return net.model(block(net, downsample=True))


@example(DOWN_ORT, DOWN_TRT)
def residual_with_the_downsample_first() -> onnx.ModelProto:
    net = Net()
    return net.model(block(net, downsample=True, swapped=True))


@example(
    golden(
        "ort",
        [("x", "a"), ("x", "b")],
        {
            **{"x > a b": "uint8", "a > *": "uint8", "b > *": "uint8", "k > *": "uint8"},
            **{"w_c > c": "int8/0", "b_c > c": "k * w_c", "c > *": "uint8"},
        },
        {"a", "b", "k", "c"},
    ),
    golden(
        "trt",
        [("x", "a"), ("x", "b")],
        # Only the pair behind the Concat: TensorRT pulls it, one grid, into both branches.
        {"x > a b": "int8", "k > c": "int8", "w_c > c": "int8/0"},
        {"a", "b", "k", "c"},
    ),
)
def concat() -> onnx.ModelProto:
    net = Net()
    x = net.input("x")
    net.node("Concat", [net.conv(x, "a"), net.conv(x, "b")], "k", axis=1)
    net.node("Conv", ["k", net.weight("w_c", 4, 8, 1, 1), net.weight("b_c", 4)], "c")
    return net.model("c")


@example(
    golden(
        "ort",
        # A window over few channels costs more in int8, as long as its data is float anyway.
        [("r", "d")],
        {"r > d": "uint8", "d > *": "uint8"},
        {"d"},
        {"c": window("3 x 3", 1, 4), "r": joins("c")},
    ),
    golden("trt", [("x", "c"), ("r", "d")], {"x > c": "int8", "r > d": "int8"}, {"c r", "d"}),
)
def depthwise() -> onnx.ModelProto:
    """One scale per channel of a depthwise weight (4, 1, 3, 3), as of any other."""
    net = Net()
    relu = net.node("Relu", [net.conv(net.input("x"), "c", group=4)], "r")
    return net.model(net.conv(relu, "d"))


@example(
    golden(
        "ort",
        [("x", "c"), ("f", "g")],
        # The average has a grid of its own, Flatten has that of the average, the head is float.
        {"x > c": "uint8", "r > *": "uint8", "p > *": "uint8", "f > *": "= p"},
        {"c r", "p", "f", "g"},
    ),
    golden(
        "trt",
        [("x", "c"), ("f", "g")],
        {"x > c": "int8", "r > p": "int8", "f > g": "int8"},
        {"c r", "p", "f", "g"},
    ),
)
def pooled_head() -> onnx.ModelProto:
    net = Net()
    relu = net.node("Relu", [net.conv(net.input("x"), "c")], "r")
    flat = net.node("Flatten", [net.node("GlobalAveragePool", [relu], "p")], "f")
    return net.model(net.gemm(flat, "g"))


@example(
    golden(
        "ort",
        [("x", "c")],
        {"x > c": "uint8", "r > *": "uint8"},
        {"c r"},
        {"p": "slower in int8: it averages windows of 2 x 2"},
    ),
    golden(
        "trt",
        [("x", "c")],
        {"x > c": "int8"},
        {"c r"},
        {"p": "no quantized layer reads 'p', so int8 pooling would need a reformat"},
    ),
)
def pooling_at_the_end() -> onnx.ModelProto:
    """A window gathers value by value (ort); one that is the whole image does not."""
    net = Net()
    relu = net.node("Relu", [net.conv(net.input("x"), "c")], "r")
    return net.model(net.node("AveragePool", [relu], "p", kernel_shape=[2, 2]))


@example(
    golden(
        "ort",
        [("x", "c"), ("m", "d")],
        {"x > c": "uint8", "r > *": "uint8", "m > *": "= r", "d > *": "uint8"},
        {"c r", "m", "d"},
    ),
    # TensorRT moves the pair in front of d backwards over the MaxPool.
    golden("trt", [("x", "c"), ("m", "d")], {"x > c": "int8", "m > d": "int8"}, {"c r", "m", "d"}),
)
def maxpool() -> onnx.ModelProto:
    net = Net()
    relu = net.node("Relu", [net.conv(net.input("x"), "c")], "r")
    return net.model(net.conv(net.node("MaxPool", [relu], "m", kernel_shape=[2, 2]), "d"))


@example(
    golden(
        "ort",
        [("x", "c"), ("r", "e"), ("m", "d")],
        {
            **{"x > c": "uint8", "r > *": "uint8", "m > *": "= r"},
            **{"d > *": "uint8", "e > *": "uint8"},
        },
        {"c r", "m", "d", "e"},
    ),
    golden(
        "trt",
        [("x", "c"), ("r", "e"), ("m", "d")],
        {"x > c": "int8", "r > e": "int8", "m > d": "= r"},
        {"c r", "m", "d", "e"},
    ),
)
def maxpool_beside_a_convolution() -> onnx.ModelProto:
    """What only moves values lives on the grid of what it moves, where that has one."""
    net = Net()
    relu = net.node("Relu", [net.conv(net.input("x"), "c")], "r")
    pooled = net.conv(net.node("MaxPool", [relu], "m", kernel_shape=[2, 2]), "d")
    return net.model(pooled, net.conv(relu, "e"))


@example(
    golden(
        "ort",
        [("x", "c")],
        # One grid all the way from r to the head, so that both moves are of codes.
        {
            **{"x > c": "uint8", "r > *": "uint8", "m > *": "= r", "f > *": "= m"},
            **{"w_g > g": "int8/0", "b_g > g": "f * w_g"},
        },
        {"c r", "m", "f", "g"},
    ),
    golden(
        "trt",
        [("x", "c")],
        {"x > c": "int8", "f > g": "int8", "w_g > g": "int8/0"},
        {"c r", "m", "f", "g"},
    ),
)
def a_chain_of_moves() -> onnx.ModelProto:
    net = Net()
    relu = net.node("Relu", [net.conv(net.input("x"), "c")], "r")
    pooled = net.node("MaxPool", [relu], "m", kernel_shape=[2, 2], strides=[2, 2])
    return net.model(net.gemm(net.node("Flatten", [pooled], "f"), "g", features=64))


@example(
    golden(
        "ort",
        [("t", "c")],
        # Nothing before t computes, so the pair stands where the first kernel reads.
        {"t > c": "uint8", "c > *": "uint8"},
        {"s", "t", "c"},
    ),
    golden("trt", [("t", "c")], {"t > c": "int8"}, {"s", "t", "c"}),
)
def reshapes_before_a_convolution() -> onnx.ModelProto:
    net = Net()
    net.constant("shape", [-1, 8, 8, 4], np.int64)
    net.node("Reshape", [net.input("x", ("n", 256)), "shape"], "s")
    return net.model(net.conv(net.node("Transpose", ["s"], "t", perm=[0, 3, 1, 2]), "c"))


@example(
    Golden({}, {"t"}, {"s": SOFTMAX}),
    Golden({}, {"t"}, {"s": "TensorRT keeps softmax in float"}),
)
def moves_nobody_wants_in_integers() -> onnx.ModelProto:
    net = Net()
    t = net.node("Transpose", [net.input("x", ("n", 4))], "t", perm=[1, 0])
    return net.model(net.node("Softmax", [t], "s"))
