"""Random graphs of the operators that exporters write, each legal and runnable.

A graph is grown node by node: an operator is drawn, then tensors that fit it among those there are.
Tensors are images (n, channels, height, width), sequences (n, tokens, features) or rows
(n, features); all weights are normal and scaled so that values keep their size.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from oq.numerics.values import Array

Shape = tuple[int, ...]
"""Without the samples' axis."""

SAMPLES = 4


@dataclass(slots=True)
class Growing:
    """A graph under construction: its tensors with their shapes, and what reads them."""

    random: np.random.Generator
    tensors: dict[str, Shape] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)

    def pick(self, rank: int, like: Shape | None = None) -> str | None:
        """A tensor of ``rank`` axes behind the samples, more likely one of the last ones."""
        fit = [t for t, s in self.tensors.items() if len(s) == rank and like in (None, s)]
        if not fit:
            return None
        return fit[-1 - min(int(self.random.exponential(2)), len(fit) - 1)]

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        name = f"k{len(self.constants)}"
        self.constants[name] = np.asarray(values, dtype)
        return name

    def weight(self, *shape: int, inputs: int = 1) -> str:
        return self.constant(self.random.normal(0, inputs**-0.5, shape))

    def add(self, op: str, inputs: list[str], *shapes: Shape, **attributes: Any) -> None:
        names = [f"t{len(self.tensors) + i}" for i in range(len(shapes))]
        self.nodes.append(helper.make_node(op, inputs, names, f"{op}_{names[0]}", **attributes))
        self.tensors.update(zip(names, shapes, strict=True))

    def flip(self, chance: float = 0.5) -> bool:
        return bool(self.random.random() < chance)

    def choose(self, *values: Any) -> Any:
        return values[self.random.integers(len(values))]


Grow = Callable[[Growing], None]
"""Adds a node, or nothing where no tensor fits."""


