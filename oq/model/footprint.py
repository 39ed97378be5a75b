"""The bytes that the tensors of a model take for a batch, at its real shapes.

Where the declared shapes say everything but the number of samples, they are multiplied.  Else the
model runs once on one sample with a Shape behind every tensor, which keeps none of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import onnx

from oq.errors import DataError, ModelError, OqError
from oq.model.bodies import decides_by_values, nodes_in, reads_of
from oq.model.cut import cut
from oq.model.proto_fields import inputs_of, read_type
from oq.model.session import Session, Settings, expose
from oq.numerics.values import STRING, Array, Batch, TensorInfo

MAX_MEMORY = 1000
"""MB that tensors may take at a time unless the user says otherwise."""

PROBES = 16
"""Runs for different shapes; beyond, bytes grow in proportion to those of the inputs."""

SINGLE = frozenset({"GroupQueryAttention"})
"""Ops that onnxruntime runs on one sample at a time where several tokens follow a cache
("batch_size must be 1 when sequence_length > 1 and past context is given")."""

RESHAPE, CONSTANT = "Reshape", "Constant"

Key = tuple[tuple[int, ...], ...]


@dataclass(slots=True)
class Footprint:
    """Of ``model``, with ``known`` types of its tensors beyond those that it declares, and of the
    tensors in bodies that are ``carried`` out over all turns (:mod:`oq.model.carry_out`)."""

    model: onnx.ModelProto
    known: Mapping[str, TensorInfo] = field(default_factory=dict)
    carried: tuple[str, ...] = ()
    _declared: dict[str, TensorInfo] | None = None
    _seen: dict[Key, Mapping[str, int]] = field(default_factory=dict)
    _last: tuple[object, Mapping[str, int]] | None = None
    _decides: bool | None = None
    _single: bool | None = None

    @property
    def decides(self) -> bool:
        """Whether one sample of a batch may decide what is computed of the others."""
        if self._decides is None:
            self._decides = decides_by_values(self.model.graph)
        return self._decides

    @property
    def single(self) -> bool:
        """Whether the model takes one sample at a time only, as far as :meth:`takes_one` knows."""
        return bool(self._single)

    def takes_one(self, batch: Batch) -> bool:
        """Whether the model takes one sample at a time only, though its inputs leave their number
        free: by an op of :data:`SINGLE`, or since a Reshape was exported with the number 1 in it:
        the first sample of ``batch``, given twice, fails or is computed otherwise than alone."""
        if self._single is None:
            ops = {n.op_type for n in nodes_in(self.model.graph)}
            self._single = not ops.isdisjoint(SINGLE) or (
                _writes_one(self.model.graph) and batch.divisible and self._differs_in_twos(batch)
            )
        return self._single

    def _differs_in_twos(self, batch: Batch) -> bool:
        try:
            session = Session(self.model, Settings("literal"))
        except ModelError:
            return False  # a model that only its target runs
        read = {i.name for i in session.inputs}
        one = {k: array for k, array in batch.part(0, 1).feeds.items() if k in read}
        two = {k: a if k in batch.alike else np.concatenate([a, a]) for k, a in one.items()}
        try:
            alone = session.run(one, session.arrays)
        except DataError:
            return False  # what is wrong is not the number of samples
        try:
            beside = session.run(two, session.arrays)
        except DataError:
            return True
        return not all(map(_is_twice, alone, beside))

    def of(self, batch: Batch) -> dict[str, int]:
        """Bytes of each fed and computed tensor for ``batch``; 0 where its size is unknown."""
        key = batch.samples, _shapes(batch)
        if self._last is None or self._last[0] != key:  # most batches are as the one before
            self._last = key, self._computed(batch)
        return {**self._last[1], **{name: array.nbytes for name, array in batch.feeds.items()}}

    def _computed(self, batch: Batch) -> dict[str, int]:
        types, many = self._types(), batch.samples
        names = {i.shape[0] for i in inputs_of(self.model) if i.shape}
        free = {name for name in names if isinstance(name, str)}
        told = {t: i for t, i in types.items() if _is_told(i, free)}
        found = {t: many * _bytes(i) if _grows(i) else _bytes(i) for t, i in told.items()}
        untold = {t: i for t, i in types.items() if t not in told}
        probed = untold or self.carried
        return found | dict(self._probe(batch, untold)) if probed else found

    def live(self, batch: Batch) -> int:
        """The most bytes that are held at a time where each tensor goes after its last reader, the
        nodes running in the order of the file."""
        sizes, graph = self.of(batch), self.model.graph
        last = {t: i for i, node in enumerate(graph.node) for t in reads_of(node)}
        held = most = sum(array.nbytes for array in batch.feeds.values())
        gone: dict[int, int] = {}
        for i, node in enumerate(graph.node):
            for tensor in node.output:
                held += sizes.get(tensor, 0)
                end = last.get(tensor, i)
                gone[end] = gone.get(end, 0) + sizes.get(tensor, 0)
            most = max(most, held)
            held -= gone.pop(i, 0)
        return most

    def _types(self) -> dict[str, TensorInfo]:
        """The computed tensors of the main graph."""
        if self._declared is None:
            graph = self.model.graph
            read = {v.name: read_type(v) for v in (*graph.value_info, *graph.output)}
            made = (t for node in graph.node for t in node.output if t)
            unknown = TensorInfo("", None, None)
            self._declared = {t: self.known.get(t) or read.get(t) or unknown for t in made}
        return self._declared

    def _probe(self, batch: Batch, types: Mapping[str, TensorInfo]) -> Mapping[str, int]:
        key = _shapes(batch)
        if key not in self._seen and len(self._seen) >= PROBES:
            widest = max(self._seen, key=_elements)
            found = self._seen[widest]
            return {t: n * _elements(key) // max(_elements(widest), 1) for t, n in found.items()}
        if key not in self._seen:
            carried = self._count(batch.feeds) if self.carried else {}
            self._seen[key] = {**(self._run(batch.feeds, types) if types else {}), **carried}
        return self._seen[key]

    def _count(self, feeds: Mapping[str, Any]) -> dict[str, int]:
        """Bytes of what is carried out of bodies: values are counted there turn by turn, and none
        is kept."""
        try:
            session = Session(expose(self.model, self.carried, count=True), Settings("literal"))
            read = {i.name for i in session.inputs}
            given = {name: array for name, array in feeds.items() if name in read}
            counts = session.run(given, self.carried)
        except OqError:
            return {}  # a model that only its target runs
        return {t: 4 * int(n.sum()) for t, n in zip(self.carried, counts, strict=True)}

    def _run(self, feeds: Mapping[str, Any], types: Mapping[str, TensorInfo]) -> dict[str, int]:
        typed = [t for t, info in types.items() if info.dtype is not None]
        for wanted in (list(types), typed):
            try:
                session = Session(_with_shapes(self.model, wanted), Settings("literal"))
                read = {i.name for i in session.inputs}
                given = {name: array for name, array in feeds.items() if name in read}
                shapes = session.run(given, [t + SHAPE for t in wanted])
            except OqError:
                continue  # a tensor that has no shape, or a model that only its target runs
            return {
                t: prod(int(n) for n in shape) * _width(types[t])
                for t, shape in zip(wanted, shapes, strict=True)
            }
        return {t: _bytes(info) for t, info in types.items()}


def _is_twice(alone: Array, beside: Array) -> bool:
    """Whether ``beside`` is ``alone``, two times; what has no axes of samples need not be."""
    if not alone.ndim:
        return True
    if beside.shape != (2 * alone.shape[0], *alone.shape[1:]):
        return False
    if alone.dtype.kind != "f":
        return np.array_equal(beside[: len(alone)], alone)
    size = float(np.abs(alone[np.isfinite(alone)]).max(initial=0.0))
    return np.allclose(beside[: len(alone)], alone, rtol=0, atol=NEAR * size, equal_nan=True)


NEAR = 1e-2
"""Of the largest value: a sample beside another is the same but for its sums' order."""


