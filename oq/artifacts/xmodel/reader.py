"""The :class:`~oq.artifacts.artifact.Artifact` of an ``.xmodel``."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oq.artifacts.artifact import Contents, GridUse
from oq.artifacts.xmodel.file import Op, XirGraph, read_graph
from oq.artifacts.xmodel.kernels import KERNELS, WEIGHTED
from oq.artifacts.xmodel.rules import broken_rules
from oq.artifacts.xmodel.values import Call, Exact, Value, floats
from oq.errors import DataError, ModelError
from oq.numerics.values import Array, TensorInfo

SOURCES = frozenset({"data", "const"})
FED, CONSTANT, ROUNDS = frozenset({"data"}), frozenset({"const"}), frozenset({"fix"})
INPUTS, OUTPUTS, OPS, LAYOUTS = "oq_inputs", "oq_outputs", "oq_ops", "oq_layouts"
"""Attributes of the graph: the names in the ONNX file; name -> op; name -> the axis of the ONNX
tensor for each axis of the op's."""

NHWC = (0, 2, 3, 1)


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output: ``name`` in the ONNX file, the op, and for each axis of the op's tensor
    the axis of the ONNX tensor (``layout``)."""

    name: str
    op: Op
    layout: tuple[int, ...]

    def info(self) -> TensorInfo:
        """Name, dtype and shape as in the ONNX file."""
        shape = tuple(self.op.dims[i] for i in np.argsort(self.layout))
        return TensorInfo(self.name, "float32", shape)

    def to_onnx(self, values: Array) -> Array:
        """The op's tensor with the axes of the ONNX tensor."""
        return values.transpose([int(i) for i in np.argsort(self.layout)])


def open_file(path: Path) -> "XmodelFile":
    """The ``.xmodel`` at ``path``.

    Raises:
        ModelError: it is not one, or it is damaged.
    """
    data = path.read_bytes()
    try:
        graph = read_graph(data)
    except ModelError as error:
        raise ModelError(f"{str(path)!r} is not an xmodel that oq reads: {error}") from error
    if not graph.ops:
        raise ModelError(f"{str(path)!r} holds no XIR graph (an empty or different protobuf?)")
    return XmodelFile(graph, len(data))


