"""SmoothQuant: channel outliers move into the weights of the layers that read them.

A tensor X (.., channel) that only linear layers read is scaled down per channel, and their weights
W (channel, ..) up,

    X[.., j] /= s[j],   W[j] *= s[j],      s[j] = max|X[.., j]|^a / max|W[j]|^(1 - a),   a = 1/2

which does not change the function, since the layers sum the products over j.  Several readers
(query, key, value) share one s: ``max|W[j]|`` is over all of them.  The scaling of X is applied to
the constants that produce it: scale and bias of a LayerNormalization, a constant factor (RMSNorm,
decomposed LayerNormalization), or weight and bias of another layer, through an activation that is
positively homogeneous.  What convolutions read is in :mod:`oq.refine.smooth_channels`.

(Xiao et al. 2023, "SmoothQuant", arXiv:2211.10438, equations 3 and 4, a
from section 5.1; maxima over the calibration samples.)
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from oq.model.ops import ADDING, HOMOGENEOUS, IN_ORDER, NORMALIZING, PERMUTING, SCALING, SHAPE_OPS
from oq.model.view import GraphView, NodeView
from oq.numerics.values import Array
from oq.numerics.weights import channel_reach
from oq.planning.layers import NO_BIAS, Layer, along, find_layers
from oq.planning.spec import Plan
from oq.refine.channel_statistics import channel_extremes
from oq.refine.equalize import all_samples
from oq.refine.smooth_channels import ChannelGroup, channel_groups, equal_factors
from oq.refine.subject import Change, Subject

SHARE = 0.5
"""``a``: the share of the spread that is moved into the weights."""


@dataclass(frozen=True, slots=True)
class SmoothingGroup:
    """``tensor`` (.., channel) and its ``readers``; ``makers`` are the constants that scale it,
    with their channel axes."""

    tensor: str
    makers: tuple[tuple[str, int], ...]
    readers: tuple[Layer, ...]


NOTHING = "it needs a normalization, a linear layer or a factor that feeds layers alone"


def smooth(subject: Subject) -> Change:
    """New constants for every input of linear layers that can be scaled."""
    found = list(find_groups(subject.view, subject.plan))
    fans = [fan for fan in found if isinstance(fan, SmoothingGroup)]
    refused = [why for why in found if isinstance(why, str)]
    others = f"{len(refused)} cannot be scaled ({refused[0]})" if refused else ""
    groups = tuple(channel_groups(subject.view, subject.plan))
    if not fans and not groups:
        return Change({}, others or NOTHING)
    axes = {f.tensor: -1 for f in fans} | {g.tensor: 1 for g in groups}
    ends = channel_extremes(subject.model, axes, all_samples(subject), subject.sizing)
    changed = subject.changes()
    for fan in fans:
        by = factors(subject, fan, changed, *ends[fan.tensor])
        scaled = [(name, axis, 1 / by) for name, axis in fan.makers]
        scaled += [(r.weight, 1 - r.weight_axis, by) for r in fan.readers]
        for name, axis, times in scaled:
            values = subject.constant(name, changed)
            product = values * along(times, axis, values.ndim)
            changed[name] = np.asarray(product.astype(values.dtype))
    for group in groups:
        changed |= scaled_channels(subject, group, *ends[group.tensor])
    note = f"{len(fans) + len(groups)} tensors smoothed"
    return Change(changed, f"{note}, {others}" if others else note)


def find_groups(view: GraphView, plan: Plan) -> Iterator[SmoothingGroup | str]:
    """The groups of ``view``, and why others are none (:func:`smoothing_group`)."""
    layers = {layer.node: layer for layer in find_layers(view, plan)}
    found = (smoothing_group(view, node, layers) for node in view.nodes)
    return (group for group in found if group is not None)


def may_smooth(view: GraphView, plan: Plan) -> bool:
    """Whether there is a group."""
    found = (isinstance(group, SmoothingGroup) for group in find_groups(view, plan))
    return any(found) or any(True for _ in channel_groups(view, plan))


def factors(
    subject: Subject, fan: SmoothingGroup, changed: Mapping[str, Array], lo: Array, hi: Array
) -> Array:
    """``s`` (channels,) of the group ``fan``, whose channels lie between ``lo`` and ``hi``."""
    sizes = []
    for reader in fan.readers:
        weight = subject.constant(reader.weight, changed)
        sizes.append(channel_reach(weight, 1 - reader.weight_axis))
    return shared_factors(sizes, lo, hi)


def shared_factors(sizes: Sequence[Array], lo: Array, hi: Array) -> Array:
    """``s`` (channels,) for channels between ``lo`` and ``hi`` and readers with the largest weights
    ``sizes``; 1 where a channel or all its weights are 0."""
    reach = np.maximum(np.abs(lo), np.abs(hi)).astype(np.float64)
    weights = np.max(sizes, axis=0)
    live = (reach > 0) & np.isfinite(reach) & (weights > 0)
    reach, weights = np.where(live, reach, 1.0), np.where(live, weights, 1.0)
    return np.where(live, reach**SHARE / weights ** (1 - SHARE), 1.0)


def scaled_channels(
    subject: Subject, group: ChannelGroup, lo: Array, hi: Array
) -> Mapping[str, Array]:
    """The constants of ``group``, whose channels lie between ``lo`` and ``hi``."""
    sizes = [channel_reach(subject.constant(r.weight), 1) for r in group.dense]
    by = shared_factors(sizes, lo, hi) if sizes else equal_factors(lo, hi)
    made = {m.name: m.scaled(subject.constant(m.name), by) for m in group.makers}
    for reader in (*group.dense, *group.depthwise):
        weight = subject.constant(reader.weight)
        times = along(by, 0 if reader in group.depthwise else 1, weight.ndim)
        made[reader.weight] = np.asarray((weight * times).astype(weight.dtype))
    return made


def smoothing_group(
    view: GraphView, node: NodeView, layers: Mapping[str, Layer]
) -> SmoothingGroup | str | None:
    """The group that starts at ``node``; the reason if its readers or constants prevent it; None if
    ``node`` starts none."""
    started = _start(view, node, layers)
    if started is None:
        return None
    tensor, makers = started
    readers = tuple(_readers(view, tensor))
    linear, others = [], []
    for reader, read in readers:
        if reader is not None and _is_linear(reader, read, layers):
            linear.append(layers[reader.name])
        else:
            others.append("a graph output" if reader is None else repr(reader.name))
    if not linear:
        return None
    if others:
        return f"{tensor!r} is also read by {others[0]}, which is not a quantized linear layer"
    for name in (*(m for m, _ in makers), *(layer.weight for layer in linear)):
        if view.edges(name) != 1 or view.constants[name].dtype != np.float32:
            return f"{tensor!r}: constant {name!r} has another reader or is not float32"
    shapes = [(view.constants[layer.weight].shape, layer.weight_axis) for layer in linear]
    channels = {shape[1 - axis] if len(shape) == 2 else 0 for shape, axis in shapes}
    if any(channels != {view.constants[m].shape[axis]} for m, axis in makers):
        return f"{tensor!r}: {makers[0][0]!r} is not one value per row of a weight matrix"
    return SmoothingGroup(tensor, makers, tuple(linear))


def _start(
    view: GraphView, node: NodeView, layers: Mapping[str, Layer]
) -> tuple[str, tuple[tuple[str, int], ...]] | None:
    """What ``node`` and the constants behind it make, and the constants that scale it."""
    layer = layers.get(node.name)
    if layer is not None:
        if view.constants[layer.weight].ndim != 2 or (layer.bias is None and layer.why != NO_BIAS):
            return None
        biases = () if layer.bias is None else ((layer.bias, -1),)
        output = view.node(layer.last).outputs[0]
        return _activated(view, output), ((layer.weight, layer.weight_axis), *biases)
    if node.op in NORMALIZING:
        names = tuple(t for t in node.inputs[1:] if t)
        if all(_is_row(view, t) for t in names):
            return node.outputs[0], tuple((t, -1) for t in names)
    row = _row_of(view, node) if node.op in SCALING else None
    if row is None:
        return None
    output = node.outputs[0]
    readers = view.consumers(output)
    if view.edges(output) == 1 and readers and readers[0].op in ADDING:
        offset = _row_of(view, readers[0])
        if offset is not None:
            return readers[0].outputs[0], ((row, -1), (offset, -1))
    return output, ((row, -1),)


def _activated(view: GraphView, tensor: str) -> str:
    """The output of the activation that alone reads ``tensor`` and may be scaled in front."""
    readers = view.consumers(tensor)
    alone = view.edges(tensor) == 1 and readers and readers[0].op in HOMOGENEOUS
    return readers[0].outputs[0] if alone else tensor


def _row_of(view: GraphView, node: NodeView) -> str | None:
    """The constant (channels,) among the two operands of ``node``."""
    return next((t for t in node.inputs if _is_row(view, t)), None)


def _is_row(view: GraphView, tensor: str) -> bool:
    if not view.is_constant(tensor):
        return False
    shape = view.constants[tensor].shape
    return len(shape) > 0 and shape[-1] > 1 and all(s == 1 for s in shape[:-1])


def _readers(view: GraphView, tensor: str) -> Iterator[tuple[NodeView | None, str]]:
    """(node, what it reads) behind all ops that keep the last axis; None for a graph output."""
    readers = view.consumers(tensor)
    if view.edges(tensor) != len(readers):
        yield None, tensor
    for node in readers:
        if node.op in SHAPE_OPS:
            continue
        if _keeps_channels(view, node, tensor):
            yield from _readers(view, node.outputs[0])
        else:
            yield node, tensor


def _keeps_channels(view: GraphView, node: NodeView, tensor: str) -> bool:
    """Whether ``node`` only moves values of ``tensor``, each within its channel (last axis)."""
    if node.op in PERMUTING:
        perm = node.attributes.get("perm")
        return isinstance(perm, list | tuple) and perm[-1] == len(perm) - 1
    shapes = [view.tensors[t].shape for t in (tensor, node.outputs[0])]
    sizes = [shape[-1] if shape else None for shape in shapes]
    return node.op in IN_ORDER and isinstance(sizes[0], int) and sizes[0] == sizes[1]


def _is_linear(node: NodeView, tensor: str, layers: Mapping[str, Layer]) -> bool:
    """Whether ``node`` is a layer that multiplies the last axis of ``tensor``."""
    layer = layers.get(node.name)
    last = layer is not None and layer.axis == -1 and not layer.attributes.get("transA")
    return last and node.inputs[0] == tensor
