"""A graph as the steps that a module runs, and what each constant of it becomes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from oq.errors import ModelError
from oq.model.qdq import PAIR, Q, codes_dtype
from oq.model.view import GraphView, NodeView
from oq.numerics.values import FLOAT_DTYPES, STRING, TensorInfo
from oq.training.ops import ROWS
from oq.training.row import Node, Row

Role = Literal["parameter", "buffer", "host"]
"""A constant that is trained, one that is not, and a shape, an axis or a bound."""

SHAPE_SIZE = 64
"""Maximum number of values of an integer constant that is taken for a shape."""


@dataclass(frozen=True, slots=True)
class Step:
    """A node to run: ``done`` are the tensors that nothing reads any more behind it."""

    node: Node
    row: Row
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    done: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """What a module runs: ``roles`` of the constants that are read, ``outputs`` with the types that
    the file declares."""

    steps: tuple[Step, ...]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    roles: Mapping[str, Role]


def compile_view(view: GraphView, rows: Mapping[str, Row] = ROWS) -> Program:
    """The program of ``view``, by the table ``rows``.

    Raises:
        ModelError: an operator has no row, by its node's name.
    """
    nodes = [n for n in view.nodes if not all(view.is_constant(t) for t in n.outputs)]
    for node in nodes:
        if node.op not in rows:
            raise ModelError(
                f"node {node.name!r}: {node.op} has no form in torch here; accepted are the "
                f"{len(ROWS)} operators of docs/training.md"
            )
        _refuse_types(view, node)
    last: dict[str, int] = {}
    for index, node in enumerate(nodes):
        last |= dict.fromkeys((*node.inputs, *node.outputs), index)
    kept = {*view.outputs, *(i.name for i in view.inputs), *view.constants, ""}
    done: dict[int, list[str]] = {}
    for tensor, index in last.items():
        if tensor not in kept:
            done.setdefault(index, []).append(tensor)
    steps = tuple(
        Step(_node(view, n), rows[n.op], n.inputs, n.outputs, tuple(done.get(i, ())))
        for i, n in enumerate(nodes)
    )
    outputs = tuple(_output(view, t) for t in view.outputs)
    return Program(steps, view.inputs, outputs, _roles(view, nodes, rows))


def _output(view: GraphView, tensor: str) -> TensorInfo:
    """What the file declares of an output; of codes for which it declares nothing, their type."""
    known = view.tensors.get(tensor, TensorInfo(tensor, None, None))
    producer = view.producer(tensor)
    if known.dtype is None and producer is not None and producer.op in QUANTIZING:
        return replace(known, dtype=codes_dtype(view, producer))
    return known


def _refuse_types(view: GraphView, node: NodeView) -> None:
    for tensor in node.inputs:
        info = view.tensors.get(tensor)
        if info is not None and info.dtype in UNREAD and node.op not in PAIR:
            raise ModelError(
                f"node {node.name!r}: {node.op} reads {tensor!r} of type {info.dtype}, in which "
                "torch does not compute; give it as another type"
            )


def _node(view: GraphView, node: NodeView) -> Node:
    outputs = sum(1 for t in node.outputs if t)
    codes = codes_dtype(view, node) if node.op in PAIR else ""
    return Node(node.name, node.op, node.attributes, view.opset, outputs, codes)


UNREAD = frozenset({"uint16", "uint32", "uint64", "object", STRING})
"""Types without arithmetic in torch."""

QUANTIZING = frozenset({Q})
"""Operators whose result has the type of their zero point."""


def _roles(view: GraphView, nodes: list[NodeView], table: Mapping[str, Row]) -> dict[str, Role]:
    readers: dict[str, list[tuple[NodeView, int]]] = {}
    for node in nodes:
        for slot, tensor in enumerate(node.inputs):
            if view.is_constant(tensor):
                readers.setdefault(tensor, []).append((node, slot))
    read = [*readers, *(t for t in view.outputs if view.is_constant(t) and t not in readers)]
    return {t: _role(view.tensors[t], readers.get(t, []), table) for t in read}


def _role(info: TensorInfo, readers: list[tuple[NodeView, int]], table: Mapping[str, Row]) -> Role:
    count = 1
    for size in info.shape or ():
        count *= size if isinstance(size, int) else 1
    rows = [(table[node.op], slot) for node, slot in readers]
    if readers and all(slot in row.host for row, slot in rows):
        return "host"
    if info.dtype not in FLOAT_DTYPES:
        small = count <= SHAPE_SIZE and all(
            slot in row.host or row.on_host is not None for row, slot in rows
        )
        return "host" if readers and small else "buffer"
    learned = any(
        slot not in (*row.host, *row.fixed) and (count > 1 or slot in row.learns)
        for row, slot in rows
    )
    return "parameter" if learned else "buffer"
