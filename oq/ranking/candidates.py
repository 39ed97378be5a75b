"""What is ranked: the kernels of a plan, and variants of the plan without some of them.

Layers in bodies of If, Loop and Scan that have a plan of their own are named with the path of the
body in front, as ``--keep-float`` names them.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from glob import escape

from oq.emission.solve import Solution
from oq.model.cost import macs
from oq.model.ops import anchor, only_moves
from oq.model.view import GraphView
from oq.numerics.statistics import Statistics
from oq.numerics.values import Batch
from oq.parallel import Workers
from oq.planning.setup import Planned, decide
from oq.planning.spec import Group, Plan, Site, SiteKey, key
from oq.ranking.variants import Bench, Part, PlannedBody, open_bench
from oq.refine.recalibrate import Calibration


@dataclass(frozen=True, slots=True)
class Solved:
    """A plan in which the layers stay in float that no sample runs, its grids, and its bodies."""

    planned: Planned
    solution: Solution
    bodies: tuple[PlannedBody, ...]

    def open_bench(
        self, batches: Iterable[Batch], jobs: int = 1, workers: Workers | None = None
    ) -> AbstractContextManager[Bench]:
        """What evaluates variants of the plan on ``batches``."""
        given = self.planned.model, self.planned.plan, self.solution
        return open_bench(*given, batches, jobs, workers, self.bodies)


def solve_all(calibration: Calibration, statistics: Mapping[str, Statistics]) -> Solved:
    """The grids of the plan of ``calibration`` and of its bodies."""
    calibration = calibration.of_seen(statistics)
    inside = zip(calibration.planned.inside, calibration.solve_inside(statistics), strict=True)
    bodies = (PlannedBody(b.steps, b.graph.to_model(), b.plan, grids) for b, grids in inside)
    return Solved(calibration.planned, calibration.solve(statistics), tuple(bodies))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A kernel, named after its node with weights, else its first; ``output`` is its output, and
    ``macs`` are its multiply-accumulates per sample, in a body those of one turn."""

    node: str
    ops: tuple[str, ...]
    parameters: tuple[Part, ...]
    activations: tuple[Part, ...]
    output: str
    macs: int


def find_candidates(planned: Planned) -> tuple[Candidate, ...]:
    """The kernels that have sites of their own, in the order of the graph, those in bodies last.

    Kernels that only move values have none: their grids belong to the layers downstream.
    """
    found = list(_kernels(planned.plan, planned.view, ""))
    for body in planned.inside:
        found += _kernels(body.plan, body.view, body.path)
    return tuple(found)


def _kernels(plan: Plan, view: GraphView, path: str) -> Iterator[Candidate]:
    """Those of the graph ``view``, which lies at ``path``."""
    groups = [g for g in plan.groups if not all(map(only_moves, g.ops))]
    claimed = {n for g in groups for n in g.nodes}
    for group in groups:
        parts: dict[bool, list[Part]] = {True: [], False: []}
        for site in plan.sites:
            readers = _readers(site, view)
            nodes = tuple(n for n in readers if n in group.nodes)
            if nodes or (claimed.isdisjoint(readers) and _computes(group, site, view)):
                part = Part(replace(site, consumers=nodes), key(site), path)
                parts[site.role == "activation"].append(part)
        if parts[True] or parts[False]:
            yield Candidate(
                path + anchor(group.nodes, group.ops),
                group.ops,
                tuple(parts[False]),
                tuple(parts[True]),
                path + view.node(group.nodes[-1]).outputs[0],
                sum(macs(view, view.node(name)) or 0 for name in group.nodes),
            )


def _computes(group: Group, site: Site, view: GraphView) -> bool:
    producer = view.producer(site.tensor)
    return producer is not None and producer.name in group.nodes


def _readers(site: Site, view: GraphView) -> tuple[str, ...]:
    return site.consumers or tuple(n.name for n in view.consumers(site.tensor))


def parts_without(planned: Planned, layers: Iterable[Candidate]) -> tuple[Part, ...]:
    """The sites of ``--keep-float`` for all of ``layers``, with the grids of the complete plan.

    A site that only such a plan has is left out, since no range was measured for it.
    """
    target, overrides = planned.target, planned.overrides
    kept = (*overrides.keep_float, *(escape(layer.node) for layer in layers))
    overrides = replace(overrides, keep_float=kept)
    found = list(_measured(decide(planned.view, target, overrides), planned.plan, ""))
    for body in planned.inside:
        found += _measured(body.decide(target, overrides, decide), body.plan, body.path)
    return tuple(found)


def _measured(plan: Plan, whole: Plan, path: str) -> Iterator[Part]:
    """The sites of ``plan`` whose grids the ``whole`` plan has."""
    for site in plan.sites:
        origin = _origin(site, whole)
        if origin is not None:
            yield Part(site, origin, path)


def _origin(site: Site, whole: Plan) -> SiteKey | None:
    alike = [s for s in whole.sites if (s.tensor, s.role) == (site.tensor, site.role)]
    mine = set(site.consumers)
    near = [s for s in alike if not s.consumers or not mine or mine & set(s.consumers)]
    return next((key(s) for s in (*near, *alike)), None)
