"""``Conv(pads=p) o Pad(q)`` -> ``Conv(pads=p + q)`` for zero padding of spatial axes only.

A Pad between a QuantizeLinear and a Conv would split the integer kernel.
"""

import numpy as np

from oq.model.graph import Graph
from oq.model.operands import pads_by_size
from oq.model.view import GraphView, NodeView
from oq.numerics.values import Array
from oq.prepare.outcome import Outcome, finish


def fold_pad(graph: Graph) -> Outcome:
    """Fold each constant zero Pad whose readers are all Convs with explicit padding."""
    view = graph.view()
    changed, refusals = 0, []
    for pad in view.nodes:
        readers = view.consumers(pad.outputs[0]) if pad.op == "Pad" else ()
        if not any(r.op == "Conv" for r in readers):
            continue
        reason = _refuse(view, pad)
        if reason is not None:
            refusals.append(f"Pad {pad.name!r} is kept: {reason}")
            continue
        extra = _amounts(view, pad)
        for conv in readers:
            own = conv.attributes.get("pads") or [0] * (2 * (extra.shape[1] - 2))
            spatial = [int(a) for a in extra[:, 2:].reshape(-1)]
            total = [a + b for a, b in zip(own, spatial, strict=True)]
            graph.set_attribute(conv.name, "pads", total)
            graph.set_attribute(conv.name, "auto_pad", "NOTSET")
        graph.bypass(pad.name)
        changed += 1
    return finish(graph, changed, refusals)


def _refuse(view: GraphView, pad: NodeView) -> str | None:
    if pad.attributes.get("mode", "constant") != "constant":
        return f"its mode is {pad.attributes['mode']}"
    for slot, what in ((1, "amounts"), (2, "value"), (3, "axes")):
        tensor = pad.input(slot)
        if tensor and not view.is_constant(tensor):
            return f"its {what} {tensor!r} are computed at run time"
    value = pad.input(2)
    if value and view.constants[value].any():
        return "it pads with a value other than 0"
    if pad.input(3):
        return "it names its axes"
    amounts = _amounts(view, pad)
    if amounts[:, :2].any():
        return "it pads the batch or channel axis"
    if (amounts < 0).any():
        return "it crops"
    for reader in view.consumers(pad.outputs[0]):
        if reader.op != "Conv" or reader.inputs[0] != pad.outputs[0]:
            return f"{reader.op} {reader.name!r} reads it too"
        if pads_by_size(reader.attributes):
            return f"Conv {reader.name!r} has auto_pad={reader.attributes['auto_pad']}"
    if pad.outputs[0] in view.outputs:
        return "it is a graph output"
    return None


def _amounts(view: GraphView, pad: NodeView) -> Array:
    """Padding as (begin or end, axis)."""
    return np.asarray(view.constants[pad.inputs[1]]).reshape(2, -1)
