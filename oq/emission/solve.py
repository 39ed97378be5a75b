"""(plan, statistics, constants) -> one Grid per site: ranges become scales and zero points.

The range of a weight comes from its values, per output channel.  An int32 bias has the scale
``scale(data) * scale(weight)``; if that is too small for the bias to fit, the weight scale of that
channel is increased, and if all weights of a channel are zero it is chosen for the bias alone (dead
channels are common after pruning and BatchNorm folding).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import assert_never

import numpy as np

from oq.calibration.reader_weights import error_gains
from oq.errors import OptionError
from oq.model.garbage import uncollected
from oq.model.view import GraphView
from oq.numerics.calibrator import Calibrator, ErrorGains, covering, needs_beyond
from oq.numerics.grid import PIECE, SMALLEST_SCALE, Grid, fit, scaled
from oq.numerics.statistics import MASK, Need, Statistics, together
from oq.numerics.values import QType, Range
from oq.numerics.weights import channel_range, weight_range
from oq.parallel import map_ahead
from oq.planning.spec import (
    Fixed,
    Own,
    Plan,
    Product,
    Scaled,
    Share,
    Site,
    SiteKey,
    key,
    measured_at,
)
from oq.planning.target import Grids, Legalized, Legalizer

BIAS_REACH = 2.0**30
"""Largest quantized bias: leaves half of the int32 range to the products."""

BIAS_STEPS = 2.0**23
"""Quantized bias of a channel whose weights are all zero: the resolution of float32."""


FEW_STEPS = 16
"""Steps of a grid; a range of as many keeps 20 to 30 dB."""

NAMED = 3
"""Maximum number of tensors named in a note."""


@dataclass(frozen=True, slots=True)
class Solution:
    """The grid of every site, notes for the report, and the ranges of the activations."""

    grids: Mapping[SiteKey, Grid]
    notes: tuple[str, ...] = ()
    ranges: Mapping[str, Range] = field(default_factory=dict)


@dataclass(slots=True)
class _Work:
    grids: dict[SiteKey, Grid] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    ranges: dict[str, Range] = field(default_factory=dict)
    coarse: dict[str, Grid] = field(default_factory=dict)
    widened: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Weight -> how many of its channels have a wider scale, and the bias they have it for."""


@uncollected
def solve(
    plan: Plan,
    view: GraphView,
    statistics: Mapping[str, Statistics],
    calibrator: Calibrator,
    *,
    named: Mapping[str, Calibrator] | None = None,
    known: Mapping[str, Range] | None = None,
    weights: str = "max",
    legalize: Sequence[Legalizer] = (),
) -> Solution:
    """The grid of every site of ``plan``.

    ``calibrator`` is used for sites that name none, ``named`` for those that do; ``known`` ranges
    (from a file) take precedence; ``weights`` is the method for the ranges of constants;
    ``legalize`` are the target's steps on the grids.
    """
    work = _Work()
    methods = dict(named) if named is not None else {}
    given = known if known is not None else {}
    of_weights = _weight_ranges(plan, view, weights)
    for site in plan.sites:
        match site.spec:
            case Own(qtype, axis, name, _, block):
                if view.is_constant(site.tensor):
                    values = next(of_weights)
                else:
                    method = calibrator if name is None else methods[name]
                    values = _activation_range(site, qtype, method, view, statistics, given, work)
                work.grids[key(site)] = grid = fit(values, qtype, axis, block)
                if _is_coarse(values, grid):
                    work.coarse[site.tensor] = grid
            case Fixed(qtype, scale, zero):
                dtype = np.dtype(qtype.dtype)
                work.grids[key(site)] = Grid(
                    qtype, np.asarray(scale, np.float32), np.asarray(zero, dtype)
                )
            case Share() | Scaled() | Product():
                pass
            case never:
                assert_never(never)
    _share(plan, work)
    legal = apply_steps(plan, view, work.grids, legalize)
    work.grids = dict(legal.grids)
    work.notes.extend(legal.notes)
    _bias(plan, view, work)
    work.notes.extend((*_widened_note(work.widened), *_coarse_note(work.coarse)))
    grids = {key(s): work.grids[key(s)] for s in plan.sites}
    return Solution(grids, tuple(work.notes), {**given, **work.ranges})


