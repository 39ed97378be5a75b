"""``BatchNormalization(W * x + b)`` -> ``W' * x + b'`` for Conv, ConvTranspose and Gemm.

With ``k = gamma / sqrt(variance + epsilon)`` per output channel:

    W' = W * k        b' = (b - mean) * k + beta

(Jacob et al. 2018, section 3.2).  A ConvTranspose stores (in, out / group, kh, kw), so its k is
arranged per group.  Folding comes before quantization because the per-channel scales must be those
of the folded weights.
"""

import numpy as np

from oq.model.graph import Graph
from oq.model.operands import bias_input
from oq.model.ops import has_bias
from oq.model.view import GraphView, NodeView
from oq.numerics.values import Array
from oq.prepare.outcome import Outcome, finish


def fold_batchnorm(graph: Graph) -> Outcome:
    """Fold every BatchNormalization that directly follows a layer with constant weights."""
    view = graph.view()
    changed, refusals = 0, []
    for norm in view.nodes:
        if norm.op != "BatchNormalization":
            continue
        reason = _refuse(view, norm)
        if reason is not None:
            refusals.append(f"BatchNormalization {norm.name!r} is kept: {reason}")
            continue
        layer = view.producer(norm.inputs[0])
        if layer is not None:
            _fold(graph, view, layer, norm)
            changed += 1
    return finish(graph, changed, refusals)


def _refuse(view: GraphView, norm: NodeView) -> str | None:
    source = norm.inputs[0]
    layer = view.producer(source)
    if layer is None or not has_bias(layer.op):
        found = "a graph input" if layer is None else f"{layer.op} {layer.name!r}"
        return f"it follows {found}, which has no weights to fold into"
    if view.edges(source) != 1:
        return f"{source!r} has other readers"
    if norm.attributes.get("training_mode", 0) or any(view.edges(t) for t in norm.outputs[1:] if t):
        return "it is in training mode"
    for tensor in norm.inputs[1:5]:
        if not view.is_constant(tensor):
            return f"{tensor!r} is not a constant"
    return refuse_layer(view, layer, view.constants[norm.inputs[1]].size)


def refuse_layer(view: GraphView, layer: NodeView, channels: int) -> str | None:
    """Why the weight and the bias of ``layer`` cannot take a factor and an offset for each of its
    output ``channels``; None if they can."""
    for tensor in (t for t in layer.inputs[1:3] if t):
        if not view.is_constant(tensor):
            return f"{tensor!r} is not a constant"
    if layer.op == "Gemm" and (
        layer.attributes.get("alpha", 1.0) != 1.0 or layer.attributes.get("beta", 1.0) != 1.0
    ):
        return f"Gemm {layer.name!r} has alpha or beta other than 1"
    for tensor in layer.inputs[2:3]:
        shape = view.constants[tensor].shape if tensor else ()
        if shape[-1:] not in {(), (1,), (channels,)} or any(size != 1 for size in shape[:-1]):
            return f"bias {tensor!r} has shape {list(shape)}, which is not per output channel"
    return None


def _fold(graph: Graph, view: GraphView, layer: NodeView, norm: NodeView) -> None:
    gamma, beta, mean, variance = (view.constants[t].astype(np.float64) for t in norm.inputs[1:5])
    k = gamma / np.sqrt(variance + float(norm.attributes.get("epsilon", 1e-5)))
    weight = view.constants[layer.inputs[1]]
    given = bias_input(layer)
    bias = view.constants[given] if given else np.zeros(())
    folded = weight * laid_out(k, layer, weight)
    shifted = (bias.astype(np.float64).reshape(-1) - mean) * k + beta
    name = layer.name
    graph.set_input(name, 1, graph.add_constant(f"{name}.weight", folded.astype(weight.dtype)))
    graph.set_input(name, 2, graph.add_constant(f"{name}.bias", shifted.astype(weight.dtype)))
    graph.bypass(norm.name)


def output_channels(view: GraphView, layer: NodeView) -> int | None:
    """The number of output channels of a Conv, ConvTranspose or Gemm; None if its weight is no
    constant."""
    if not view.is_constant(layer.inputs[1]):
        return None
    shape = view.constants[layer.inputs[1]].shape
    if layer.op == "Gemm":
        return int(shape[0 if layer.attributes.get("transB", 0) else 1])
    groups = int(layer.attributes.get("group", 1))
    return int(shape[0] if layer.op == "Conv" else shape[1] * groups)


def laid_out(k: Array, layer: NodeView, weight: Array) -> Array:
    """``k`` (out,) shaped to multiply ``weight`` in the layer's own layout."""
    if layer.op == "Gemm":
        return k[:, None] if layer.attributes.get("transB", 0) else k[None, :]
    spatial = (1,) * (weight.ndim - 2)
    if layer.op == "Conv":
        return k.reshape(-1, 1, *spatial)
    groups = int(layer.attributes.get("group", 1))
    per_input = np.repeat(k.reshape(groups, -1), weight.shape[0] // groups, axis=0)
    return per_input.reshape(*per_input.shape, *spatial)
