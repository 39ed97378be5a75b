"""One operator between DequantizeLinear and QuantizeLinear, of every kind that has an integer form,
written by hand."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from oq.numerics.values import Array
from tests.graphs import Net


@dataclass(slots=True)
class Pairs:
    """A graph of pairs under construction: ``dtype`` and ``zero`` are those of activations."""

    dtype: str = "uint8"
    zero: int = 121
    net: Net = field(default_factory=Net)

    def input(self, name: str, *shape: int | str, scale: float = 0.02) -> str:
        """A graph input and its pair."""
        return self.pair(self.net.input(name, shape), name, scale)

    def pair(self, data: str, name: str, scale: float = 0.05, zero: int | None = None) -> str:
        """``data`` rounded to a grid; returns the dequantized copy."""
        grid = self.grid(name, scale, self.zero if zero is None else zero, self.dtype)
        codes = self.net.node("QuantizeLinear", [data, *grid], f"{name}_quantized")
        return self.net.node("DequantizeLinear", [codes, *grid], f"{name}_dequantized")

    def grid(self, name: str, scale: Any, zero: Any, dtype: str) -> tuple[str, str]:
        """The constants of a grid."""
        zeros = np.broadcast_to(np.asarray(zero, dtype), np.shape(scale)).copy()
        made = self.net.constant(f"{name}_scale", scale)
        return made, self.net.constant(f"{name}_zero_point", zeros, dtype)

    def stored(
        self,
        name: str,
        shape: tuple[int, ...],
        *,
        dtype: str = "int8",
        axis: int | None = None,
        zero: int = 0,
    ) -> str:
        """Random codes in the file with one scale, or several along ``axis``, dequantized."""
        low, high = (-127, 127) if dtype == "int8" else (0, 255)
        codes = self.net.random.integers(low, high, shape).astype(dtype)
        self.net.constant(f"{name}_codes", codes, dtype)
        scale = 0.004 if axis is None else 0.002 + 0.001 * np.arange(shape[axis])
        grid = self.grid(name, scale, zero, dtype)
        attributes = {} if axis is None else {"axis": axis}
        inputs = [f"{name}_codes", *grid]
        return self.net.node("DequantizeLinear", inputs, name, **attributes)

    def bias(self, name: str, count: int, scale: Any) -> str:
        """Random int32 codes, dequantized."""
        codes = self.net.random.integers(-3000, 3000, count)
        self.net.constant(f"{name}_codes", codes, "int32")
        grid = self.grid(name, scale, 0, "int32")
        many = {"axis": 0} if np.ndim(scale) else {}
        return self.net.node("DequantizeLinear", [f"{name}_codes", *grid], name, **many)

    def model(self, *outputs: str, opset: int = 17) -> onnx.ModelProto:
        """The graph, which gives ``outputs``."""
        return self.net.model(*outputs, opset=opset)


@dataclass(frozen=True, slots=True)
class Case:
    """``model`` becomes the integer operators ``ops``, in order."""

    model: onnx.ModelProto
    ops: tuple[str, ...]


def conv(p: Pairs, size: tuple[int, ...], *, group: int = 1, axis: int | None = 0,
         weights: str = "int8", offset: int = 0, bias: bool = True) -> str:  # fmt: skip
    """A convolution of 8 channels and a window of 3 along every axis of ``size``."""
    data = p.input("x", 2, 8, *size)
    shape = (8, 8 // group, *(3 for _ in size))
    weight = p.stored("w", shape, dtype=weights, axis=axis, zero=offset)
    steps = np.float32(0.02) * p.net.constants["w_scale"]
    more = [p.bias("b", 8, steps)] if bias else []
    pads = [1] * (2 * len(size))
    return p.net.node("Conv", [data, weight, *more], "y_float", pads=pads, group=group)


def end(p: Pairs, data: str, ops: str, scale: float = 0.05, zero: int | None = None) -> Case:
    """``data`` behind a pair, as the graph's output."""
    return Case(p.model(p.pair(data, "y", scale, zero)), tuple(ops.split()))


def plain(op: str, *shapes: tuple[int, ...], expect: str, dtype: str = "uint8", scale: float = 0.03,
          zero: int | None = None, **attributes: Any) -> Case:  # fmt: skip
    """``op`` on as many activations as there are ``shapes``."""
    p = Pairs(dtype, 121 if dtype == "uint8" else 7)
    names = [p.input(n, *s, scale=0.01 + 0.01 * i)
             for i, (n, s) in enumerate(zip("xab", shapes, strict=False))]  # fmt: skip
    return end(p, p.net.node(op, names, "y_float", **attributes), expect, scale, zero)