def conv(net: Growing) -> None:
    if (x := net.pick(3)) is None:
        return
    c, h, w = net.tensors[x]
    group = net.choose(1, 1, c)
    out, k, step = c * net.choose(1, 2) if group > 1 else net.choose(4, 6, 8), net.choose(1, 3), 1
    if h >= 6 and net.flip(0.3):
        step = 2
    inputs = [x, net.weight(out, c // group, k, k, inputs=c // group * k * k)]
    if net.flip(0.7):
        inputs.append(net.weight(out, inputs=9))
    sides = [(s + 2 * (k // 2) - k) // step + 1 for s in (h, w)]
    pads, steps = [k // 2] * 4, [step] * 2
    net.add("Conv", inputs, (out, *sides), group=group, pads=pads, strides=steps)


def conv_transpose(net: Growing) -> None:
    if (x := net.pick(3)) is None or net.tensors[x][1] > 8:
        return
    c, h, w = net.tensors[x]
    net.add(
        "ConvTranspose",
        [x, net.weight(c, 4, 2, 2, inputs=c)],
        (4, 2 * h, 2 * w),
        strides=[2, 2],
    )


def linear(net: Growing) -> None:
    rank = net.choose(1, 2)
    if (x := net.pick(rank)) is None:
        return
    *front, features = net.tensors[x]
    out = net.choose(4, 8, 12)
    if rank == 1 and net.flip():
        weight, turned = net.weight(out, features, inputs=features), 1
        net.add("Gemm", [x, weight, net.weight(out, inputs=9)], (out,), transB=turned)
    else:
        net.add("MatMul", [x, net.weight(features, out, inputs=features)], (*front, out))


def product(net: Growing) -> None:
    """Attention: one sequence times another, turned."""
    if (x := net.pick(2)) is None or (y := net.pick(2, net.tensors[x])) is None:
        return
    tokens, features = net.tensors[x]
    net.add("Transpose", [y], (features, tokens), perm=[0, 2, 1])
    net.add("MatMul", [x, list(net.tensors)[-1]], (tokens, tokens))
    scale = net.constant(features**-0.5)
    net.add("Mul", [list(net.tensors)[-1], scale], (tokens, tokens))


def unary(net: Growing) -> None:
    if (x := net.pick(net.choose(1, 2, 3, 3))) is None:
        return
    op = net.choose(
        *("Relu", "Relu", "Sigmoid", "Tanh", "LeakyRelu", "Elu", "HardSwish", "HardSigmoid"),
        *("Softplus", "Identity", "Erf", "Neg", "Abs", "Softmax"),
    )
    net.add(op, [x], net.tensors[x])


def clip(net: Growing) -> None:
    if (x := net.pick(3)) is not None:
        least = net.choose("", net.constant(0), net.constant(-1.0))
        net.add("Clip", [x, least, net.constant(net.choose(1.0, 6.0))], net.tensors[x])


def silu(net: Growing) -> None:
    if (x := net.pick(3)) is not None:
        net.add("Sigmoid", [x], net.tensors[x])
        net.add("Mul", [x, list(net.tensors)[-1]], net.tensors[x])


def pair(net: Growing) -> None:
    rank = net.choose(1, 2, 3, 3)
    if (x := net.pick(rank)) is None or (y := net.pick(rank, net.tensors[x])) is None:
        return
    net.add(net.choose("Add", "Add", "Mul", "Sub", "Max"), [x, y], net.tensors[x])


def with_constant(net: Growing) -> None:
    if (x := net.pick(3)) is None:
        return
    c = net.tensors[x][0]
    values = net.random.uniform(0.5, 1.5, net.choose((c, 1, 1), (1,), ()))
    inputs = [x, net.constant(values)]
    net.add(net.choose("Add", "Mul", "Div"), inputs, net.tensors[x])


def concat(net: Growing) -> None:
    if (x := net.pick(3)) is None:
        return
    c, h, w = net.tensors[x]
    other = [t for t, s in net.tensors.items() if len(s) == 3 and s[1:] == (h, w)]
    y = other[net.random.integers(len(other))]
    if c + net.tensors[y][0] <= 24:
        net.add("Concat", [x, y], (c + net.tensors[y][0], h, w), axis=1)


def pool(net: Growing) -> None:
    if (x := net.pick(3)) is None:
        return
    c, h, w = net.tensors[x]
    if min(h, w) < 4 or net.flip(0.2):
        op = net.choose("GlobalAveragePool", "GlobalMaxPool")
        net.add(op, [x], (c, 1, 1))
        return
    op, k = net.choose("MaxPool", "AveragePool"), 2
    net.add(op, [x], (c, h // 2, w // 2), kernel_shape=[k, k], strides=[2, 2])


def move(net: Growing) -> None:
    """Split, Slice, Pad, Transpose and back, Resize."""
    if (x := net.pick(3)) is None:
        return
    c, h, w = net.tensors[x]
    what = net.choose("Split", "Slice", "Pad", "Transpose", "Resize", "SpaceToDepth")
    if what == "Split" and c % 2 == 0:
        net.add("Split", [x], (c // 2, h, w), (c // 2, h, w), axis=1, num_outputs=2)
    elif what == "Slice" and c > 2:
        ends = [net.constant([v], np.int64) for v in (1, c, 1)]
        net.add("Slice", [x, *ends], (c - 1, h, w))
    elif what == "Pad":
        pads = net.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64)
        net.add("Pad", [x, pads, *net.choose([], [net.constant(0.5)])], (c, h + 2, w + 2))
    elif what == "Transpose":
        net.add("Transpose", [x], (c, w, h), perm=[0, 1, 3, 2])
    elif what == "Resize" and h <= 8:
        scales = net.constant([1, 1, 2, 2])
        mode = net.choose("nearest", "linear")
        net.add("Resize", [x, "", scales], (c, 2 * h, 2 * w), mode=mode)
    elif what == "SpaceToDepth" and h % 2 == w % 2 == 0 and c <= 6:
        net.add("SpaceToDepth", [x], (4 * c, h // 2, w // 2), blocksize=2)


def reshape(net: Growing) -> None:
    """Images to sequences or rows, sequences to rows."""
    rank = net.choose(2, 3, 3)
    if (x := net.pick(rank)) is None:
        return
    shape = net.tensors[x]
    size = int(np.prod(shape))
    if rank == 3 and net.flip():
        target = net.constant([0, shape[0], -1], np.int64)
        net.add("Reshape", [x, target], (shape[0], size // shape[0]))
    elif size <= 256:
        net.add("Flatten", [x], (size,))


def norm(net: Growing) -> None:
    if net.flip() and (x := net.pick(3)) is not None:
        c = net.tensors[x][0]
        gamma, var = (net.constant(net.random.uniform(0.5, 1.5, c)) for _ in range(2))
        rest = [net.weight(c), net.weight(c), var]
        net.add("BatchNormalization", [x, gamma, *rest], net.tensors[x])
    elif (x := net.pick(2)) is not None:
        d = net.tensors[x][-1]
        net.add("LayerNormalization", [x, net.constant(np.ones(d))], net.tensors[x], axis=-1)


def mean(net: Growing) -> None:
    if (x := net.pick(3)) is not None:
        c, *_ = net.tensors[x]
        net.add("ReduceMean", [x, net.constant([2, 3], np.int64)], (c,), keepdims=0)


GROWTH: tuple[tuple[Grow, int], ...] = (
    (conv, 6),
    (conv_transpose, 1),
    (linear, 4),
    (product, 1),
    (unary, 4),
    (clip, 1),
    (silu, 1),
    (pair, 4),
    (with_constant, 2),
    (concat, 2),
    (pool, 2),
    (move, 3),
    (reshape, 2),
    (norm, 2),
    (mean, 1),
)
"""How to grow, and how often."""


def grow(seed: int) -> onnx.ModelProto:
    """The graph of ``seed``: 3 to 16 nodes behind one or two inputs; every tensor that no node
    reads is an output."""
    random = np.random.default_rng(seed)
    net = Growing(random)
    kinds = [(3, 8, 8), (4, 8, 8), (6, 8), (10,)]
    inputs = {f"x{i}": kinds[random.integers(len(kinds))] for i in range(random.integers(1, 3))}
    net.tensors.update(inputs)
    how = np.array([weight for _, weight in GROWTH]) / sum(weight for _, weight in GROWTH)
    wanted = random.integers(3, 17)
    for _ in range(200):
        if len(net.nodes) >= wanted:
            break
        GROWTH[random.choice(len(GROWTH), p=how)][0](net)
    return _finish(net, inputs)


def _finish(net: Growing, inputs: Mapping[str, Shape]) -> onnx.ModelProto:
    read = {t for n in net.nodes for t in n.input}
    made = [t for n in net.nodes for t in n.output]
    outputs = [t for t in made if t not in read] or made[-1:]
    if made and net.flip(0.1):
        outputs += [t for t in made if t not in outputs][-1:]  # one in the middle as well
    values = [
        [helper.make_tensor_value_info(t, TensorProto.FLOAT, ("n", *net.tensors[t])) for t in names]
        for names in (inputs, outputs)
    ]
    used = [numpy_helper.from_array(v, n) for n, v in net.constants.items() if n in read]
    graph = helper.make_graph(net.nodes, "grown", values[0], values[1], used)
    opsets = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def feeds(model: onnx.ModelProto, seed: int) -> dict[str, Array]:
    """Normal values for :data:`SAMPLES` samples."""
    random = np.random.default_rng(seed)
    return {
        i.name: random.normal(
            size=(SAMPLES, *(d.dim_value for d in i.type.tensor_type.shape.dim[1:]))
        ).astype(np.float32)
        for i in model.graph.input
    }
