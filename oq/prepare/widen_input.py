"""``Conv(x, w)``, x of 1 to 3 channels -> ``Conv(Pad(x), w')`` of 4, the new ones zero.

onnxruntime's int8 convolution copies its window row by row, ``channels x width`` bytes at a time,
and short copies of odd lengths are slow.  With an additional zero channel, 3 x 3 over 3 channels
takes 0.53 to 0.87 of the time and 5 x 5 0.85 to 0.87, Pad included; 7 x 7 takes as long and 11 x 11
1.3 to 1.5 times as long (onnxruntime 1.31, x86 with AVX512-VNNI, one and two threads, 8 to 224
pixels). The results are the same.
"""

import numpy as np

from oq.model.first_layer import is_computed_in_float, stays_float
from oq.model.graph import Graph
from oq.model.operands import weight_input
from oq.model.view import GraphView, NodeView
from oq.prepare.outcome import Outcome, finish

CHANNELS = 4
WIDEST = {1: 3, 2: 3, 3: 5}
"""Channels -> the largest kernel size that gains: for larger ones the additional channels cost more
(5 x 5 over 1 channel takes 0.73 to 1.12 of its time)."""


def widen_input(graph: Graph) -> Outcome:
    """Widen every such Conv that reads a graph input, unless float is faster."""
    view = graph.view()
    found = [node for node in view.nodes if _gains(view, node)]
    for conv in found:
        _widen(graph, view, conv)
    return finish(graph, len(found))


def _gains(view: GraphView, node: NodeView) -> bool:
    weight = weight_input(node)
    if node.op != "Conv" or weight is None or not view.is_constant(weight):
        return False
    shape = view.constants[weight].shape
    info = view.tensors.get(node.inputs[0])
    return (
        len(shape) == 4
        and 1 < max(shape[2:]) <= WIDEST.get(shape[1], 0)
        and node.attributes.get("group", 1) == 1
        and info is not None
        and info.dtype == view.constants[weight].dtype.name == "float32"
        and is_computed_in_float(view, node.inputs[0])
        and not stays_float(view, node)
    )


def _widen(graph: Graph, view: GraphView, conv: NodeView) -> None:
    source, weight = conv.inputs[0], view.constants[conv.inputs[1]]
    more = CHANNELS - weight.shape[1]
    pads = graph.add_constant(f"{source}_pads", np.asarray([0, 0, 0, 0, 0, more, 0, 0]))
    wide = graph.add_node(
        *("Pad", (source, pads), f"{source}_wide"),
        name=f"{conv.name}_Pad",
        dtype="float32",
        before=conv.name,
    )
    zeros = np.zeros((weight.shape[0], more, *weight.shape[2:]), weight.dtype)
    wider = graph.add_constant(f"{conv.inputs[1]}_wide", np.concatenate([weight, zeros], axis=1))
    graph.set_input(conv.name, 0, wide)
    graph.set_input(conv.name, 1, wider)
