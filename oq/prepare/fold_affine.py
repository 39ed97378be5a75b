"""``BatchNormalization(x) * k + c`` -> one BatchNormalization, for ``k`` and ``c`` per channel.

    gamma' = gamma * k        beta' = beta * k + c

Caffe writes normalization as two layers, BatchNorm and Scale, and its converters as three nodes.
"""

import numpy as np

from oq.model.graph import Graph
from oq.model.operands import channel_row
from oq.model.view import GraphView, NodeView
from oq.numerics.values import Array
from oq.prepare.outcome import Outcome, finish


def fold_affine(graph: Graph) -> Outcome:
    """Fold each Mul and Add by a per-channel constant that is the only reader of a
    BatchNormalization."""
    changed = 0
    while True:  # once per node in a row behind one BatchNormalization
        view = graph.view()
        found = [match for node in view.nodes if (match := _match(view, node)) is not None]
        if not found:
            break
        for norm, step, values in found:
            _fold(graph, view, norm, step, values)
        changed += len(found)
    return finish(graph, changed)


def _match(view: GraphView, norm: NodeView) -> tuple[NodeView, NodeView, Array] | None:
    """``norm``, the Mul or Add behind it, and its constant as (channels,) or ()."""
    if norm.op != "BatchNormalization" or len(norm.outputs) != 1:
        return None
    if not all(view.is_constant(t) for t in norm.inputs[1:3]):
        return None
    out = norm.outputs[0]
    readers = view.consumers(out)
    if len(readers) != 1 or view.edges(out) != 1 or readers[0].op not in {"Add", "Mul"}:
        return None
    step = readers[0]
    other = step.inputs[1 - step.inputs.index(out)]
    values = channel_row(view, other, out, view.constants[norm.inputs[1]].size)
    return None if values is None else (norm, step, values)


def _fold(graph: Graph, view: GraphView, norm: NodeView, step: NodeView, values: Array) -> None:
    gamma, beta = (view.constants[t].astype(np.float64) for t in norm.inputs[1:3])
    exact = values.astype(np.float64)
    if step.op == "Mul":
        gamma, beta = gamma * exact, beta * exact
    else:
        beta = beta + exact
    dtype = view.constants[norm.inputs[1]].dtype
    for slot, new, what in ((1, gamma, "scale"), (2, beta, "bias")):
        name = graph.add_constant(f"{norm.name}.{what}", np.asarray(new.astype(dtype)))
        graph.set_input(norm.name, slot, name)
    graph.bypass(step.name, step.inputs.index(norm.outputs[0]))