class XmodelFile:
    """An XIR graph, run as its ops say.

    ``problems``: the rules of AMD's loader that it breaks; such a file is told about, not run.
    """

    format = "xmodel"

    def __init__(self, graph: XirGraph, size: int) -> None:
        self.graph = graph
        self.problems = tuple(broken_rules(graph))
        self._size = size
        self._ops = {op.name: op for op in graph.ops}
        read = {name for op in graph.ops for name in op.reads()}
        fed = [op.name for op in graph.ops if op.type in FED]
        ends = [op.name for op in graph.ops if op.name not in read and op.type not in SOURCES]
        self.inputs_ = self._ports(INPUTS, fed)
        self.outputs_ = self._ports(OUTPUTS, ends)
        self.inputs = tuple(p.info() for p in self.inputs_)
        self.outputs = tuple(p.info() for p in self.outputs_)
        self._constants: dict[str, Value] = {}
        self._last = _last_readers(graph)

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None) -> list[Array]:
        """The outputs (all of them when ``outputs`` is None) for one sample, in the layout of the
        ONNX file."""
        ports = {p.name: p for p in self.outputs_}
        names = [p.name for p in self.outputs_] if outputs is None else outputs
        given = {p.op.name: self._fit(p, feeds) for p in self.inputs_}
        found = self.evaluate(given, [ports[n].op.name for n in names])
        return [ports[n].to_onnx(floats(found[ports[n].op.name])) for n in names]

    def evaluate(
        self,
        given: Mapping[str, Array],
        wanted: Sequence[str],
        instead: Mapping[str, Array] | None = None,
    ) -> dict[str, Value]:
        """The values of the ops ``wanted``, given those of the ``data`` ops; ops of ``instead``
        that the CPU computes in float are read with those values by what follows.

        Raises:
            ModelError: the file breaks a rule of AMD's loader, or an op that oq cannot run.
        """
        if self.problems:
            raise ModelError(f"the xmodel breaks a rule of AMD's loader: {self.problems[0]}")
        values: dict[str, Value] = {**self._load_constants(), **given}
        found: dict[str, Value] = {}
        for at, op in enumerate(self.graph.ops):
            if op.name not in values:
                arguments = {a: [values[n] for n in ns] for a, ns in op.arguments.items()}
                values[op.name] = KERNELS[op.type](Call(op, arguments))
            if op.name in wanted:
                found[op.name] = values[op.name]
            if instead and op.name in instead and not isinstance(values[op.name], Exact):
                values[op.name] = instead[op.name]
            for name in self._last.get(at, ()):
                if name not in self._constants:
                    del values[name]
        return found

    def parameters(self) -> dict[str, Exact]:
        """The ``fix`` ops of constants, with their values."""
        return {n: v for n, v in self._load_constants().items() if isinstance(v, Exact)}

    def contents(self) -> Contents:
        """Ops, grids and sizes."""
        held = sum(len(op.get("data")) for op in self.graph.ops if op.type in CONSTANT)
        kinds = Counter(op.type for op in self.graph.ops)
        return Contents(
            *(self.format, self._size, dict(self._facts()), self.inputs, self.outputs),
            *(dict(sorted(kinds.items())), *self._grids(), {"float32": held}),
        )

    def integer_layers(self) -> tuple[int, int]:
        """The convolutions and matrix products whose operands all come out of ``fix``, perhaps
        moved, and the others."""
        layers = [op for op in self.graph.ops if op.type in WEIGHTED]
        exact = sum(all(self._is_rounded(n) for n in op.reads()) for op in layers)
        return exact, len(layers) - exact

    def _ports(self, attribute: str, plain: Sequence[str]) -> tuple[Port, ...]:
        """Inputs or outputs by the names that oq gave; in other files by those of the ops, images
        in NCHW."""
        known = self.graph.attributes
        places, layouts = known.get(OPS) or {}, known.get(LAYOUTS) or {}
        ports = []
        for name in known.get(attribute) or plain:
            op = self._ops.get(places.get(name, name))
            if op is None:
                raise ModelError(f"the xmodel names an input or output {name!r} that it has not")
            usual = NHWC if len(op.dims) == len(NHWC) else tuple(range(len(op.dims)))
            ports.append(Port(name, op, tuple(layouts.get(name, usual))))
        return tuple(ports)

    def _fit(self, port: Port, feeds: Mapping[str, Array]) -> Array:
        wanted = port.info().shape
        found = feeds.get(port.name)
        if found is None or found.shape != wanted:
            shape = "nothing" if found is None else list(found.shape)
            raise DataError(
                f"input {port.name!r} of the xmodel takes {list(wanted or ())}, not {shape}"
            )
        return np.ascontiguousarray(found.transpose(port.layout), np.float32)

    def _load_constants(self) -> Mapping[str, Value]:
        """The values of ``const`` ops and of the ``fix`` ops behind them."""
        if not self._constants:
            found: dict[str, Value] = {}
            for op in self.graph.ops:
                known = op.type in ROUNDS and all(n in found for n in op.reads())
                if op.type in CONSTANT or known:
                    arguments = {a: [found[n] for n in ns] for a, ns in op.arguments.items()}
                    found[op.name] = KERNELS[op.type](Call(op, arguments))
            self._constants = found
        return self._constants

    def _is_rounded(self, name: str) -> bool:
        op = self._ops[name]
        if op.type in MOVING:
            return all(self._is_rounded(n) for n in op.arguments["input"])
        return op.type in ROUNDS

    def _facts(self) -> Iterator[tuple[str, str]]:
        yield "graph", self.graph.name
        for kind, ports in (("inputs", self.inputs_), ("outputs", self.outputs_)):
            lying = (f"{p.name} = {p.op.name} {'x'.join(map(str, p.op.dims))}" for p in ports)
            yield kind, "; ".join(lying)
        if self.problems:
            yield "loader", f"{len(self.problems)} rules broken; first: {self.problems[0]}"
        else:
            yield "loader", "no rule of AMD's loader is broken"

    def _grids(self) -> tuple[tuple[GridUse, ...], tuple[GridUse, ...]]:
        """The grids of activations, and those of parameters."""
        made: tuple[list[GridUse], list[GridUse]] = ([], [])
        for op in self.graph.ops:
            if op.type not in ROUNDS or "fix_point" not in op.attributes:
                continue
            sign = "int" if op.get("if_signed") else "uint"
            scale = math.ldexp(1.0, -op.get("fix_point"))
            constant = self._ops[op.reads()[0]].type in CONSTANT
            use = GridUse(op.name, f"{sign}{op.get('bit_width')}", (scale, scale), (0, 0))
            made[constant].append(use)
        return tuple(made[0]), tuple(made[1])


MOVING = frozenset({"concat", "maxpool2d", "pad", "reshape", "strided_slice", "transpose"})
"""Ops behind which values still lie on the grid of a ``fix``."""


def _last_readers(graph: XirGraph) -> Mapping[int, tuple[str, ...]]:
    """Place in the order -> the values that no later op reads."""
    last: dict[str, int] = {}
    for at, op in enumerate(graph.ops):
        last.update(dict.fromkeys((op.name, *op.reads()), at))
    freed: dict[int, list[str]] = {}
    for name, at in last.items():
        freed.setdefault(at, []).append(name)
    return {at: tuple(names) for at, names in freed.items()}
