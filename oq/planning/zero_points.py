"""Asymmetric activations on a symmetric target, with zero points folded into biases.

After a ReLU, a symmetric grid wastes half of its integer values.  An affine one, ``x = scale (q -
z)``, has twice as many levels.  If only layers without padding read x, the target need not know z:
the bias of the upstream layer adds ``scale z`` to x, and

    W x + b = W (scale q) + (b - scale z sum W)

shows that the biases of the downstream layers can compensate it
(:mod:`oq.emission.fold_zero_points`).  It requires a layer, a ReLU or a Clip at 0, and layers that
are the only readers.  The zeros of a padded convolution would have to be ``scale z``, which no bias
can provide.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from oq.model.operands import constant_limits, is_padded
from oq.model.ops import BOUNDED, HOMOGENEOUS, WHOLE_SUMS
from oq.model.view import GraphView, NodeView
from oq.planning.layers import Layer, find_layers
from oq.planning.spec import Own, Plan, Site


@dataclass(frozen=True, slots=True)
class FoldableZeroPoint:
    """A ``site`` between the layer ``front`` with its ``activation``, which clips at ``bound``, and
    the layers ``behind``."""

    site: Site
    front: Layer
    activation: str
    bound: float
    behind: tuple[Layer, ...]


def assign_zero_points(plan: Plan, view: GraphView) -> Plan:
    """``plan`` with affine grids in place of symmetric ones, where zero points can be folded into
    biases."""
    found = {id(c.site) for c in find_foldable_zero_points(plan, view)}
    return replace(plan, sites=tuple(_affine(s) if id(s) in found else s for s in plan.sites))


def find_foldable_zero_points(plan: Plan, view: GraphView) -> Iterator[FoldableZeroPoint]:
    """Every int8 tensor whose zero point can be folded, in the order of the plan's sites."""
    layers = {layer.node: layer for layer in find_layers(view, plan)}
    fused = {n: g.nodes[0] for g in plan.groups for n in g.nodes}
    made = {view.node(layer.last).outputs[0]: layer for layer in layers.values()}
    for site in plan.sites:
        producer = view.producer(site.tensor)
        if producer is None or not producer.inputs:
            continue
        if not isinstance(site.spec, Own) or site.spec.qtype.dtype != "int8":
            continue
        front, bound = made.get(producer.inputs[0]), _bound(view, producer)
        if front is None or bound is None or not _bears(front):
            continue
        if fused.get(producer.name, "") != fused.get(front.node):  # the user keeps it in float
            continue
        readers = view.consumers(site.tensor)
        behind = tuple(layers[n.name] for n in readers if _sums(view, n, site.tensor, layers))
        alone = view.edges(producer.inputs[0]) == 1 and view.edges(site.tensor) == len(readers)
        quantized = not site.consumers or {n.name for n in readers} == set(site.consumers)
        if behind and len(behind) == len(readers) and alone and quantized:
            yield FoldableZeroPoint(site, front, producer.name, bound, behind)


def has_folded_zero_point(site: Site) -> bool:
    """Whether the zero point of ``site`` is folded into biases."""
    return isinstance(site.spec, Own) and site.spec.carried


def _affine(site: Site) -> Site:
    if not isinstance(site.spec, Own):
        raise TypeError(f"{site.tensor!r} has no grid of its own")
    affine = replace(site.spec.qtype, symmetric=False)
    return replace(site, spec=replace(site.spec, qtype=affine, carried=True))


def _bound(view: GraphView, node: NodeView) -> float | None:
    """What ``node`` lets pass at most, None where it is not an activation that cuts at 0."""
    if HOMOGENEOUS.get(node.op):
        return float("inf")
    if node.op not in BOUNDED:
        return None
    limits = constant_limits(view, node)
    return limits[1] if limits is not None and limits[0] == 0 < limits[1] else None


def _bears(layer: Layer) -> bool:
    """Whether ``layer`` has a bias of its own, or can get one."""
    return layer.bias is not None or layer.may_get_bias


def _sums(view: GraphView, node: NodeView, tensor: str, layers: Mapping[str, Layer]) -> bool:
    """Whether ``node`` adds one number per channel to its output for a shift of all of ``tensor``:
    a stack of matrices has channels of its own for each."""
    layer = layers.get(node.name)
    if layer is None or node.op not in WHOLE_SUMS or node.inputs[0] != tensor or not _bears(layer):
        return False
    if layer.axis == -1 and len(view.constants[layer.weight].shape) != 2:
        return False
    scaled = layer.attributes.get("alpha", 1.0) != 1.0 or layer.attributes.get("transA")
    return not is_padded(layer.attributes) and not scaled and node.reads(tensor) == 1
