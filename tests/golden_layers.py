"""Golden plans of matrix products, activations, normalization, and of awkward neighbours."""

import numpy as np
import onnx

from oq.planning.islands import ALONE
from tests.golden import (
    FLOAT_STILL,
    SOFTMAX,
    Golden,
    example,
    golden,
    joins,
    window,
)
from tests.graphs import Net


@example(
    Golden(
        # The bias is added in the kernel; only the second layer asks for a grid between them.
        {"x > m": "uint8", "w > m": "int8/1", "b > *": "uint8", "v > o": "int8/1"},
        {"m b", "o"},
        {},
    ),
    Golden(
        {"x > m": "int8", "w > m": "int8/1", "b > o": "int8", "v > o": "int8/1"},
        {"m b", "o"},
        {},
    ),
)
def matmul_with_bias() -> onnx.ModelProto:
    """Weights (in, out) are scaled along axis 1."""
    net = Net()
    m = net.node("MatMul", [net.input("x", ("n", 4, 4)), net.weight("w", 4, 6)], "m")
    b = net.node("Add", [net.weight("k", 6), m], "b")
    return net.model(net.node("MatMul", [b, net.weight("v", 6, 3)], "o"))


@example(
    Golden(
        # A product writes float at no cost, unless somebody wants codes, be it three nodes on.
        {
            **{"x > a": "uint8", "w > a": "int8/1", "a > *": "uint8", "s > *": "= a"},
            **{"t > *": "= s", "v > b": "int8/1"},
        },
        {"a", "s", "t", "b"},
        {},
    ),
    Golden(
        {"x > a": "int8", "w > a": "int8/1", "t > b": "int8", "v > b": "int8/1"},
        {"a", "s", "t", "b"},
        {},
    ),
)
def moves_between_products() -> onnx.ModelProto:
    net = Net()
    net.constant("shape", [-1, 2, 3], np.int64)
    a = net.node("MatMul", [net.input("x", ("n", 4)), net.weight("w", 4, 6)], "a")
    t = net.node("Transpose", [net.node("Reshape", [a, "shape"], "s")], "t", perm=[0, 2, 1])
    return net.model(net.node("MatMul", [t, net.weight("v", 2, 5)], "b"))


@example(
    Golden({"x > m": "uint8", "w > m": "int8"}, {"m"}, {}),
    Golden({"x > m": "int8", "w > m": "int8"}, {"m"}, {}),
)
def matmul_with_a_vector() -> onnx.ModelProto:
    """One output has no channels to scale apart."""
    net = Net()
    return net.model(net.node("MatMul", [net.input("x", ("n", 4, 6)), net.weight("w", 6)], "m"))


@example(
    Golden(
        {"x > a b": "uint8", "w > a b": "int8/0", "a > *": "uint8", "b > *": "uint8"},
        {"a", "b"},
        {},
    ),
    Golden({"x > a b": "int8", "w > a b": "int8/0"}, {"a", "b"}, {}),
)
def shared_weight() -> onnx.ModelProto:
    net = Net()
    names = [net.input("x"), net.weight("w", 4, 4, 1, 1)]
    return net.model(net.node("Conv", names, "a"), net.node("Conv", names, "b", strides=[2, 2]))


@example(
    golden(
        "ort",
        [("x", "c"), ("s", "d")],
        {"x > c": "uint8", "c > *": "uint8", "s > *": "uint8 0.00390625 0", "d > *": "uint8"},
        {"c", "s", "d"},
    ),
    golden("trt", [("x", "c"), ("s", "d")], {"x > c": "int8", "s > d": "int8"}, {"c s", "d"}),
)
def sigmoid() -> onnx.ModelProto:
    net = Net()
    s = net.node("Sigmoid", [net.conv(net.input("x"), "c")], "s")
    return net.model(net.conv(s, "d"))


@example(
    golden(
        "ort",
        [("x", "c"), ("m", "d")],
        {
            **{"x > c": "uint8", "c > *": "uint8", "s > *": "uint8 0.00390625 0"},
            **{"m > *": "uint8", "d > *": "uint8"},
        },
        {"c", "s", "m", "d"},
    ),
    golden("trt", [("x", "c"), ("m", "d")], {"x > c": "int8", "m > d": "int8"}, {"c s m", "d"}),
)
def silu() -> onnx.ModelProto:
    net = Net()
    c = net.conv(net.input("x"), "c")
    m = net.node("Mul", [net.node("Sigmoid", [c], "s"), c], "m")
    return net.model(net.conv(m, "d"))


ATTENTION = (
    "product of two activations (attention): int8 costs accuracy in the softmax and "
    "saves little time"
)


