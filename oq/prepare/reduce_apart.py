"""``y = Reduce(x, keepdims = 0)`` -> ``y = Squeeze(Reduce(x, keepdims = 1))``, and the other way
round with Unsqueeze.

OpenVINO's CPU plugin (2026.4) fuses a QuantizeLinear into the reduction in front of it, and then
computes maxima, minima, means and sums of integer kernels wrongly: a maximum over points between
two layers has 0 to 20 dB.  With a move of axes between the two it fuses nothing, and is right.
"""

import numpy as np

from oq.model.graph import Graph
from oq.model.ops import IN_ORDER, REDUCING
from oq.model.view import GraphView, NodeView
from oq.prepare.mean_to_pool import constant_axes
from oq.prepare.outcome import Outcome, finish


def reduce_apart(graph: Graph) -> Outcome:
    """Rewrite every reduction of float32 values over known axes that another node reads."""
    view, changed = graph.view(), 0
    for node in view.nodes:
        axes = constant_axes(view, node) if _is_rewritten(view, node) else None
        if not axes:
            continue
        out, kept = node.outputs[0], bool(node.attributes.get("keepdims", 1))
        graph.split_output(out, f"{out}_fused")
        reduced = graph.add_node(
            *(node.op, node.inputs, f"{out}_apart"),
            name=f"{node.name}_apart",
            attributes={**node.attributes, "keepdims": int(not kept)},
            dtype="float32",
            before=node.name,
        )
        moved = graph.add_node(
            "Unsqueeze" if kept else "Squeeze",
            (reduced, graph.add_constant(f"{out}_axes", np.asarray(axes, np.int64))),
            f"{out}_moved",
            name=f"{node.name}_{'Unsqueeze' if kept else 'Squeeze'}",
            dtype="float32",
            before=node.name,
        )
        graph.give_output(out, moved)
        changed += 1
    return finish(graph, changed)


def _is_rewritten(view: GraphView, node: NodeView) -> bool:
    """Whether nothing that moves axes stands behind ``node`` yet: the plugin would cancel two."""
    info = view.tensors.get(node.inputs[0]) if node.op in REDUCING else None
    if info is None or info.dtype != "float32":
        return False
    apart = IN_ORDER if node.attributes.get("keepdims", 1) else frozenset({"Unsqueeze"})
    return any(reader.op not in apart for reader in view.consumers(node.outputs[0]))
