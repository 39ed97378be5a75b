"""What :mod:`oq.refine.smooth` scales in front of convolutions: their channels are axis 1.

A tensor X (sample, channel, ..) that only convolutions read, and that a product with a constant
made, perhaps with a constant added, takes the factors in these:

    X / s = (k / s) * Y + c / s

HardSwish written out (``x * clip(x + 3, 0, 6) / 6``) and learned factors behind an activation
(PP-LCNetV3) end so, and no pair of layers to equalize reaches across them.  Only where the product
and the sum run in float: as integers, a constant has one grid for all of its channels.

A depthwise convolution whose weights have a scale per channel takes any s for nothing, so that all
channels get one size: ``s[j] = max|X[j]| / max|X|``.
"""

from collections.abc import Iterator, Set
from dataclasses import dataclass

import numpy as np

from oq.model.operands import affine_operands, channel_row
from oq.model.ops import FACTORS
from oq.model.view import GraphView
from oq.numerics.values import Array
from oq.planning.layers import Layer, along, find_layers
from oq.planning.spec import Own, Plan, key
from oq.refine.equalize import LARGEST


@dataclass(frozen=True, slots=True)
class Maker:
    """A constant of one value, or one per channel of a tensor with ``rank`` axes; ``divides``: the
    tensor is divided by it."""

    name: str
    rank: int
    divides: bool = False

    def scaled(self, values: Array, by: Array) -> Array:
        """The constant for channels that are divided ``by`` (channels,)."""
        row = along(by if self.divides else 1 / by, 1, self.rank)
        return np.asarray((values * row).astype(values.dtype))


@dataclass(frozen=True, slots=True)
class ChannelGroup:
    """``tensor`` (sample, channel, ..), the constants that make it, the dense convolutions that
    read it, and the depthwise ones whose weights have a scale per channel."""

    tensor: str
    makers: tuple[Maker, ...]
    dense: tuple[Layer, ...]
    depthwise: tuple[Layer, ...]


def channel_groups(view: GraphView, plan: Plan) -> Iterator[ChannelGroup]:
    """Every group of ``plan``, in execution order."""
    layers = {layer.node: layer for layer in find_layers(view, plan)}
    quantized = {name for group in plan.groups for name in group.nodes}
    rows = {key(s) for s in plan.sites if isinstance(s.spec, Own) and s.spec.axis is not None}
    for tensor in dict.fromkeys(view.node(layer).inputs[0] for layer in layers):
        readers = view.consumers(tensor)
        read = [layers[n.name] for n in readers if n.name in layers and n.inputs[0] == tensor]
        dense = tuple(r for r in read if r.group == 1)
        free = tuple(r for r in read if _is_depthwise(view, r) and r.site in rows)
        if len(dense) + len(free) != view.edges(tensor):
            continue
        if all(_is_convolution(view, r, tensor) for r in read):
            makers = _makers(view, tensor, quantized)
            if makers:
                yield ChannelGroup(tensor, makers, dense, free)


def _is_convolution(view: GraphView, layer: Layer, tensor: str) -> bool:
    """Whether ``layer`` is a convolution of ``tensor`` with a weight of its own."""
    weight = view.constants[layer.weight]
    own = view.edges(layer.weight) == 1 and weight.dtype == np.float32
    return own and layer.weight_axis == 0 and layer.axis == 1 and weight.ndim == view.rank(tensor)


def _is_depthwise(view: GraphView, layer: Layer) -> bool:
    shape = view.constants[layer.weight].shape
    return layer.group > 1 and shape[:2] == (layer.group, 1)


def _makers(view: GraphView, tensor: str, quantized: Set[str]) -> tuple[Maker, ...]:
    """The constants of the product that makes ``tensor``, and of the sums behind it; none if there
    is no product, or one of the nodes runs in integers."""
    found: list[Maker] = []
    while (node := view.producer(tensor)) is not None and node.name not in quantized:
        operands = affine_operands(view, node)
        if operands is None or (found and view.edges(tensor) != 1):
            break
        shape, (source, constant) = view.shape(tensor), operands
        row = None if shape is None else channel_row(view, constant, tensor, shape[1])
        if row is None or row.dtype != np.float32 or view.edges(constant) != 1:
            break
        found.append(Maker(constant, view.rank(tensor) or 0, FACTORS.get(node.op, False)))
        if node.op in FACTORS:
            return tuple(found)
        tensor = source
    return ()


def equal_factors(lo: Array, hi: Array) -> Array:
    """``s`` (channels,) that brings channels between ``lo`` and ``hi`` to one size."""
    reach = np.maximum(np.abs(lo), np.abs(hi)).astype(np.float64)
    most = reach.max(where=np.isfinite(reach), initial=0.0)
    live = np.isfinite(reach) & (reach > 0)
    return np.where(live, np.maximum(np.where(live, reach, 1.0) / (most or 1.0), 1 / LARGEST), 1.0)