@example(
    Golden(
        {"x > k q": "uint8", "w > q": "int8/1", "v > k": "int8/1"},
        {"q", "k", "t"},
        {"a": ATTENTION, "s": SOFTMAX, "o": ATTENTION},
    ),
    Golden(
        {"x > k q": "int8", "w > q": "int8/1", "v > k": "int8/1"},
        {"q", "k", "t"},
        {"a": ATTENTION, "s": "TensorRT keeps softmax in float", "o": ATTENTION},
    ),
)
def attention() -> onnx.ModelProto:
    """Projections in integers, both products and the softmax in float."""
    net = Net()
    x = net.input("x", ("n", 5, 4))
    q = net.node("MatMul", [x, net.weight("w", 4, 4)], "q")
    k = net.node("MatMul", [x, net.weight("v", 4, 4)], "k")
    scores = net.node("MatMul", [q, net.node("Transpose", [k], "t", perm=[0, 2, 1])], "a")
    return net.model(net.node("MatMul", [net.node("Softmax", [scores], "s"), k], "o"))


@example(
    Golden(
        {"l > m": "uint8", "w > m": "int8/1"},
        {"m"},
        {"l": "onnxruntime has no integer kernel for it"},
    ),
    Golden(
        {"l > m": "int8", "w > m": "int8/1"},
        {"m"},
        {
            "l": "an int8 input is only faster directly after a convolution, whose kernel can "
            "write it",
        },
    ),
)
def layer_norm() -> onnx.ModelProto:
    net = Net()
    names = [net.input("x", ("n", 5, 4)), net.weight("g", 4), net.weight("b", 4)]
    norm = net.node("LayerNormalization", names, "l")
    return net.model(net.node("MatMul", [norm, net.weight("w", 4, 4)], "m"))


@example(
    golden(
        "ort",
        [("x", "c")],
        {"x > c": "uint8", "c > *": "uint8"},
        {"c"},
        {"t": "onnxruntime has no integer kernel for it"},
    ),
    golden(
        "trt",
        [("x", "c")],
        {"x > c": "int8"},
        {"c"},
        {
            "t": "TensorRT releases disagree on its weight axis, so int8 is opt-in (--set "
            "conv_transpose=int8)"
        },
    ),
)
def conv_transpose() -> onnx.ModelProto:
    net = Net()
    c = net.conv(net.input("x"), "c")
    return net.model(net.node("ConvTranspose", [c, net.weight("w", 4, 4, 2, 2)], "t"))


@example(
    golden(
        "ort",
        [("x", "c"), ("r", "d"), ("r", "e")],
        {"x > c": "uint8", "r > *": "uint8", "d > *": "uint8", "e > *": "uint8"},
        {"c r", "d", "e"},
    ),
    golden(
        "trt",
        [("x", "c"), ("r", "d"), ("r", "e")],
        {"x > c": "int8", "r > d e": "int8"},
        {"c r", "d", "e"},
    ),
)
def relu_read_by_two_layers() -> onnx.ModelProto:
    net = Net()
    r = net.node("Relu", [net.conv(net.input("x"), "c")], "r")
    return net.model(net.conv(r, "d"), net.conv(r, "e"))


@example(
    golden(
        "ort",
        [("x", "c"), ("r", "d")],
        {"x > c": "uint8", "c > *": "uint8", "r > d": "uint8", "d > *": "uint8"},
        {"c", "d"},
        {
            "r": "'c' is read by Exp, Relu, so Relu cannot be fused",
            "e": "target ort does not support Exp in int8",
        },
    ),
    golden(
        "trt",
        [("x", "c"), ("r", "d")],
        {"x > c": "int8", "r > d": "int8"},
        {"c", "d"},
        {
            "r": "'c' is read by Exp, Relu, so Relu cannot be fused",
            "e": "target trt does not support Exp in int8",
        },
    ),
)
def a_convolution_read_by_two_nodes() -> onnx.ModelProto:
    """Its ReLU cannot be fused, so it stays in float between two integer kernels."""
    net = Net()
    c = net.conv(net.input("x"), "c")
    r = net.node("Relu", [c], "r")
    return net.model(net.conv(r, "d"), net.node("Exp", [c], "e"))


@example(
    golden(
        "ort",
        [("x", "c"), ("r", "d")],
        {"x > c": "uint8", "r > *": "uint8", "d > *": "uint8"},
        {"c r", "d"},
        {"e": "target ort does not support Exp in int8"},
    ),
    golden(
        "trt",
        [("x", "c"), ("r", "d")],
        {"x > c": "int8", "r > d": "int8"},
        {"c r", "d"},
        {"e": "target trt does not support Exp in int8"},
    ),
)
def relu_read_by_a_float_node_too() -> onnx.ModelProto:
    """ort: everybody reads behind the pair, or the kernel is float.  trt: only who wants to."""
    net = Net()
    r = net.node("Relu", [net.conv(net.input("x"), "c")], "r")
    return net.model(net.conv(r, "d"), net.node("Exp", [r], "e"))


