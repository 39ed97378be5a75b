"""What stays in float because of what was measured: Concats whose operands do not fit one grid, and
layers in bodies that no sample runs.

A detector ends in a Concat of boxes in pixels and scores in 0..1.  On one grid of 256 levels that
holds the boxes, every score is rounded to 0 or 1, and no error of the whole output shows it.
"""

from collections.abc import Collection, Mapping, Sequence

from oq.model.operands import data_inputs
from oq.model.ops import JOINING
from oq.model.view import GraphView
from oq.numerics.statistics import Statistics
from oq.planning.inside import Inside
from oq.planning.setup import tensors_inside
from oq.planning.spec import Plan

UNSEEN = "no calibration sample runs it, so its ranges are not known"

LEVELS = 256

LEAST_LEVELS = 16
"""Levels of a common grid that the operand of the smallest range must keep."""


def concats_apart(
    view: GraphView, plan: Plan, statistics: Mapping[str, Statistics]
) -> dict[str, str]:
    """Node -> the reason, for each quantized Concat of ``plan`` of which an operand would keep less
    than :data:`LEAST_LEVELS` of 256 levels: ``256 * range(operand) / range(widest operand)``, where
    a range includes 0."""
    found: dict[str, str] = {}
    for node in (view.node(n) for group in plan.groups for n in group.nodes):
        if node.op not in JOINING:
            continue
        seen = [statistics[t] for t in dict.fromkeys(data_inputs(node)) if t in statistics]
        ranges = [max(s.hi, 0.0) - min(s.lo, 0.0) for s in seen if s.count]
        least, most = min(ranges, default=0.0), max(ranges, default=0.0)
        if 0 < LEVELS * least < LEAST_LEVELS * most:
            kept = max(1, round(LEVELS * least / most))
            found[node.name] = (
                f"one grid for ranges of {least:.3g} and {most:.3g} would leave the smaller one "
                f"{kept} of {LEVELS} levels"
            )
    return found


def layers_unseen(
    inside: Sequence[Inside], statistics: Mapping[str, Statistics], known: Collection[str]
) -> dict[str, str]:
    """Node -> the reason, for each node that is quantized in a body of which a tensor has no value
    in ``statistics`` and no ``known`` range: a branch that no sample takes."""
    found: dict[str, str] = {}
    for body in inside:
        seen = (statistics.get(t) for t in tensors_inside(body) if t not in known)
        if all(s and s.count + s.nonfinite + s.masked for s in seen):
            continue
        found |= {body.path + n: UNSEEN for group in body.plan.groups for n in group.nodes}
    return found