def _weight_ranges(plan: Plan, view: GraphView, method: str) -> Iterator[Range]:
    """Those of the sites that are constants and have their own grid, in the order of ``plan``."""

    def measure(site: tuple[str, Own]) -> Range:
        tensor, own = site
        return weight_range(view.constants[tensor], own.qtype, own.axis, method, own.block)

    sites = ((s.tensor, s.spec) for s in plan.sites if isinstance(s.spec, Own))
    of_constants = (site for site in sites if view.is_constant(site[0]))
    return map_ahead(measure, of_constants, lambda site: prod(view.constant_shape(site[0])) > PIECE)


def _is_coarse(values: Range, grid: Grid) -> bool:
    """Whether most channels of ``values`` have less than :data:`FEW_STEPS` of their grid, whose
    scale would have to be smaller than the type allows."""
    if not grid.qtype.uniform or grid.qtype.qmax - grid.qtype.qmin < 2 * FEW_STEPS:
        return False
    size = np.asarray(values.hi - values.lo, np.float64)
    few = (size < FEW_STEPS * grid.scale)[size > 0]
    return bool(few.size and few.mean() > 0.5)


def _widened_note(widened: Mapping[str, tuple[int, str]]) -> tuple[str, ...]:
    """One note for all layers whose biases made scales wider."""
    if not widened:
        return ()
    if len(widened) == 1:
        ((weight, (changed, bias)),) = widened.items()
        many = f"{changed} channel{' was' if changed == 1 else 's were'}"
        return (f"{weight!r}: the scale of {many} widened so that bias {bias!r} fits int32",)
    names = ", ".join(map(repr, list(widened)[:NAMED])) + (", ..." if len(widened) > NAMED else "")
    return (f"{len(widened)} layers: scales of weights widened so that biases fit int32 ({names})",)


def _coarse_note(coarse: Mapping[str, Grid]) -> tuple[str, ...]:
    if not coarse:
        return ()
    names = ", ".join(map(repr, list(coarse)[:NAMED])) + (", ..." if len(coarse) > NAMED else "")
    least = min(float(grid.scale.min()) for grid in coarse.values())
    return (
        f"{names}: values so small that less than {FEW_STEPS} steps of the grid hold them, since "
        f"no scale may be below {least:.2g} here; scale them up in the model, or keep what reads "
        "and makes them in float (--keep-float)",
    )


def apply_steps(plan: Plan, view: GraphView, grids: Grids, steps: Sequence[Legalizer]) -> Legalized:
    """``grids`` after the legalizing ``steps`` of a target, with all their notes."""
    notes: list[str] = []
    for step in steps:
        legal = step(plan, view, grids)
        grids = legal.grids
        notes.extend(legal.notes)
    return Legalized(grids, tuple(notes))


def _activation_range(
    site: Site,
    qtype: QType,
    method: Calibrator,
    view: GraphView,
    statistics: Mapping[str, Statistics],
    given: Mapping[str, Range],
    work: _Work,
) -> Range:
    """What ``method`` makes of the statistics of ``site``, together with the ``given`` ranges; all
    that was seen where the site is to be whole."""
    names = measured_at(site)
    known = [given[t] for t in names if t in given]
    if len(known) < len(names):
        seen = _seen(site, statistics, work)
        if isinstance(site.spec, Own) and site.spec.whole:
            measured = covering(seen.lo, seen.hi)
        else:
            weighs = Need.READERS in needs_beyond(method)
            readers = error_gains(view, site) if weighs else ErrorGains()
            measured = method.range(seen, qtype, readers)
            if not isinstance(measured, Range):
                raise OptionError(
                    f"calibrator {type(method).__name__}: range() returned"
                    f" {type(measured).__name__} for {site.tensor!r}; expected an oq.plugin.Range"
                )
        work.ranges |= dict.fromkeys((site.tensor, *names), measured)
        known.append(measured)
    lo, hi = min(float(r.lo) for r in known), max(float(r.hi) for r in known)
    return Range(np.asarray(lo), np.asarray(hi))


