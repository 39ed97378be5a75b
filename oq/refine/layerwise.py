"""Runs a model from one tensor to the next, each node once.

A step that processes the layers in order needs the input of each layer as computed by the layers
already changed.  Running the model from the start for every layer would have quadratic cost; a walk
keeps what later nodes still read, runs the nodes up to the requested tensor, and drops what is no
longer needed.  The batches are distributed over the cores, as in calibration.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import numpy_helper

from oq.model.bodies import is_optional, make_piece, reads_of
from oq.model.session import SERIAL, Session
from oq.numerics.grid import Grid
from oq.numerics.values import Array, TensorInfo
from oq.parallel import parallel_map

Values = tuple[Array, ...]
"""A tensor, one array per batch."""


class Walk:
    """One pass through ``model`` over ``samples`` (input name -> values, per batch)."""

    def __init__(self, model: onnx.ModelProto, samples: Sequence[Mapping[str, Array]]) -> None:
        graph = model.graph
        self._model = model
        self._constants: dict[str, onnx.TensorProto] = {t.name: t for t in graph.initializer}
        self._optional = {v.name for v in graph.input if is_optional(v)}
        self._nodes = list(graph.node)
        self._maker = {t: i for i, n in enumerate(self._nodes) for t in n.output if t}
        self._readers: dict[str, set[int]] = {}
        for i, node in enumerate(self._nodes):
            for tensor in reads_of(node):
                self._readers.setdefault(tensor, set()).add(i)
        self._done: set[int] = set()
        self._changed: dict[str, Array] = {}
        names = samples[0] if samples else {}
        self._here = {name: tuple(s[name] for s in samples) for name in names}

    def output(self, node: str) -> str:
        """The first output of the node called ``node``."""
        return str(self._nodes[self._find(node)].output[0])

    def input(self, node: str, slot: int = 0) -> str:
        """Input ``slot`` of the node called ``node``."""
        return str(self._nodes[self._find(node)].input[slot])

    def at(self, tensor: str) -> Values:
        """The values of ``tensor``; runs the nodes that are needed and have not run."""
        if tensor not in self._here:
            self._run(tensor)
        return self._here[tensor]

    def shift(self, tensor: str, by: Array) -> None:
        """Add ``by``, which broadcasts to it, to ``tensor`` for the nodes that have not run."""
        self._here[tensor] = self._shifted(tensor, by)

    def peek(self, tensor: str, shifted: str, by: Array) -> Values:
        """The values that ``tensor`` would have if ``by`` was added to ``shifted``."""
        there = self._shifted(shifted, by)
        if tensor == shifted:
            return there
        here = self._here
        try:
            self._here = {**here, shifted: there}
            return self._compute(sorted(self._ancestors(tensor)), [tensor])[tensor]
        finally:
            self._here = here

    def set_constant(self, tensor: str, values: Array, grid: Grid | None = None) -> None:
        """Replace the values of a constant for the nodes that have not run, after which they are
        forgotten; its ``grid`` does not matter here."""
        self._changed[tensor] = np.ascontiguousarray(values)

    def _shifted(self, tensor: str, by: Array) -> Values:
        return tuple(parallel_map(lambda v: v + by.astype(v.dtype), self._here[tensor]))

    def _find(self, name: str) -> int:
        return next(i for i, n in enumerate(self._nodes) if n.name == name)

    def _run(self, tensor: str) -> None:
        piece = sorted(self._ancestors(tensor))
        self._done.update(piece)
        made = [t for i in piece for t in self._nodes[i].output if t]
        kept = [t for t in made if t == tensor or self._is_read_later(t)]
        self._here |= self._compute(piece, kept)
        for name in [t for t in self._here if t != tensor and not self._is_read_later(t)]:
            del self._here[name]
        for name in [t for t in self._changed if not self._is_read_later(t)]:
            del self._changed[name]
            self._constants.pop(name, None)  # no node may read what it was before

    def _compute(self, piece: Sequence[int], kept: Sequence[str]) -> dict[str, Values]:
        """The tensors ``kept`` of the nodes ``piece``, from what is here."""
        nodes = [self._nodes[i] for i in piece]
        reads = dict.fromkeys(t for n in nodes for t in reads_of(n))
        fed = [t for t in reads if t in self._here]
        given = {t: _alike(self._here[t]) for t in fed}
        constants = [self._constant(t) for t in reads if t in self._constants]
        session = Session(make_piece(self._model, nodes, given, kept, constants), SERIAL)
        count = len(next(iter(self._here.values())))
        batches = ({t: self._here[t][batch] for t in fed} for batch in range(count))
        found = session.run_all(batches, kept)
        return {t: tuple(values[slot] for values in found) for slot, t in enumerate(kept)}

    def _constant(self, name: str) -> onnx.TensorProto:
        if name not in self._changed:
            return self._constants[name]
        made: onnx.TensorProto = numpy_helper.from_array(self._changed[name], name)
        return made

    def _ancestors(self, tensor: str) -> set[int]:
        """The nodes between what is here and ``tensor``."""
        needed: set[int] = set()
        open_ = [tensor]
        while open_:
            name = open_.pop()
            if name in self._here or name in self._constants or name in self._optional:
                continue
            node = self._maker[name]
            if node not in needed:
                needed.add(node)
                open_.extend(reads_of(self._nodes[node]))
        return needed

    def _is_read_later(self, tensor: str) -> bool:
        return not self._readers.get(tensor, set()) <= self._done


def _alike(values: Values) -> TensorInfo:
    """The type of all ``values`` and the sizes that they share: what onnxruntime infers of some
    operators depends on these (Attention of three axes, Resize to computed sizes)."""
    first = values[0]
    dtype = "object" if first.dtype.kind in "SU" else first.dtype.name
    if any(v.ndim != first.ndim for v in values):
        return TensorInfo("", dtype, None)
    sizes = zip(*(v.shape for v in values), strict=True)
    return TensorInfo("", dtype, tuple(s[0] if len({*s}) == 1 else None for s in sizes))