def clamped(op: str, zero: int, expect: str, dtype: str = "uint8", **bounds: float) -> Case:
    """A convolution behind which ``op`` clips."""
    p = Pairs(dtype, 121 if dtype == "uint8" else 7)
    made = conv(p, (5, 5))
    limits = [p.net.constant(n, v) for n, v in bounds.items()]
    return end(p, p.net.node(op, [made, *limits], "y_clipped"), expect, 0.02, zero)


def float_bias(values: Array) -> Case:
    """A convolution whose bias is still float, and on no grid of the sums."""
    p = Pairs()
    data, weight = p.input("x", 1, 8, 5, 5), p.stored("w", (8, 8, 3, 3), axis=0)
    made = p.net.node("Conv", [data, weight, p.net.constant("b", values)], "y_float")
    return end(p, made, "QLinearConv")


def gemm(expect: str, *, closed: bool = True, axis: int | None = None, **attributes: Any) -> Case:
    """A Gemm of 6 samples, 10 inputs and 5 outputs."""
    p = Pairs()
    data = p.input("x", *((10, 6) if attributes.get("transA") else (6, 10)))
    weight = p.stored("w", (5, 10) if attributes.get("transB") else (10, 5), axis=axis)
    bias = p.bias("b", 5, np.float32(0.02) * p.net.constants["w_scale"])
    made = p.net.node("Gemm", [data, weight, bias], "y_float", **attributes)
    return end(p, made, expect) if closed else Case(p.model(made), tuple(expect.split()))


def matmul(expect: str, *, closed: bool, added: bool = False, axis: int | None = 1,
           dtype: str = "int8", zero: int = 0, activations: str = "uint8") -> Case:  # fmt: skip
    """A MatMul of three axes with a stored weight."""
    p = Pairs(activations, 121 if activations == "uint8" else 7)
    data = p.input("x", 2, 3, 10)
    weight = p.stored("w", (10, 5), dtype=dtype, axis=axis, zero=zero)
    made = p.net.node("MatMul", [data, weight], "y_float")
    if added:
        made = p.net.node("Add", [made, p.net.weight("b", 5)], "y_added")
    return end(p, made, expect) if closed else Case(p.model(made), tuple(expect.split()))


def with_constant(op: str, expect: str, dtype: str = "uint8") -> Case:
    """``op`` of an activation and stored codes."""
    p = Pairs(dtype, 121 if dtype == "uint8" else 7)
    data, other = p.input("x", 2, 3, 4), p.stored("w", (4,), dtype=dtype, zero=9)
    return end(p, p.net.node(op, [data, other], "y_float"), expect)


def one_grid() -> Case:
    """Two tensors of one grid, concatenated on it."""
    p = Pairs()
    names = [p.input("x", 2, 3, 4), p.input("a", 2, 5, 4)]
    return end(p, p.net.node("Concat", names, "y_float", axis=1), "Concat", 0.02)


def where() -> Case:
    """A choice between two activations of different grids."""
    p = Pairs()
    one, other = p.input("x", 2, 3, 4), p.input("a", 2, 3, 4, scale=0.03)
    chosen = p.net.constant("c", [[True], [False], [True]], bool)
    return end(p, p.net.node("Where", [chosen, one, other], "y_float"), "QLinearWhere")


def residual() -> Case:
    """Two convolutions and what they were given, added, behind a ReLU."""
    p = Pairs()
    skipped = p.input("x", 1, 8, 6, 6)
    data = skipped
    for i in range(2):
        weight = p.stored(f"w{i}", (8, 8, 3, 3), axis=0)
        made = p.net.node("Conv", [data, weight], f"c{i}", pads=[1, 1, 1, 1])
        made = p.net.node("Relu", [made], f"r{i}") if i == 0 else made
        data = p.pair(made, f"p{i}", 0.03, 0 if i == 0 else None)
    total = p.net.node("Relu", [p.net.node("Add", [data, skipped], "sum")], "y_float")
    return end(p, total, "QLinearConv QLinearConv QLinearAdd", 0.03, 0)


def on_convs(*, expect: str, size: tuple[int, ...] = (5, 5), zero: int = 121, dtype: str = "uint8",
             **how: Any) -> Case:  # fmt: skip
    """A convolution behind a pair."""
    p = Pairs(dtype, zero)
    return end(p, conv(p, size, **how), expect)


