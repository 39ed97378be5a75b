"""An XIR graph as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oq.artifacts.xmodel.wire import Attribute, parse

Dims = tuple[int, ...]

DATA_TYPES = ("INT", "UINT", "XINT", "XUINT", "FLOAT", "BFLOAT", "UNKNOWN")
"""By the number that a file has."""


@dataclass(frozen=True, slots=True)
class Op:
    """One op, and the one tensor that it computes (``dims``, ``data_type`` with its bits).

    ``arguments``: name -> the ops that are read.
    """

    name: str
    type: str
    attributes: Mapping[str, Attribute]
    arguments: Mapping[str, tuple[str, ...]]
    tensor: str
    dims: Dims
    data_type: str
    bits: int

    def get(self, attribute: str, default: Any = None) -> Any:
        """The value of ``attribute``, ``default`` where the op has none."""
        found = self.attributes.get(attribute)
        return default if found is None else found.value

    def reads(self) -> tuple[str, ...]:
        """The ops that this one reads, in the order of the file."""
        return tuple(name for names in self.arguments.values() for name in names)


@dataclass(frozen=True, slots=True)
class SubGraph:
    """A part of the graph: the names of its ops, or further parts."""

    name: str
    ops: tuple[str, ...]
    children: tuple["SubGraph", ...]


@dataclass(frozen=True, slots=True)
class XirGraph:
    """A file: its ops in order, the root of its parts (None where there is none), and its
    attributes by name, those of value None left out."""

    name: str
    ops: tuple[Op, ...]
    root: SubGraph | None
    attributes: Mapping[str, Any]


def read_graph(data: bytes) -> XirGraph:
    """The graph in the bytes of a file.

    Raises:
        ModelError: they are not those of an XIR graph.
    """
    found = parse(data)
    root = found.get("root")
    given = found.get("attributes", {})
    return XirGraph(
        found.get("name", ""),
        tuple(_op(o) for o in found.get("ops", ())),
        None if root is None else _part(root),
        {name: a.value for name, a in given.items() if a is not None},
    )


def _op(fields: Mapping[str, Any]) -> Op:
    tensor = fields.get("tensor", {})
    kind = tensor.get("data_type", 0)
    return Op(
        fields.get("name", ""),
        fields.get("type", ""),
        fields.get("attributes", {}),
        {a.get("name", ""): tuple(a.get("ops", ())) for a in fields.get("arguments", ())},
        tensor.get("name", ""),
        tuple(tensor.get("dims", ())),
        DATA_TYPES[kind] if 0 <= kind < len(DATA_TYPES) else f"type {kind}",
        tensor.get("bit_width", 0),
    )


def _part(fields: Mapping[str, Any]) -> SubGraph:
    children = tuple(_part(c) for c in fields.get("children", ()))
    return SubGraph(fields.get("name", ""), tuple(fields.get("ops", ())), children)
