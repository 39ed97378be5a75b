"""Two small networks whose parts meet again: a U-Net with a gate, image patches with a token."""

import numpy as np
import onnx

from oq.numerics.values import Array
from tests.small import normal, small

UNET = """net (float[n,3,16,16] x) => (float[n,2,16,16] y) {
    a0 = Conv <pads = [1, 1, 1, 1]> (x, wa, ba)
    a = Relu(a0)
    p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (a)
    b0 = Conv <pads = [1, 1, 1, 1]> (p, wb, bb)
    b1 = Relu(b0)
    g0 = GlobalAveragePool(b1)
    g1 = Conv(g0, wg, bb)
    g = Sigmoid(g1)
    b = Mul(b1, g)
    u = ConvTranspose <kernel_shape = [2, 2], strides = [2, 2]> (b, wu, ba)
    c = Concat <axis = 1> (u, a)
    d0 = Conv <pads = [1, 1, 1, 1]> (c, wd, ba)
    d = Relu(d0)
    y = Conv(d, wy, by)
}"""

PATCHES = """net (float[n,3,16,16] x) => (float[n,5] y) {
    c = Conv <kernel_shape = [4, 4], strides = [4, 4]> (x, wc, bc)
    r = Reshape(c, flat)
    t = Transpose <perm = [0, 2, 1]> (r)
    batch = Shape <end = 1> (x)
    size = Concat <axis = 0> (batch, one, one)
    token = Expand(first, size)
    z = Concat <axis = 1> (token, t)
    q = MatMul(z, wq)
    k = MatMul(z, wk)
    kt = Transpose <perm = [0, 2, 1]> (k)
    s0 = MatMul(q, kt)
    s = Softmax(s0)
    v = MatMul(s, z)
    m = Add(z, v)
    h0 = MatMul(m, wh)
    h = Relu(h0)
    f = Gather <axis = 1> (h, zero)
    y = Gemm(f, wy, by)
}"""


def weight(*shape: int, seed: int) -> Array:
    """Normal values, small enough that sums of products stay near 1."""
    return np.asarray(normal(*shape, seed=seed) / np.sqrt(np.prod(shape[1:])), np.float32)


def unet() -> onnx.ModelProto:
    """Two resolutions, joined by a Concat; a gate by the mean of its image (one pixel)."""
    shapes = {"wa": (8, 3, 3, 3), "wb": (16, 8, 3, 3), "wg": (16, 16, 1, 1), "wu": (16, 8, 2, 2),
              "wd": (8, 16, 3, 3), "wy": (2, 8, 1, 1)}  # fmt: skip
    held = {name: weight(*shape, seed=i) for i, (name, shape) in enumerate(shapes.items())}
    biases = {"ba": normal(8, seed=9), "bb": normal(16, seed=10), "by": normal(2, seed=11)}
    return small(UNET, held | biases)


def patches() -> onnx.ModelProto:
    """The patches of an image behind a token that is as often there as there are images, attention
    between them, and a layer on the token."""
    shapes = {"wc": (16, 3, 4, 4), "wq": (16, 16), "wk": (16, 16), "wh": (16, 16), "wy": (16, 5)}
    held = {name: weight(*shape, seed=i) for i, (name, shape) in enumerate(shapes.items())}
    # fmt: off
    rest = {"bc": normal(16, seed=9), "by": normal(5, seed=10), "first": normal(1, 1, 16, seed=11),
            "flat": np.asarray([0, 16, 16]), "one": np.asarray([1]), "zero": np.asarray(0)}
    # fmt: on
    return small(PATCHES, held | rest)
