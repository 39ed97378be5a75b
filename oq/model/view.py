"""A read-only view of an ONNX graph, for planning and checks.

Immutable, in topological order, with unique node names.  Created by :mod:`oq.model.graph`, the only
module that edits.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from oq.numerics.values import FLOAT_DTYPES, Array, Shape, TensorInfo

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node.  ``inputs`` holds "" for an empty optional input.  ``op`` has the domain in front
    where it is another operator than ONNX's of that name (:func:`oq.model.surgeon.op_name`).

    ``captured`` are the outer tensors that the node's subgraphs (If, Loop, Scan) read, ``inner``
    the names of the nodes in these, without and with the path to them (``loop/body/conv``).
    """

    name: str
    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(compare=False)
    captured: tuple[str, ...] = ()
    inner: tuple[str, ...] = ()

    def input(self, slot: int) -> str:
        """The tensor at input ``slot``, "" if there is none."""
        return self.inputs[slot] if slot < len(self.inputs) else ""

    def reads(self, tensor: str) -> int:
        """The number of edges of the node, including its subgraphs, that read ``tensor``."""
        return self.inputs.count(tensor) + self.captured.count(tensor)


@dataclass(frozen=True, slots=True)
class GraphView:
    """The graph as plain values.

    ``constants`` maps a tensor name to its array and loads it on access.  ``scopes`` has the names
    defined in subgraphs, so that new names avoid them.
    """

    nodes: tuple[NodeView, ...]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[str, ...]
    tensors: Mapping[str, TensorInfo]
    constants: Mapping[str, Array]
    opset: int
    _producers: Mapping[str, NodeView] = field(init=False, repr=False)
    _consumers: Mapping[str, tuple[NodeView, ...]] = field(init=False, repr=False)
    _by_name: Mapping[str, NodeView] = field(init=False, repr=False)
    _found: dict[Any, Any] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        consumers: dict[str, list[NodeView]] = {}
        for node in self.nodes:
            for tensor in dict.fromkeys((*node.inputs, *node.captured)):
                if tensor:
                    consumers.setdefault(tensor, []).append(node)
        set_field = object.__setattr__
        set_field(self, "_producers", {t: n for n in self.nodes for t in n.outputs if t})
        set_field(self, "_consumers", {t: tuple(ns) for t, ns in consumers.items()})
        set_field(self, "_by_name", {n.name: n for n in self.nodes})

    def once(self, look: Callable[["GraphView"], Found]) -> Found:
        """What ``look`` finds in the whole graph, found once: for facts of all tensors."""
        if look not in self._found:
            self._found[look] = look(self)
        found: Found = self._found[look]
        return found

    def node(self, name: str) -> NodeView:
        """The node called ``name``; KeyError when there is none."""
        return self._by_name[name]

    def producer(self, tensor: str) -> NodeView | None:
        """The node that computes ``tensor``; None for graph inputs and constants."""
        return self._producers.get(tensor)

    def consumers(self, tensor: str) -> tuple[NodeView, ...]:
        """The nodes that read ``tensor``, each once, in topological order."""
        return self._consumers.get(tensor, ())

    def edges(self, tensor: str) -> int:
        """The number of edges that read ``tensor``; a graph output counts as one."""
        return sum(n.reads(tensor) for n in self.consumers(tensor)) + self.outputs.count(tensor)

    def is_constant(self, tensor: str) -> bool:
        """Whether ``tensor`` is an initializer."""
        return tensor in self.constants

    def constant_shape(self, constant: str) -> tuple[int, ...]:
        """The shape of a ``constant``, whose values may lie in a file: they are not read."""
        info = self.tensors.get(constant)
        known = None if info is None or constant in self._producers else info.shape
        if known is None or not all(isinstance(size, int) for size in known):
            return tuple(self.constants[constant].shape)
        return cast("tuple[int, ...]", known)

    def is_float(self, tensor: str) -> bool:
        """Whether ``tensor`` is a float tensor (False if its dtype is unknown)."""
        info = self.tensors.get(tensor)
        return info is not None and info.dtype in FLOAT_DTYPES

    def shape(self, tensor: str) -> Shape | None:
        """The shape of ``tensor``, or None if even its rank is unknown."""
        info = self.tensors.get(tensor)
        return None if info is None else info.shape

    def rank(self, tensor: str) -> int | None:
        """Number of axes, or None when it is not known."""
        shape = self.shape(tensor)
        return None if shape is None else len(shape)
