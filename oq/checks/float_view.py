"""A Q/DQ graph in the form that a target's rules match: quantized constants as float constants."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from oq.model.qdq import DQ, Q, constant, pairs, stored
from oq.model.view import GraphView, NodeView
from oq.numerics.values import Array, TensorInfo

SMALL = 1024
"""Maximum size of constants whose values a predicate may read: those of a Pad, a scalar operand."""


def merge_quantizers(view: GraphView) -> GraphView:
    """``view`` with QuantizeLinear nodes of equal inputs merged, as engines do."""
    first: dict[tuple[str, ...], str] = {}
    other: dict[str, str] = {}
    for node in view.nodes:
        if node.op == Q:
            kept = first.setdefault(node.inputs, node.outputs[0])
            if kept != node.outputs[0] and node.outputs[0] not in view.outputs:
                other[node.outputs[0]] = kept
    if not other:
        return view
    nodes = tuple(
        replace(n, inputs=tuple(other.get(t, t) for t in n.inputs))
        for n in view.nodes
        if n.outputs[:1] and n.outputs[0] not in other
    )
    return GraphView(nodes, view.inputs, view.outputs, view.tensors, view.constants, view.opset)


def read_as_float(view: GraphView) -> GraphView:
    """``view`` with dequantized constants, and all other integers as the real values they stand
    for; the Q/DQ pairs on activations stay, so that no chain extends across them.  A float16 rest
    (TensorRT) matches as float32 does."""
    folded = {n.outputs[0]: n for n in view.nodes if n.op == DQ and stored(view, n)}
    tensors = {
        t: replace(info, dtype="float32") if info.dtype == "float16" else info
        for t, info in view.tensors.items()
    }
    for node in pairs(view):
        shapes = [view.shape(t) for t in (node.outputs[0], node.inputs[0])]
        shape = next((s for s in shapes if s is not None), None)
        tensors[node.outputs[0]] = TensorInfo(node.outputs[0], "float32", shape)
    nodes = tuple(n for n in view.nodes if n.outputs[:1] and n.outputs[0] not in folded)
    constants = _Stored(view, folded)
    return GraphView(nodes, view.inputs, view.outputs, tensors, constants, view.opset)


@dataclass(frozen=True, slots=True)
class _Stored(Mapping[str, Array]):
    """The constants of ``view`` and, for the outputs of the DequantizeLinear nodes in ``folded``,
    their values in units of the scale: rows ask for shapes, zeros and NaN, never for sizes."""

    view: GraphView
    folded: Mapping[str, NodeView]
    _seen: dict[str, Array] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Array:
        if name not in self.folded:
            return self.view.constants[name]
        if name not in self._seen:
            self._seen[name] = _steps(self.view, self.folded[name])
        return self._seen[name]

    def __contains__(self, name: object) -> bool:
        return name in self.folded or name in self.view.constants

    def __iter__(self) -> Iterator[str]:
        yield from self.view.constants
        yield from self.folded

    def __len__(self) -> int:
        return len(self.view.constants) + len(self.folded)


def _steps(view: GraphView, dq: NodeView) -> Array:
    codes = constant(view, dq, 0)
    if codes is None:  # a float constant whose QuantizeLinear is still there
        q = view.producer(dq.inputs[0])
        return view.constants["" if q is None else q.inputs[0]]
    if codes.size > SMALL:
        return np.broadcast_to(np.float32(1), codes.shape)
    zero = constant(view, dq, 2)
    return codes.astype(np.float32) - np.float32(0 if zero is None else zero.flat[0])
