"""Random operators, made to draw the same values in every run: for measuring, never for a file.

A generator goes on from run to run, so that two runs of one model differ, and so do a float model
and a quantized one on the same sample.  Seeds do not help where runs are parallel.  In what is
measured, each random node therefore reads a table instead: element i of its output is

    table[(stride i + offset) mod 65537]

with ``stride`` and ``offset`` from the node's name, which quantizing keeps.  Tables hold uniform
numbers u in [0, 1) by SplitMix64 (Steele et al. 2014, "Fast Splittable Pseudorandom Number
Generators"), normal ones (Box & Muller 1958) and ``-log(-log u)`` (Gumbel), whose largest sum with
log-probabilities is a draw from them.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from oq.model.bodies import bodies_of
from oq.model.functions import without_functions
from oq.model.ops import STANDARD
from oq.numerics.values import Array

LENGTH = 65537
"""Of a table; prime, so that every stride visits all of it."""

PREFIX = "oq_noise"
OLDEST, LIKE = 9, 15
"""First opsets with ConstantOfShape, and with CastLike."""


def random_nodes(model: onnx.ModelProto) -> tuple[str, ...]:
    """The names of the nodes of ``model`` that draw at random, in bodies and functions too."""
    graphs = (model.graph.node, *(f.node for f in model.functions))
    constants = {t.name: t for t in model.graph.initializer}
    return tuple(name_of(n) for nodes in graphs for n in _find(nodes, constants))


def name_of(node: onnx.NodeProto) -> str:
    """The name of ``node``, or the one that :class:`oq.model.graph.Graph` gives it."""
    return node.name or f"{node.op_type}_{node.output[0]}"


def freeze_noise(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of ``model`` whose random nodes draw the same in every run; ``model`` itself where
    there are none, or the opset is older than 9."""
    opset = next((o.version for o in model.opset_import if o.domain in STANDARD), 0)
    if opset < OLDEST or not random_nodes(model):
        return model
    frozen = without_functions(model)
    if frozen is model:
        frozen = onnx.ModelProto()
        frozen.CopyFrom(model)
    constants = {t.name: t for t in frozen.graph.initializer}
    known = {v.name: v for v in (*frozen.graph.value_info, *frozen.graph.input)}
    types = {n: v.type.tensor_type.elem_type for n, v in known.items()}
    types |= {t.name: t.data_type for t in frozen.graph.initializer}
    used: set[str] = set()
    _freeze(frozen.graph, _Frame(opset, types, constants, used))
    for name in sorted(used):
        frozen.graph.initializer.append(numpy_helper.from_array(TABLES[name](), name))
    return frozen


def uniform(count: int = LENGTH) -> Array:
    """``count`` float32 numbers in [0, 1): SplitMix64, of which the upper 24 bits."""
    with np.errstate(over="ignore"):
        z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(((z ^ (z >> np.uint64(31))) >> np.uint64(40)) / 2.0**24, np.float32)


def normal(count: int = LENGTH) -> Array:
    """``count`` float32 numbers, mean 0, variance 1."""
    first, second = uniform(2 * count).astype(np.float64).reshape(2, count)
    found = np.sqrt(-2 * np.log(1 - first)) * np.cos(2 * np.pi * second)
    return np.asarray(found, np.float32)


def gumbel(count: int = LENGTH) -> Array:
    """``count`` float32 numbers ``-log(-log u)``."""
    return np.asarray(-np.log(-np.log(uniform(count) + 2.0**-25)), np.float32)


TABLES: Mapping[str, Callable[[], Array]] = {
    f"{PREFIX}_uniform": uniform,
    f"{PREFIX}_normal": normal,
    f"{PREFIX}_gumbel": gumbel,
}


@dataclass(slots=True)
class _Frame:
    """What holds for all nodes: the opset, types and constants of tensors, tables in use."""

    opset: int
    types: Mapping[str, int]
    constants: Mapping[str, onnx.TensorProto]
    used: set[str]


