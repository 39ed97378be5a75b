"""``(W * x + b) * k + c`` -> ``W' * x + b'``, for ``k`` and ``c`` that are scalars or per channel.

    W' = W * k        b' = b * k + c

Networks that are retrained in fewer branches (MobileOne, PP-LCNetV3) have a learned factor and
offset behind each convolution, and some residual networks scale their branches (ESRGAN, by 0.2).
Left alone, they cost one more rounding or a pass in float, and no target fuses an activation across
them.  Div and Sub by constants are taken as well.
"""

import numpy as np

from oq.model.graph import Graph
from oq.model.operands import affine_operands, bias_input, channel_row
from oq.model.ops import FACTORS, has_bias
from oq.model.view import GraphView, NodeView
from oq.numerics.values import Array
from oq.prepare.fold_batchnorm import laid_out, output_channels, refuse_layer
from oq.prepare.outcome import Outcome, fold_rows


def fold_scaling(graph: Graph) -> Outcome:
    """Fold each Mul, Div, Add and Sub by a constant that is the only reader of a layer."""
    return fold_rows(graph, _match, _fold)


Match = tuple[NodeView, NodeView, Array, Array]


def _match(view: GraphView, layer: NodeView) -> Match | None:
    """``layer``, the step behind it, and its factor and offset, each (channels,)."""
    channels = output_channels(view, layer) if has_bias(layer.op) else None
    if channels is None or refuse_layer(view, layer, channels) is not None:
        return None
    out = layer.outputs[0]
    readers = view.consumers(out)
    if len(readers) != 1 or view.edges(out) != 1:
        return None
    step = readers[0]
    found = affine_operands(view, step)
    row = None if found is None else channel_row(view, found[1], out, channels)
    if row is None:
        return None
    exact = np.broadcast_to(row.astype(np.float64), (channels,))
    factor, offset = np.ones(channels), np.zeros(channels)
    if step.op not in FACTORS:
        offset = exact if step.op == "Add" else -exact
    elif not FACTORS[step.op]:
        factor = exact
    elif exact.all():
        factor = 1 / exact
    else:
        return None
    return layer, step, factor, offset


def _fold(graph: Graph, view: GraphView, match: Match) -> None:
    layer, step, factor, offset = match
    weight, bias = view.constants[layer.inputs[1]], bias_input(layer)
    folded = {1: weight * laid_out(factor, layer, weight)} if np.any(factor != 1) else {}
    if bias:
        folded[2] = view.constants[bias].astype(np.float64).reshape(-1) * factor + offset
    elif offset.any():
        folded[2] = offset
    for slot, values in folded.items():
        what = f"{layer.name}.{'weight' if slot == 1 else 'bias'}"
        graph.set_input(layer.name, slot, graph.add_constant(what, values.astype(weight.dtype)))
    graph.bypass(step.name, step.inputs.index(layer.outputs[0]))
