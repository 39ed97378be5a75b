"""Writes the standard ONNX nodes that a fused node stands for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from oq.model.names import claim_name
from oq.numerics.values import Shape

Shapes = Callable[[str], Shape | None]
"""Tensor -> its shape, None where it is not known."""


LAYERS = frozenset({"Conv", "Gemm", "LayerNormalization", "MatMul"})


@dataclass(slots=True)
class Writer:
    """What replaces ``node``, node by node.

    ``lookup`` and ``constants`` know tensors of the graph, ``taken`` are the names in use.
    """

    node: onnx.NodeProto
    opset: int
    lookup: Shapes
    constants: Mapping[str, onnx.TensorProto]
    taken: set[str]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    attributes: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        found = {a.name: helper.get_attribute_value(a) for a in self.node.attribute}
        self.attributes = {k: v.decode() if isinstance(v, bytes) else v for k, v in found.items()}

    def input(self, slot: int) -> str:
        """The tensor at input ``slot``, "" if there is none."""
        return self.node.input[slot] if slot < len(self.node.input) else ""

    def output(self, slot: int) -> str:
        """The tensor at output ``slot``, "" if there is none."""
        return self.node.output[slot] if slot < len(self.node.output) else ""

    def rank(self, tensor: str) -> int | None:
        """Number of axes, or None when it is not known."""
        shape = self.shape(tensor)
        return None if shape is None else len(shape)

    def shape(self, tensor: str) -> Shape | None:
        """The shape of ``tensor``, None where it is not known."""
        if tensor in self.constants:
            return tuple(self.constants[tensor].dims)
        return self.lookup(tensor)

    def constant(self, values: object, dtype: Any = np.float32) -> str:
        """A new constant."""
        tensor = self.fresh("constant")
        proto = numpy_helper.from_array(np.asarray(values, dtype), tensor)
        self.nodes.append(helper.make_node("Constant", [], [tensor], tensor, value=proto))
        return tensor

    def add(self, op: str, inputs: Sequence[str], writes: str = "", **attributes: Any) -> str:
        """Add a node that writes ``writes`` (a new tensor unless named); returns it.  The
        layer among them, the first of :data:`LAYERS`, has the name of the fused node."""
        name = self.node.name or next(t for t in self.node.output if t)
        if op not in LAYERS or any(n.name == name for n in self.nodes):
            name = self.fresh(op, name)
        tensor = writes or self.fresh(op)
        self.nodes.append(helper.make_node(op, list(inputs), [tensor], name, **attributes))
        return tensor

    def fresh(self, what: str, stem: str = "") -> str:
        """A name that is not in use."""
        stem = stem or next(t for t in self.node.output if t)
        return claim_name(f"{stem}_{what}", self.taken)

    def finish(self, tensor: str, slot: int = 0) -> None:
        """Let the node that computes ``tensor`` write output ``slot`` in its place."""
        last = next(n for n in reversed(self.nodes) if n.output[0] == tensor)
        last.output[0] = self.node.output[slot]

    # -- ops whose form depends on the opset -----------------------------------------------------

    def mean(self, tensor: str, axes: Sequence[int]) -> str:
        """``ReduceMean`` over ``axes``, which stay with length 1."""
        if self.opset < 18:
            return self.add("ReduceMean", [tensor], axes=list(axes), keepdims=1)
        return self.add("ReduceMean", [tensor, self.constant(axes, np.int64)], keepdims=1)

    def gelu(self, x: str, approximate: str) -> str:
        """``x Phi(x)``, by Erf or by Tanh (Hendrycks and Gimpel 2016, arXiv:1606.08415)."""
        if self.opset >= 20:
            return self.add("Gelu", [x], approximate=approximate)
        if approximate == "none":
            scaled = self.add("Div", [x, self.constant(np.sqrt(2.0))])
            bent = self.add("Erf", [scaled])
        else:
            cube = self.add("Pow", [x, self.constant(3.0)])
            shifted = self.add("Add", [x, self.add("Mul", [cube, self.constant(0.044715)])])
            scaled = self.add("Mul", [shifted, self.constant(np.sqrt(2 / np.pi))])
            bent = self.add("Tanh", [scaled])
        weighted = self.add("Mul", [x, self.add("Add", [bent, self.constant(1.0)])])
        return self.add("Mul", [weighted, self.constant(0.5)])

    def scaled(self, tensor: str, factor: float) -> str:
        """``tensor`` times ``factor``."""
        return tensor if factor == 1.0 else self.add("Mul", [tensor, self.constant(factor)])
