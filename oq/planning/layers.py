"""Quantized layers: a node with a quantized weight, its bias and its output."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from oq.model.operands import bias_input
from oq.model.ops import ADDING, has_bias, output_axis, weight_axis, weight_input
from oq.model.paths import value_sized
from oq.model.view import GraphView, NodeView
from oq.numerics.values import Array
from oq.planning.spec import Plan, SiteKey, key

NO_BIAS = "it has no bias"


@dataclass(frozen=True, slots=True)
class Layer:
    """A node with a quantized weight.

    ``last`` is the node whose output includes the bias: the node itself, or the Add of a constant
    after a MatMul.  ``bias`` is None if there is no constant that may be changed; ``why`` then
    gives the reason.  ``bias_site`` is the site of the bias if it is quantized with its own scale.
    ``axis`` is the channel axis of the output, negative from the end, ``weight_axis`` that of the
    weight.
    """

    node: str
    op: str
    last: str
    weight: str
    site: SiteKey
    bias: str | None
    bias_site: SiteKey | None
    why: str
    axis: int
    weight_axis: int
    attributes: Mapping[str, object]

    @property
    def may_get_bias(self) -> bool:
        """Whether a bias can be added.  (The weight of a grouped ConvTranspose does not determine
        the number of output channels.)"""
        return self.why == NO_BIAS and (self.group == 1 or self.weight_axis == 0)

    @property
    def group(self) -> int:
        """The number of groups of a convolution."""
        return int(str(self.attributes.get("group", 1)))


def find_layers(view: GraphView, plan: Plan) -> Iterator[Layer]:
    """Every layer of ``plan`` with a quantized constant weight, in the order they run.

    Those that run once per box of a NonMaxSuppression are left out: the float and the quantized
    model give them other numbers of rows, often none, which no statistics compare.
    """
    sized = value_sized(view)
    sites = {(s.tensor, reader): key(s) for s in plan.sites for reader in s.consumers}
    for node in view.nodes:
        weight = weight_input(node.op, node.inputs)
        if not weight or not sized.isdisjoint(node.inputs):
            continue
        axis = output_axis(node.op)
        site = sites.get((weight, node.name))
        if axis is None or site is None or not view.is_constant(weight):
            continue
        shape = view.constants[weight].shape
        along = weight_axis(node.op, node.attributes, len(shape))
        if along is None or len(shape) < 2:  # a MatMul with a vector has no channels
            continue
        last, bias, why = _bias(view, node, shape[along])
        own = sites.get((bias, last)) if bias is not None else None
        yield Layer(
            *(node.name, node.op, last, weight, site, bias, own, why, axis, along), node.attributes
        )


def along(channels: Array, axis: int, rank: int) -> Array:
    """``channels`` (channels,) shaped to broadcast along ``axis`` of ``rank`` axes."""
    shape = [1] * rank
    shape[axis] = -1
    return channels.reshape(shape)


def _bias(view: GraphView, node: NodeView, channels: int) -> tuple[str, str | None, str]:
    """(node behind which the bias is in, the bias, why there is none)."""
    last, bias = node.name, bias_input(node)
    if bias is None and not has_bias(node.op):
        output = node.outputs[0]
        readers = view.consumers(output)
        if readers and view.edges(output) == 1 and readers[0].op in ADDING:
            other = [t for t in readers[0].inputs if t != output]
            if len(other) == 1 and view.is_constant(other[0]):
                last, bias = readers[0].name, other[0]
    if node.attributes.get("beta", 1.0) != 1.0:
        return node.name, None, "its bias is scaled"
    if bias is None:
        return node.name, None, NO_BIAS
    if not view.is_constant(bias) or not _is_row(view.constants[bias], channels):
        return node.name, None, "its bias is not one constant per output channel"
    if view.constants[bias].dtype != np.float32:
        return node.name, None, "its bias is not float32"
    if view.edges(bias) != 1:
        return node.name, None, "it shares its bias with another layer"
    return last, bias, ""


def _is_row(values: Array, channels: int) -> bool:
    """Whether ``values`` are one per channel, along their last axis."""
    return values.size == channels == (values.shape[-1] if values.ndim else 1)
