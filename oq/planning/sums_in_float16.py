"""Scales of sums in a float16 program (Core ML): ``127 s / t`` is a float16 for the scales s and t
of the two operands.

The converter rescales a sum so that one operand's scale is 1 (coremltools 9.0,
``converters/mil/mil/passes/defs/optimize_quantization.py``), and beyond float16 it is infinite.
The operand with the smaller scale then gets a larger one: its steps are still below 1/500 of the
other's, so the sum stays the same.
"""

from collections import defaultdict

import numpy as np

from oq.model.view import GraphView, NodeView
from oq.numerics.grid import Grid
from oq.numerics.values import Array
from oq.planning.spec import Fixed, Plan, Site, key
from oq.planning.target import Grids, Legalized

SUMS = frozenset({"Add", "Sub"})
CODES = 127
"""Largest integer that a rescaled operand multiplies."""

RATIO = float(np.finfo(np.float16).max) / CODES
"""The largest ratio of the scales of two operands."""

SHOWN = 4


def fit_sums(plan: Plan, view: GraphView, grids: Grids) -> Legalized:
    """``grids`` with the smaller scales of sums raised to 1 / :data:`RATIO` of the larger ones;
    those that are fixed stay."""
    sites: defaultdict[str, list[Site]] = defaultdict(list)
    for site in plan.sites:
        sites[site.tensor].append(site)
    fixed = {id(grids[key(s)]) for s in plan.sites if isinstance(s.spec, Fixed)}
    sums = [pair for n in view.nodes if n.op in SUMS and (pair := _operands(n, sites))]
    scales = {id(grid): grid.scale for grid in grids.values()}
    raised: dict[int, str] = {}
    for _ in sums:  # a raised scale may be the larger one of another sum
        low = [
            (small, least)
            for pair in sums
            for small, large in (pair, pair[::-1])
            if grids[key(small)].axis is None and grids[key(large)].axis is None
            if (least := _least(scales[id(grids[key(large)])])) > scales[id(grids[key(small)])]
            if id(grids[key(small)]) not in fixed
        ]
        if not low:
            break
        for site, least in low:
            at = id(grids[key(site)])
            scales[at], raised[at] = np.maximum(scales[at], least), site.tensor
    made = {id(g): _with_scale(g, scales[id(g)]) if id(g) in raised else g for g in grids.values()}
    return Legalized({k: made[id(g)] for k, g in grids.items()}, _notes([*raised.values()]))


def _operands(node: NodeView, sites: dict[str, list[Site]]) -> tuple[Site, Site] | None:
    """The sites that ``node`` reads; None where it has not two of one scale each."""
    found = [
        next((s for s in sites.get(t, ()) if not s.consumers or node.name in s.consumers), None)
        for t in node.inputs
    ]
    first, second = found if len(found) == 2 else (None, None)
    return None if first is None or second is None else (first, second)


def _least(scale: Array) -> Array:
    """The least scale beside ``scale``, a float16."""
    exact = np.asarray(scale, np.float64) / RATIO
    near = exact.astype(np.float16)
    above = np.where(near.astype(np.float64) < exact, np.nextafter(near, np.float16(np.inf)), near)
    return np.asarray(above, np.float32)


def _with_scale(grid: Grid, scale: Array) -> Grid:
    return Grid(grid.qtype, np.asarray(scale, np.float32), grid.zero_point, grid.axis, grid.block)


def _notes(names: list[str]) -> tuple[str, ...]:
    if not names:
        return ()
    shown = ", ".join(map(repr, names[:SHOWN])) + (", ..." if len(names) > SHOWN else "")
    return (f"scales of {len(names)} tensors were raised so that sums fit in float16: {shown}",)