LONE_ADD = "no convolution branch fuses it; a standalone Add runs in float"


@example(
    golden(
        "ort",
        [("x", "c")],
        {
            **{"x > c": "uint8", "c > *": "uint8", "s > *": "uint8 0.00390625 0"},
            **{"k > a": "uint8", "a > *": "uint8"},
        },
        {"c", "s", "a"},
    ),
    golden(
        "trt",
        [("x", "c")],
        {"x > c": "int8"},
        {"c s"},
        {"a": LONE_ADD},
    ),
)
def add_of_a_constant() -> onnx.ModelProto:
    """A constant operand of an integer kernel is in codes too (ort)."""
    net = Net()
    s = net.node("Sigmoid", [net.conv(net.input("x"), "c")], "s")
    return net.model(net.node("Add", [s, net.weight("k", 4, 1, 1)], "a"))


@example(
    Golden({}, set(), {"s": ALONE, "a": ALONE}),
    Golden({}, set(), {"s": "TensorRT runs standalone activations in float", "a": LONE_ADD}),
)
def no_layer_is_near() -> onnx.ModelProto:
    net = Net()
    s = net.node("Sigmoid", [net.input("x")], "s")
    return net.model(net.node("Add", [s, net.weight("k", 4, 1, 1)], "a"))


@example(Golden({}, set(), {"a": FLOAT_STILL}), Golden({}, set(), {"a": LONE_ADD}))
def add_of_what_is_float() -> onnx.ModelProto:
    """Nobody writes codes here, so an integer Add (ort) would only round its operands first."""
    net = Net()
    return net.model(net.node("Add", [net.input("x"), net.input("k")], "a"))


@example(
    golden(
        "ort",
        # Two windows in a row stay in float; the third layer's is 1 x 1, so it gathers nothing.
        [("e", "f")],
        {"e > f": "uint8", "f > *": "uint8"},
        {"f"},
        {
            **{"c": window("3 x 3", 3, 3), "r": joins("c")},
            **{"d": window("3 x 3", 1, 4), "e": joins("d")},
        },
    ),
    golden(
        "trt",
        [("x", "c"), ("r", "d"), ("e", "f")],
        {"x > c": "int8", "r > d": "int8", "e > f": "int8"},
        {"c r", "d e", "f"},
    ),
)
def first_layers_of_a_separable_net() -> onnx.ModelProto:
    """A colour image, a depthwise layer, a pointwise one."""
    net = Net()
    x = net.input("x", ("n", 3, 8, 8))
    names = [x, net.weight("w_c", 4, 3, 3, 3), net.weight("b_c", 4)]
    r = net.node("Relu", [net.node("Conv", names, "c", strides=[2, 2])], "r")
    e = net.node("Relu", [net.conv(r, "d", group=4)], "e")
    names = [e, net.weight("w_f", 8, 4, 1, 1), net.weight("b_f", 8)]
    return net.model(net.node("Conv", names, "f"))


@example(
    golden(
        "ort",
        [("x", "c")],
        {
            **{"x > c": "uint8", "r > *": "uint8", "p > *": "= r"},
            **{"w_d > d": "int8/0", "d > *": "uint8"},
        },
        {"c r", "p", "d"},
    ),
    golden(
        "trt",
        [("x", "c")],
        {"x > c": "int8", "p > d": "int8", "w_d > d": "int8/0"},
        {"c r", "p", "d"},
    ),
)
def first_layer_before_a_pool() -> onnx.ModelProto:
    """The pool would run on codes in channels-first order if the layer before it were float."""
    net = Net()
    names = [net.input("x", ("n", 3, 8, 8)), net.weight("w_c", 4, 3, 3, 3), net.weight("b_c", 4)]
    r = net.node("Relu", [net.node("Conv", names, "c")], "r")
    p = net.node("MaxPool", [r], "p", kernel_shape=[2, 2])
    return net.model(net.node("Conv", [p, net.weight("w_d", 4, 4, 1, 1)], "d"))


@example(
    golden(
        "ort",
        [("x", "c"), ("u", "d")],
        {"x > c": "uint8", "c > *": "uint8", "u > *": "= c", "d > *": "uint8"},
        {"c", "u", "d"},
    ),
    golden(
        "trt",
        [("x", "c"), ("u", "d")],
        # The convolution writes int8, the Resize moves codes: one grid on both sides.
        {"x > c": "int8", "c > u": "int8", "u > d": "= c"},
        {"c", "u", "d"},
    ),
)
def nearest_resize() -> onnx.ModelProto:
    net = Net()
    net.constant("scales", [1, 1, 2, 2])
    u = net.node("Resize", [net.conv(net.input("x"), "c"), "", "scales"], "u")
    return net.model(net.conv(u, "d"))
