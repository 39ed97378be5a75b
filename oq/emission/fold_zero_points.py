"""Folds zero points of activations into biases, for symmetric targets.

For ``x = scale (q - z)`` between a layer ``x = relu(W1 u + b1)`` and layers ``W x + b``

    b1 += scale z,      b -= scale z sum(W)

leaves the integers q unchanged, now with zero point 0.  QuantizeLinear saturates at the lowest
value in place of the ReLU and at the highest in place of the Clip, so the activation is removed.
``sum(W)`` is over the rounded weights of an output channel.  (Zero points as offsets of sums: Jacob
et al. 2018, arXiv:1712.05877, section 2.3.)
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from oq.emission.add_bias import add_bias
from oq.emission.solve import Solution
from oq.model.graph import Graph
from oq.numerics.grid import Grid, fake_quantize, fit
from oq.numerics.values import Array, Range
from oq.numerics.weights import other_axes
from oq.planning.layers import Layer
from oq.planning.spec import Plan, Site, SiteKey, key
from oq.planning.zero_points import (
    FoldableZeroPoint,
    find_foldable_zero_points,
    has_folded_zero_point,
)


def fold_zero_points(graph: Graph, plan: Plan, solution: Solution) -> tuple[Plan, Solution, int]:
    """Change the biases of ``graph``, in place; returns the new plan and grids, and the number of
    tensors whose name and values have changed."""
    view = graph.view()
    found = [c for c in find_foldable_zero_points(plan, view) if has_folded_zero_point(c.site)]
    shifts: dict[str, Array] = {}
    layers: dict[str, Layer] = {}
    sites: dict[SiteKey, Site] = {}
    grids = dict(solution.grids)
    for carried in found:
        grid = saturating(solution.grids[key(carried.site)], carried.bound)
        offset = float(grid.scale) * int(grid.zero_point)
        for layer in (carried.front, *carried.behind):
            layers[layer.node] = layer
            shifts.setdefault(layer.node, np.zeros(_channels(view.constants, layer)))
        shifts[carried.front.node] += offset
        for layer in carried.behind:
            weight = fake_quantize(view.constants[layer.weight], solution.grids[layer.site])
            sums = weight.sum(axis=other_axes(weight, layer.weight_axis), dtype=np.float64)
            shifts[layer.node] -= offset * sums
        site = _shifted(graph, carried)
        sites[key(carried.site)] = site
        del grids[key(carried.site)]
        grids[key(site)] = Grid(
            replace(grid.qtype, symmetric=True), grid.scale, np.zeros_like(grid.zero_point)
        )
    for name, shift in shifts.items():
        _shift(graph, view.constants, layers[name], shift)
    made = replace(plan, sites=tuple(sites.get(key(s), s) for s in plan.sites))
    return made, replace(solution, grids=grids), len(found)


def saturating(grid: Grid, bound: float) -> Grid:
    """``grid``, or that of [0, ``bound``] if ``grid`` would saturate beyond the activation's bound;
    the scale may deviate by its rounding."""
    top = min(float(grid.highest), bound)
    if float(grid.lowest) == 0 and float(grid.highest) <= bound + float(grid.scale) / 2:
        return grid
    return fit(Range(np.asarray(0.0), np.asarray(top)), grid.qtype)


def _shifted(graph: Graph, carried: FoldableZeroPoint) -> Site:
    """The site of the tensor that the layer in front writes now; its activation goes."""
    plain = graph.node(carried.activation).inputs[0]
    graph.bypass(carried.activation)
    shifted = graph.split_output(plain, f"{carried.site.tensor}_shifted")
    for layer in carried.behind:
        graph.replace_reads(layer.node, plain, shifted)
    return replace(carried.site, tensor=shifted)


def _shift(graph: Graph, constants: Mapping[str, Array], layer: Layer, by: Array) -> None:
    if layer.bias is None:
        add_bias(graph, layer, by.astype(np.float32))
        return
    values = constants[layer.bias]
    graph.set_constant(layer.bias, (values + by.reshape(values.shape)).astype(values.dtype))


def _channels(constants: Mapping[str, Array], layer: Layer) -> int:
    return int(constants[layer.weight].shape[layer.weight_axis])
