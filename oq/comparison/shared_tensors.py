"""The tensors that exist in a float model and in its quantized version, by name, and their values.

Of a tensor with a Q/DQ pair, the dequantized copy is compared.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from oq.model.qdq import DQ, PAIR, constant, dequantized_by, quantizers_of
from oq.model.session import Session, Settings, expose
from oq.model.view import GraphView, NodeView
from oq.numerics.values import Array, Batch

LITERAL = Settings(reading="literal", spin=False)

ONCE = Settings(reading="literal", spin=False, packed=False)
"""For a session that runs one sample."""


@dataclass(frozen=True, slots=True)
class Shared:
    """A tensor of both models; ``copy`` is the name of its quantized copy, ``ends`` the range of
    its scale, extended by half a step on both sides.

    ``raw``: the readers, by their first output, that read the tensor itself and not the copy, as
    the skip connection of a residual block may.
    """

    name: str
    node: str
    copy: str
    ends: tuple[float, float] | None
    raw: frozenset[str] = frozenset()

    def given(self, reader: str) -> str:
        """The name under which ``reader`` reads this tensor."""
        return f"{self.name}:raw" if reader in self.raw else f"{self.name}:given"


def shared_tensors(exact: GraphView, rounded: GraphView) -> tuple[Shared, ...]:
    """The float tensors that both graphs compute, and the quantized inputs, in the float model's
    order."""
    found = []
    computed = [(t, n.name) for n in exact.nodes for t in n.outputs if t]
    for tensor, node in [*((i.name, "") for i in exact.inputs), *computed]:
        if exact.is_constant(tensor) or rounded.is_constant(tensor):
            continue
        if node and rounded.producer(tensor) is None:
            continue
        copy = _copy(rounded, tensor)
        if copy is None:
            if node:
                found.append(Shared(tensor, node, tensor, None))
        else:
            name = copy.outputs[0]
            raw = _raw_readers(exact, rounded, tensor, name)
            found.append(Shared(tensor, node, name, _ends(rounded, copy), raw))
    return tuple(found)


def _copy(view: GraphView, tensor: str) -> NodeView | None:
    """The DequantizeLinear that gives the quantized copy of ``tensor``."""
    producer = dequantized_by(view, tensor)
    if producer is not None:
        return producer
    for reader in quantizers_of(view, tensor):
        return next((n for n in view.consumers(reader.outputs[0]) if n.op == DQ), None)
    return None


def _raw_readers(exact: GraphView, rounded: GraphView, tensor: str, copy: str) -> frozenset[str]:
    """The float model's readers of ``tensor``, by first output, whose counterparts read no copy."""
    if copy == tensor:
        return frozenset()
    found = set()
    for node in exact.consumers(tensor):
        other = rounded.producer(node.outputs[0])
        while other is not None and other.op in PAIR:
            other = rounded.producer(other.inputs[0])
        if other is not None and tensor in other.inputs and copy not in other.inputs:
            found.add(node.outputs[0])
    return frozenset(found)


def _ends(view: GraphView, node: NodeView) -> tuple[float, float] | None:
    """The real values of the first and the last code of a per-tensor grid, half a step further."""
    scale, zero = constant(view, node, 1), constant(view, node, 2)
    if scale is None or zero is None or zero.dtype.kind not in "iu" or scale.size != 1:
        return None
    limits, step, origin = np.iinfo(zero.dtype), float(scale.item()), int(zero.item())
    return (limits.min - origin - 0.5) * step, (limits.max - origin + 0.5) * step


def run_both(
    float_model: onnx.ModelProto,
    quantized: onnx.ModelProto,
    shared: Sequence[Shared],
    batches: Iterable[Batch],
) -> Iterator[tuple[Batch, dict[str, Array], dict[str, Array]]]:
    """Batch by batch the float model's values of ``shared``, and the quantized model's by its own
    names: the copies, and the tensors themselves if some reader reads those."""
    exact = [t.name for t in shared if t.node]
    wanted = dict.fromkeys([t.copy for t in shared] + [t.name for t in shared if t.raw])
    fed = {i.name for i in quantized.graph.input}
    copies = [n for n in wanted if n not in fed]
    one = Session(expose(float_model, exact), LITERAL) if exact else None
    other = Session(expose(quantized, copies), LITERAL)
    for batch in batches:
        values, found = dict(batch.feeds), dict(batch.feeds)
        if one is not None:
            values |= zip(exact, one.run(batch.feeds, exact), strict=True)
        found |= zip(copies, other.run(batch.feeds, copies), strict=True)
        yield batch, values, found
