"""Changes solved grids until every shift is within the DPU's limits.

Tensors around a Concat, pool, Pad or Slice get the smallest of their positions.  Then the rows of
:mod:`oq.dpu.positions` repair one kernel after the other, until a whole round changes nothing.
Weights are still float here, so the position of a weight may change too.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from oq.dpu.places import Place, find_places
from oq.dpu.positions import ALIGNED, floors, violations
from oq.dpu.scales import position_of
from oq.errors import ModelError
from oq.model.view import GraphView
from oq.numerics.grid import Grid
from oq.planning.spec import Plan, Site, SiteKey, key
from oq.planning.target import Grids, Legalized

ROUNDS = 50
"""Repairs only increase scales, so a few rounds suffice; more mean that two constraints
conflict."""

SHOWN = 4


def legalize(plan: Plan, view: GraphView, grids: Grids) -> Legalized:
    """``grids`` changed so that every inequality of :mod:`oq.dpu.positions` holds.

    Raises:
        ModelError: two constraints of one kernel cannot hold at once.
    """
    names = _names(plan, grids)
    places = tuple(find_places(view, _Reader(plan, names), _Writer(plan, view, names)))
    before = {names[key(s)]: _position(grids[key(s)]) for s in plan.sites}
    after, moved = solve_positions(places, before)
    made = {n: _grid(grids[k], after[n]) for k, n in names.items()}
    return Legalized({k: made[n] for k, n in names.items()}, _notes(before, after, moved))


def solve_positions(
    places: Iterable[Place], positions: Mapping[str, int]
) -> tuple[dict[str, int], dict[str, str]]:
    """(position of each grid, row that changed it last), with all ``places`` legal.

    Raises:
        ModelError: they cannot be.
    """
    work = _Work(tuple(places), dict(positions))
    last = ""
    for _ in range(ROUNDS):
        settled = True
        for place in work.places:
            for row, violation in violations(place, work.at):
                settled, last = False, f"{place.node!r}: {violation.message}"
                for grid, position in violation.moves.items():
                    work.move(place, grid, position, row)
        if settled:
            return work.at, work.moved
    raise ModelError(
        f"no positions satisfy the DPU's constraints: {last}, and fixing it violates another one; "
        "keep one of these layers in float (--keep-float)"
    )


@dataclass(slots=True)
class _Work:
    """Positions under repair.  ``classes``: grid -> all that alignment ties to it; ``floors``: grid
    -> the least position it may have."""

    places: tuple[Place, ...]
    at: dict[str, int]
    moved: dict[str, str] = field(default_factory=dict)
    classes: dict[str, tuple[str, ...]] = field(init=False)
    floors: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.classes = _classes(self.places, self.at)
        for place in self.places:
            for grid, least in floors(place).items():
                for member in self.classes[grid]:
                    self.floors[member] = max(least, self.floors.get(member, least))
        for members in self.classes.values():
            self._set(members[0], min(self.at[m] for m in members), ALIGNED.name)

    def move(self, place: Place, grid: str, position: int, row: str) -> None:
        """Move ``grid`` and its class; where a floor is in the way, what the kernel reads gets as
        much finer as was missing, though it may be cut off."""
        least = max(position, self.floors.get(grid, position))
        self._set(grid, least, row)
        if least > position:
            finer = min(place.inputs, key=lambda g: self.at[g])
            finer = finer if place.weight is None else place.weight
            self._set(finer, self.at[finer] + least - position, row)

    def _set(self, grid: str, position: int, row: str) -> None:
        for member in self.classes[grid]:
            if self.at[member] != position:
                self.at[member], self.moved[member] = position, row


def _classes(places: Iterable[Place], positions: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """Grid -> all grids that alignment ties to it, itself included."""
    classes: dict[str, tuple[str, ...]] = {grid: (grid,) for grid in positions}
    for place in places:
        if place.op not in ALIGNED.ops:
            continue
        around = (*place.inputs, *((place.output,) if place.output is not None else ()))
        whole = tuple(dict.fromkeys(m for grid in around for m in classes[grid]))
        classes |= dict.fromkeys(whole, whole)
    return classes


def _names(plan: Plan, grids: Grids) -> dict[SiteKey, str]:
    """A name for each grid object, that of the first tensor on it."""
    found: dict[int, str] = {}
    names: dict[SiteKey, str] = {}
    for site in plan.sites:
        grid = grids[key(site)]
        wish = site.tensor
        while id(grid) not in found and wish in found.values():
            wish += "'"
        names[key(site)] = found.setdefault(id(grid), wish)
    return names


@dataclass(slots=True)
class _Reader:
    """(tensor, node) -> the grid on which the node reads it."""

    plan: Plan
    names: Mapping[SiteKey, str]
    sites: dict[str, list[Site]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for site in self.plan.sites:
            self.sites.setdefault(site.tensor, []).append(site)

    def __call__(self, tensor: str, node: str) -> str | None:
        fits = (s for s in self.sites.get(tensor, ()) if not s.consumers or node in s.consumers)
        site = next(fits, None)
        return None if site is None else self.names[key(site)]


@dataclass(slots=True)
class _Writer:
    """tensor -> the grid it is rounded to."""

    plan: Plan
    view: GraphView
    names: Mapping[SiteKey, str]
    written: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for site in self.plan.sites:
            if not self.view.is_constant(site.tensor):
                self.written.setdefault(site.tensor, self.names[key(site)])

    def __call__(self, tensor: str) -> str | None:
        return self.written.get(tensor)


def _position(grid: Grid) -> int:
    found = position_of(grid.scale)
    if found is None:
        raise ValueError(f"scale {grid.scale} of a DPU grid is not a power of two")
    return found


def _grid(grid: Grid, position: int) -> Grid:
    scale = np.ldexp(np.ones(grid.scale.shape, np.float32), -position)
    return Grid(grid.qtype, np.asarray(scale), grid.zero_point, grid.axis)


def _notes(
    before: Mapping[str, int], after: Mapping[str, int], moved: Mapping[str, str]
) -> tuple[str, ...]:
    """One remark per row that moved something."""
    by_row: dict[str, list[str]] = {}
    for grid, row in moved.items():
        if before[grid] != after[grid]:
            by_row.setdefault(row, []).append(f"{grid!r} {before[grid]} -> {after[grid]}")
    return tuple(
        f"{row}: the positions of {len(found)} tensors were changed so that the shifts are "
        "within the DPU's limits: "
        f"{', '.join(found[:SHOWN])}{', ...' if len(found) > SHOWN else ''}"
        for row, found in by_row.items()
    )
