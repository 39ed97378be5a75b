"""(graph, plan, grids) -> graph with Q/DQ: a loop over sites, without knowledge of ops or targets.

A constant becomes ``integers -> DequantizeLinear``, and its float copy is removed.  Any other
tensor gets ``QuantizeLinear -> DequantizeLinear``.  If all readers read the quantized copy, the
DequantizeLinear takes over the name of the tensor, so that readers inside subgraphs, graph outputs
and tensor-by-tensor comparison with the float model find it under the same name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

import numpy as np

from oq.emission.solve import Solution
from oq.model.graph import Graph
from oq.model.view import GraphView
from oq.numerics.grid import PIECE, Grid, quantize
from oq.numerics.values import Array
from oq.parallel import map_ahead
from oq.planning.spec import Plan, Site, SiteKey, key


@dataclass(frozen=True, slots=True)
class Placed:
    """The tensors of a site in the graph: its scale and zero point (initializers), and its codes
    (an initializer, or what a QuantizeLinear computes)."""

    scale: str
    zero: str
    codes: str


@dataclass(slots=True)
class _Parameters:
    """Names of the scale and zero point of each grid object, so that shared grids share them."""

    graph: Graph
    names: dict[int, tuple[str, str]] = field(default_factory=dict)

    def of(self, grid: Grid, tensor: str) -> tuple[str, str]:
        if id(grid) not in self.names:
            scale = self.graph.add_constant(f"{tensor}_scale", np.asarray(grid.scale))
            zero = self.graph.add_constant(f"{tensor}_zero_point", np.asarray(grid.zero_point))
            self.names[id(grid)] = (scale, zero)
        return self.names[id(grid)]


def emit(graph: Graph, plan: Plan, solution: Solution) -> Mapping[SiteKey, Placed]:
    """Insert the Q/DQ of every site of ``plan`` into ``graph``, in place; returns where each is."""
    view = graph.view()
    parameters = _Parameters(graph)
    stored = (s for s in plan.sites if view.is_constant(s.tensor))
    rounded = map_ahead(
        lambda site: quantize(view.constants[site.tensor], solution.grids[key(site)]),
        stored,
        lambda site: prod(view.constant_shape(site.tensor)) > PIECE,
    )
    placed = {}
    for site in plan.sites:
        grid = solution.grids[key(site)]
        if view.is_constant(site.tensor):
            codes = _emit_constant(graph, view, site, grid, parameters, next(rounded))
        else:
            codes = _emit_pair(graph, view, site, grid, parameters)
        placed[key(site)] = Placed(*parameters.of(grid, site.tensor), codes)
    graph.cleanup()
    return placed


def _emit_constant(
    graph: Graph, view: GraphView, site: Site, grid: Grid, parameters: _Parameters, rounded: Array
) -> str:
    """Returns the codes, like :func:`_emit_pair`."""
    tensor = site.tensor
    codes = graph.add_constant(f"{tensor}_quantized", rounded)
    first = next(n.name for n in view.consumers(tensor) if n.name in site.consumers)
    real = _dequantize(graph, site, grid, (codes, *parameters.of(grid, tensor)), before=first)
    for reader in site.consumers:
        graph.replace_reads(reader, tensor, real)
    return codes


def _emit_pair(
    graph: Graph, view: GraphView, site: Site, grid: Grid, parameters: _Parameters
) -> str:
    tensor = site.tensor
    takes_over = not site.consumers and view.producer(tensor) is not None
    source = graph.split_output(tensor, f"{tensor}_float") if takes_over else tensor
    scale, zero = parameters.of(grid, tensor)
    codes = graph.add_node(
        "QuantizeLinear",
        (source, scale, zero),
        f"{tensor}_quantized",
        name=f"{tensor}_QuantizeLinear",
        attributes=_axis(grid),
        like=tensor,
        dtype=grid.qtype.dtype,
        rule=site.rule,
    )
    real = _dequantize(graph, site, grid, (codes, scale, zero))
    if takes_over:
        graph.give_output(tensor, real)
        return codes
    for reader in site.consumers or tuple(n.name for n in view.consumers(tensor)):
        graph.replace_reads(reader, tensor, real)
    return codes


def _dequantize(
    graph: Graph, site: Site, grid: Grid, inputs: tuple[str, str, str], before: str | None = None
) -> str:
    """The DequantizeLinear of ``inputs`` (codes, scale, zero point); returns its output."""
    return graph.add_node(
        "DequantizeLinear",
        inputs,
        f"{site.tensor}_dequantized",
        name=f"{site.tensor}_DequantizeLinear",
        attributes=_axis(grid),
        like=site.tensor,
        dtype="float32",
        rule=site.rule,
        before=before,
    )


def _axis(grid: Grid) -> dict[str, int]:
    if grid.axis is None:
        return {}
    return {"axis": grid.axis} | ({} if grid.block is None else {"block_size": grid.block})