def _seen(site: Site, statistics: Mapping[str, Statistics], work: _Work) -> Statistics:
    """The statistics of all that ``site`` holds, with a remark when they are odd."""
    tensor = site.tensor
    seen = together([statistics[t] for t in measured_at(site) if t in statistics])
    total = seen.nonfinite + seen.masked + seen.count
    if seen.nonfinite:
        work.notes.append(
            f"{tensor!r}: {seen.nonfinite} of {total} values are NaN or infinite; its range comes "
            "from the others"
        )
    if seen.masked:
        work.notes.append(
            f"{tensor!r}: {seen.masked} of {total} values are as large as attention masks "
            f"(|x| >= {MASK:g}); its range comes from the others"
        )
    if total == 0:
        work.notes.append(f"{tensor!r} had no values in the calibration data")
    return seen


def _share(plan: Plan, work: _Work) -> None:
    """Give every sharing site the grid object of the tensor it follows, through any chain, and
    every scaled one that grid times its factor."""
    follows = {s.tensor: s.spec for s in plan.sites if isinstance(s.spec, Share | Scaled)}
    own = {s.tensor: work.grids[key(s)] for s in plan.sites if key(s) in work.grids}

    def grid_of(tensor: str) -> Grid:
        if tensor not in own:
            spec = follows[tensor]
            above = grid_of(spec.source)
            own[tensor] = above if isinstance(spec, Share) else scaled(above, spec.factor)
        return own[tensor]

    for site in plan.sites:
        if site.tensor in follows:
            work.grids[key(site)] = grid_of(site.tensor)


def _bias(plan: Plan, view: GraphView, work: _Work) -> None:
    weights = {(s.tensor, c): key(s) for s in plan.sites if s.role == "weight" for c in s.consumers}
    products = [(s, s.spec) for s in plan.sites if isinstance(s.spec, Product)]
    read = _by_tensor(plan)
    for site, spec in products:
        weight = weights[spec.weight, site.consumers[0]]
        data = _grid_read(read, work, spec.data, site.consumers[0])
        _make_room(site, view, weight, data, work)
    for site, spec in products:
        weight = weights[spec.weight, site.consumers[0]]
        data = _grid_read(read, work, spec.data, site.consumers[0])
        scale = np.asarray(data.scale * work.grids[weight].scale, np.float32)
        zero = np.zeros(scale.shape, spec.qtype.dtype)
        work.grids[key(site)] = Grid(spec.qtype, scale, zero, 0 if scale.ndim else None)


def _make_room(site: Site, view: GraphView, weight: SiteKey, data: Grid, work: _Work) -> None:
    """Widen weight scales until the bias fits 2**30 steps of the product."""
    bias = np.abs(view.constants[site.tensor].astype(np.float64))
    grid = work.grids[weight]
    values = channel_range(view.constants[weight[0]], grid.axis)
    bias = bias.max() if grid.scale.ndim == 0 else np.broadcast_to(bias, grid.scale.shape)
    step = data.scale.astype(np.float64)
    dead = (values.hi == 0) & (values.lo == 0)
    needed = bias / (step * np.where(dead, BIAS_STEPS, BIAS_REACH))
    floor = np.maximum(needed, SMALLEST_SCALE / step)
    # a dead channel's scale is free until the first bias of a shared weight has chosen it
    free = dead & (grid.scale == fit(values, grid.qtype, grid.axis).scale)
    scale = np.where(free & (bias > 0), floor, np.maximum(grid.scale, floor)).astype(np.float32)
    if np.array_equal(scale, grid.scale):
        return
    work.grids[weight] = Grid(grid.qtype, np.asarray(scale), grid.zero_point, grid.axis)
    changed = int(np.count_nonzero((scale != grid.scale) & ~dead))
    if changed:
        work.widened[weight[0]] = changed, site.tensor


def _by_tensor(plan: Plan) -> Mapping[str, Sequence[Site]]:
    """The sites of each tensor, in the order of the plan."""
    found: dict[str, list[Site]] = {}
    for site in plan.sites:
        found.setdefault(site.tensor, []).append(site)
    return found


def _grid_read(sites: Mapping[str, Sequence[Site]], work: _Work, tensor: str, reader: str) -> Grid:
    """The grid on which ``reader`` sees ``tensor``."""
    for site in sites.get(tensor, ()):
        if not site.consumers or reader in site.consumers:
            return work.grids[key(site)]
    raise KeyError(f"{reader} reads {tensor} in float")
