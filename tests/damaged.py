"""A float network with one layer that no int8 grid can hold, and nothing wrong with the others."""

import numpy as np
import onnx

from oq.numerics.values import Array
from tests.graphs import Net

X = np.random.default_rng(1).normal(size=(24, 4, 8, 8)).astype(np.float32)
DEAD = 3
"""A channel that is zero behind layer a, and that layer b reads with a huge weight."""


def damaged(size: float = 50.0, bias: float = 1.0) -> onnx.ModelProto:
    """Three convolutions a, b, c and a head; the weights of b span too wide a range.

    In float the huge weights meet zeros and do nothing; in int8 they leave the others few steps.
    ``bias`` is a factor on the biases behind b: with 0 nothing is left when the others round to 0.
    """
    net = Net()
    a = net.node("Relu", [net.conv(net.input("x"), "a")], "ra")
    b = net.node("Relu", [net.conv(a, "b")], "rb")
    c = net.node("Relu", [net.conv(b, "c")], "rc")
    pooled = net.node("Flatten", [net.node("GlobalAveragePool", [c], "p")], "f")
    net.gemm(pooled, "y")
    net.constants["b_a"][DEAD] = -100.0
    net.constants["w_b"][:, DEAD] = size
    for name in ("b_b", "b_c", "b_y"):
        net.constants[name] *= np.float32(bias)
    return net.model("y")


def values(model: onnx.ModelProto) -> dict[str, Array]:
    """The model's initializers."""
    return {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}


def sqnr(exact: Array, found: Array) -> float:
    """NumPy's own formula, in decibels."""
    x, d = exact.astype(np.float64), exact.astype(np.float64) - found
    return float(10 * np.log10((x**2).sum() / (d**2).sum()))