IMAGE = (2, 3, 6, 6)

CASES: Mapping[str, Callable[[], Case]] = {
    "conv": lambda: on_convs(expect="QLinearConv"),
    "conv 1-D": lambda: on_convs(expect="QLinearConv", size=(9,)),
    "conv 3-D": lambda: on_convs(expect="QLinearConv", size=(4, 4, 4)),
    "conv grouped": lambda: on_convs(expect="QLinearConv", group=2),
    "conv depthwise": lambda: on_convs(expect="QLinearConv", group=8),
    "conv of one scale": lambda: on_convs(expect="QLinearConv", axis=None),
    "conv without bias": lambda: on_convs(expect="QLinearConv", bias=False),
    "conv of int8": lambda: on_convs(expect="QLinearConv", dtype="int8", zero=-5),
    "conv of uint8 weights": lambda: on_convs(
        expect="QLinearConv", axis=None, weights="uint8", offset=120
    ),
    "conv with float bias": lambda: float_bias(np.linspace(-1, 1, 8).astype(np.float32)),
    "relu that saturation does": lambda: clamped("Relu", 0, "QLinearConv"),
    "relu on a symmetric grid": lambda: clamped("Relu", 0, "QLinearConv Clip", "int8"),
    "clip within the grid": lambda: clamped("Clip", 9, "QLinearConv Clip", low=-0.1, high=2.0),
    "clip at the grid's end": lambda: clamped("Clip", 0, "QLinearConv", low=0.0, high=6.0),
    "relu on one grid": lambda: plain("Relu", IMAGE, expect="Clip", scale=0.01, zero=121),
    "relu of int8 on one grid": lambda: plain(
        "Relu", IMAGE, expect="Clip", dtype="int8", scale=0.01
    ),
    "relu between grids": lambda: plain("Relu", IMAGE, expect="QLinearLeakyRelu", zero=0),
    "gemm": lambda: gemm("QGemm"),
    "gemm, transB, per channel": lambda: gemm("QGemm", transB=1, axis=0),
    "gemm, transA, alpha, beta": lambda: gemm("QGemm", transA=1, alpha=0.5, beta=2.0),
    "gemm to float": lambda: gemm("QGemm", closed=False, transB=1),
    "matmul": lambda: matmul("QLinearMatMul", closed=True),
    "matmul of one scale": lambda: matmul("QLinearMatMul", closed=True, axis=None),
    "matmul of uint8 weights": lambda: matmul(
        "QLinearMatMul", closed=True, axis=None, dtype="uint8", zero=120
    ),
    "matmul of int8": lambda: matmul("QLinearMatMul", closed=True, activations="int8"),
    "matmul to float": lambda: matmul("MatMulIntegerToFloat", closed=False),
    "matmul and row": lambda: matmul("MatMulIntegerToFloat", closed=False, added=True),
    "matmul and row, rounded": lambda: matmul("MatMulIntegerToFloat", closed=True, added=True),
    "matmul of activations": lambda: plain("MatMul", (2, 3, 4), (2, 4, 5), expect="QLinearMatMul"),
    "add": lambda: plain("Add", IMAGE, IMAGE, expect="QLinearAdd"),
    "add, broadcast, int8": lambda: plain(
        "Add", IMAGE, (3, 1, 1), expect="QLinearAdd", dtype="int8"
    ),
    "mul": lambda: plain("Mul", IMAGE, IMAGE, expect="QLinearMul"),
    "add of a constant": lambda: with_constant("Add", "QLinearAdd"),
    "add of an int8 constant": lambda: with_constant("Add", "QLinearAdd", "int8"),
    "mul by a constant": lambda: with_constant("Mul", "QLinearMul"),
    "where": where,
    "residual": residual,
    "concat": lambda: plain("Concat", IMAGE, IMAGE, IMAGE, expect="QLinearConcat", axis=1),
    "concat on one grid": one_grid,
    "average": lambda: plain(
        "AveragePool", IMAGE, expect="QLinearAveragePool", kernel_shape=[2, 2]
    ),
    "average, padded, int8": lambda: plain(
        "AveragePool", IMAGE, expect="QLinearAveragePool", dtype="int8",
        kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1,
    ),
    "average 1-D": lambda: plain(
        "AveragePool", (2, 3, 9), expect="QLinearAveragePool", kernel_shape=[2]
    ),
    "average 3-D": lambda: plain(
        "AveragePool", (2, 3, 4, 4, 4), expect="QLinearAveragePool", kernel_shape=[2, 2, 2]
    ),
    "global average": lambda: plain("GlobalAveragePool", IMAGE, expect="QLinearGlobalAveragePool"),
    "global average, int8": lambda: plain(
        "GlobalAveragePool", IMAGE, expect="QLinearGlobalAveragePool", dtype="int8"
    ),
    "leaky relu": lambda: plain("LeakyRelu", IMAGE, expect="QLinearLeakyRelu", alpha=0.1),
    "sigmoid": lambda: plain("Sigmoid", IMAGE, expect="QLinearSigmoid", scale=1 / 256, zero=0),
    "softmax": lambda: plain("Softmax", (2, 3, 7), expect="QLinearSoftmax", scale=1 / 256, zero=0),
    "softmax of an inner axis": lambda: plain(
        "Softmax", (2, 3, 7), expect="QLinearSoftmax", scale=1 / 256, zero=0, axis=1
    ),
}  # fmt: skip
"""Name -> one operator with an integer form."""


