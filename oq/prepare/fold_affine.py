"""``BatchNormalization(x) * k + c`` -> one BatchNormalization, for ``k`` and ``c`` per channel.

    gamma' = gamma * k        beta' = beta * k + c

Caffe writes normalization as two layers, BatchNorm and Scale, and its converters as three nodes.
"""

import numpy as np

from oq.model.graph import Graph
from oq.model.operands import channel_row
from oq.model.view import GraphView, NodeView
from oq.numerics.values import Array
from oq.prepare.outcome import Outcome, fold_rows


def fold_affine(graph: Graph) -> Outcome:
    """Fold each Mul and Add by a per-channel constant that is the only reader of a
    BatchNormalization."""
    return fold_rows(graph, _match, _fold)


Match = tuple[NodeView, NodeView, Array]


def _match(view: GraphView, norm: NodeView) -> Match | None:
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


def _fold(graph: Graph, view: GraphView, match: Match) -> None:
    norm, step, values = match
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