@dataclass(slots=True)
class _Maker:
    """Writes the nodes that stand for one random node."""

    node: onnx.NodeProto
    frame: _Frame
    made: list[onnx.NodeProto] = field(default_factory=list)

    @property
    def given(self) -> dict[str, Any]:
        return {a.name: helper.get_attribute_value(a) for a in self.node.attribute}

    def number(self, name: str, default: float) -> float:
        return float(self.given.get(name, default))

    def add(self, op: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        out = output or f"{PREFIX}_{self.node.output[0]}_{len(self.made)}"
        self.made.append(helper.make_node(op, inputs, [out], f"{out}_node", **attributes))
        return out

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        proto = numpy_helper.from_array(np.asarray(values, dtype))
        return self.add("Constant", value=proto)

    def cast(self, value: str, like: str, output: str = "") -> str:
        """``value`` in the type asked for by ``dtype``, else in that of ``like``."""
        dtype = self.given.get("dtype")
        if dtype is None and like and self.frame.opset >= LIKE:
            return self.add("CastLike", value, like, output=output)
        to = dtype or self.frame.types.get(like) or onnx.TensorProto.FLOAT
        return self.add("Cast", value, to=to, output=output)

    def real(self, value: str) -> str:
        return self.add("Cast", value, to=onnx.TensorProto.FLOAT)

    def draw(self, table: str, count: str, shape: str) -> str:
        """``count`` values (an int64 of shape (1,)) of a table, reshaped to ``shape``."""
        self.frame.used.add(f"{PREFIX}_{table}")
        one = numpy_helper.from_array(np.ones(1, np.int64))
        found = self.add("NonZero", self.add("ConstantOfShape", count, value=one))
        index = self.add("Reshape", found, self.constant([-1], np.int64))
        stride, offset = _steps(self.node)
        far = self.add("Mul", index, self.constant(stride, np.int64))
        far = self.add("Add", far, self.constant(offset, np.int64))
        length = self.constant(LENGTH, np.int64)
        turns = self.add("Mul", self.add("Div", far, length), length)
        values = self.add("Gather", f"{PREFIX}_{table}", self.add("Sub", far, turns))
        return self.add("Reshape", values, shape)

    def draw_like(self, table: str, like: str) -> str:
        count = self.add("Reshape", self.add("Size", like), self.constant([1], np.int64))
        return self.draw(table, count, self.add("Shape", like))

    def affine(self, value: str, factor: float, term: float) -> str:
        return self.add("Add", self.add("Mul", value, self.constant(factor)), self.constant(term))


def _steps(node: onnx.NodeProto) -> tuple[int, int]:
    seed = zlib.crc32(name_of(node).encode())
    return 1 + seed % (LENGTH - 1), seed // LENGTH % LENGTH


def _fixed(values: Callable[[int], Array], factor: float, term: float, maker: _Maker) -> None:
    """A constant of the shape that the node names."""
    shape = [int(s) for s in maker.given["shape"]]
    stride, offset = _steps(maker.node)
    index = (stride * np.arange(int(np.prod(shape)), dtype=np.int64) + offset) % LENGTH
    found = values(LENGTH)[index].reshape(shape) * np.float32(factor) + np.float32(term)
    maker.cast(maker.constant(found), "", output=maker.node.output[0])


def _normal(maker: _Maker) -> None:
    _fixed(normal, maker.number("scale", 1), maker.number("mean", 0), maker)


def _uniform(maker: _Maker) -> None:
    low, high = maker.number("low", 0), maker.number("high", 1)
    _fixed(uniform, high - low, low, maker)


def _normal_like(maker: _Maker) -> None:
    (like,) = maker.node.input
    found = maker.draw_like("normal", like)
    found = maker.affine(found, maker.number("scale", 1), maker.number("mean", 0))
    maker.cast(found, like, output=maker.node.output[0])


def _uniform_like(maker: _Maker) -> None:
    (like,) = maker.node.input
    low, high = maker.number("low", 0), maker.number("high", 1)
    found = maker.affine(maker.draw_like("uniform", like), high - low, low)
    maker.cast(found, like, output=maker.node.output[0])


def _bernoulli(maker: _Maker) -> None:
    (chance,) = maker.node.input
    hit = maker.add("Less", maker.draw_like("uniform", chance), maker.real(chance))
    maker.cast(hit, chance, output=maker.node.output[0])


def _multinomial(maker: _Maker) -> None:
    """``argmax(log-probabilities + Gumbel noise)``, once per draw."""
    (scores,) = maker.node.input
    size = maker.add("Shape", scores)
    batch, classes = (maker.add("Gather", size, maker.constant([i], np.int64)) for i in (0, 1))
    draws = maker.constant([int(maker.number("sample_size", 1))], np.int64)
    wide = maker.add("Concat", batch, draws, classes, axis=0)
    count = maker.add("Mul", maker.add("Mul", batch, draws), classes)
    one = maker.constant([1], np.int64)
    rows = maker.add("Reshape", scores, maker.add("Concat", batch, one, classes, axis=0))
    noisy = maker.add("Add", maker.real(rows), maker.draw("gumbel", count, wide))
    found = maker.add("ArgMax", noisy, axis=2, keepdims=0)
    dtype = maker.given.get("dtype", onnx.TensorProto.INT32)
    maker.add("Cast", found, to=dtype, output=maker.node.output[0])


def _dropout(maker: _Maker) -> None:
    """In training: what is kept, times ``1 / (1 - ratio)``."""
    data, ratio, training = maker.node.input
    share = maker.real(ratio) if ratio else maker.constant(0.5)
    kept = maker.add("Not", maker.add("Less", maker.draw_like("uniform", data), share))
    factor = maker.add("Div", maker.constant(1.0), maker.add("Sub", maker.constant(1.0), share))
    larger = maker.add("Mul", data, maker.cast(factor, data))
    nothing = maker.add("Mul", data, maker.cast(maker.constant(0.0), data))
    dropped = maker.add("Where", kept, larger, nothing)
    maker.add("Where", training, dropped, data, output=maker.node.output[0])
    if len(maker.node.output) > 1 and maker.node.output[1]:
        always = maker.add("Not", training)
        maker.add("Or", kept, always, output=maker.node.output[1])


DRAWS: Mapping[str, Callable[[_Maker], None]] = {
    "Bernoulli": _bernoulli,
    "Dropout": _dropout,
    "Multinomial": _multinomial,
    "RandomNormal": _normal,
    "RandomNormalLike": _normal_like,
    "RandomUniform": _uniform,
    "RandomUniformLike": _uniform_like,
}


def _freeze(graph: onnx.GraphProto, frame: _Frame) -> None:
    nodes: list[onnx.NodeProto] = []
    constants = {**frame.constants, **{t.name: t for t in graph.initializer}}
    for node in graph.node:
        for _, body in bodies_of(node):
            _freeze(body, frame)
        if _draws(node, constants):
            maker = _Maker(node, frame)
            DRAWS[node.op_type](maker)
            nodes += maker.made
        else:
            nodes.append(node)
    held = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
    del graph.node[:]
    graph.node.extend(held)


def _find(
    nodes: Sequence[onnx.NodeProto], constants: Mapping[str, onnx.TensorProto]
) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        if _draws(node, constants):
            yield node
        for _, body in bodies_of(node):
            yield from _find(body.node, {**constants, **{t.name: t for t in body.initializer}})


def _draws(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> bool:
    """Whether ``node`` draws at random: a Dropout only in training."""
    if node.domain not in STANDARD or node.op_type not in DRAWS:
        return False
    if node.op_type in TRAINED:
        training = node.input[2] if len(node.input) > 2 else ""
        known = constants.get(training)
        return bool(training) and (known is None or bool(numpy_helper.to_array(known)))
    return True


TRAINED = frozenset({"Dropout"})
"""Ops that draw only in training, which their third input says."""