def stays(p: Pairs, made: str, scale: float = 0.05) -> onnx.ModelProto:
    """The model of ``made`` behind a pair."""
    return p.model(p.pair(made, "y", scale))


def transposed() -> onnx.ModelProto:
    p = Pairs()
    data, weight = p.input("x", 1, 8, 5, 5), p.stored("w", (8, 4, 3, 3), axis=1)
    return stays(p, p.net.node("ConvTranspose", [data, weight], "y_float"))


def read_twice() -> onnx.ModelProto:
    p = Pairs()
    made = conv(p, (5, 5))
    other = p.net.node("Tanh", [made], "z")
    return p.model(p.pair(made, "y"), other)


def given_out() -> onnx.ModelProto:
    p = Pairs()
    made = conv(p, (5, 5))
    return p.model(p.pair(made, "y"), made)


def of_16_bits() -> onnx.ModelProto:
    p = Pairs("uint16", 30000)
    made = p.net.node("Add", [p.input("x", 2, 3), p.input("a", 2, 3)], "y_float")
    return p.model(p.pair(made, "y"), opset=21)


def of_two_types() -> onnx.ModelProto:
    p = Pairs()
    one = p.input("x", 2, 3)
    p.dtype, p.zero = "int8", 3
    return stays(p, p.net.node("Add", [one, p.input("a", 2, 3)], "y_float"))


def unsigned_weight() -> onnx.ModelProto:
    p = Pairs("int8", 3)
    return stays(p, conv(p, (5, 5), axis=None, weights="uint8", offset=9))


def uneven_points() -> onnx.ModelProto:
    p = Pairs()
    made = conv(p, (5, 5))
    p.net.constants["w_zero_point"] = np.arange(8, dtype=np.int8)
    return stays(p, made)


def along_inputs() -> onnx.ModelProto:
    p = Pairs()
    data, weight = p.input("x", 1, 8, 5, 5), p.stored("w", (8, 8, 3, 3), axis=1)
    return stays(p, p.net.node("Conv", [data, weight], "y_float"))


def dilated() -> onnx.ModelProto:
    p = Pairs()
    made = p.net.node("AveragePool", [p.input("x", 2, 3, 9, 9)], "y_float",
                      kernel_shape=[2, 2], dilations=[2, 2])  # fmt: skip
    return p.model(p.pair(made, "y"), opset=19)


def computed_bias() -> onnx.ModelProto:
    p = Pairs()
    data, weight = p.input("x", 1, 8, 5, 5), p.stored("w", (8, 8, 3, 3), axis=0)
    bias = p.net.input("b", (8,))
    return stays(p, p.net.node("Conv", [data, weight, bias], "y_float"))


def huge_bias() -> onnx.ModelProto:
    return float_bias(np.full(8, 3e6, np.float32)).model


LEFT: Mapping[str, Callable[[], onnx.ModelProto]] = {
    "no integer form": transposed,
    "another reader": read_twice,
    "a graph output": given_out,
    "16 bits": of_16_bits,
    "operands of two types": of_two_types,
    "int8 data, uint8 weight": unsigned_weight,
    "zero points per channel": uneven_points,
    "scales along the inputs": along_inputs,
    "a dilated average": dilated,
    "a computed bias": computed_bias,
    "a bias beyond int32": huge_bias,
}
"""Why -> one operator between pairs that stays float for it."""