def _writes_one(graph: onnx.GraphProto) -> bool:
    """Whether a Reshape of ``graph`` writes 1 as the number of samples."""
    shapes = {n.input[1] for n in graph.node if n.op_type == RESHAPE and len(n.input) > 1}
    named = (t for t in graph.initializer if t.name in shapes)
    nodes = (n for n in graph.node if n.op_type == CONSTANT and n.output[0] in shapes)
    made = (a.t for n in nodes for a in n.attribute if a.name == "value")
    values = map(onnx.numpy_helper.to_array, (*named, *made))
    return any(v.ndim == 1 and v[:1].tolist() == [1] for v in values)


SHAPE = "#shape"


def _with_shapes(model: onnx.ModelProto, tensors: list[str]) -> onnx.ModelProto:
    """The part of ``model`` that computes ``tensors``, with their shapes as its only outputs."""
    probe = cut(model, {}, lambda tensor, reader: tensor, tensors)
    del probe.graph.output[:]
    for name in tensors:
        probe.graph.node.append(onnx.helper.make_node("Shape", [name], [name + SHAPE]))
        probe.graph.output.append(
            onnx.helper.make_tensor_value_info(name + SHAPE, onnx.TensorProto.INT64, None)
        )
    return probe


def _is_told(info: TensorInfo, samples: set[str]) -> bool:
    """Whether a declared shape is fixed but for a first axis that counts samples."""
    if info.shape is None or info.dtype is None:
        return False
    return all(_fixed(a) or (i == 0 and a in samples) for i, a in enumerate(info.shape))


def _fixed(axis: int | str | None) -> bool:
    return isinstance(axis, int) and axis > 0


def _grows(info: TensorInfo) -> bool:
    return bool(info.shape) and not _fixed(info.shape[0] if info.shape else None)


def _bytes(info: TensorInfo) -> int:
    """Of one sample, an axis of free size counting as 1."""
    if info.shape is None:
        return 0
    return _width(info) * prod(a if isinstance(a, int) and a > 0 else 1 for a in info.shape)


def _width(info: TensorInfo) -> int:
    """Bytes of a value; 4 where NumPy does not know the type."""
    if info.dtype is None or info.dtype == STRING:
        return 4
    try:
        return np.dtype(info.dtype).itemsize
    except TypeError:
        return 4


def _shapes(batch: Batch) -> Key:
    return tuple(array.shape for array in batch.feeds.values())


def _elements(key: Key) -> int:
    return sum(prod(shape) for shape in key)
