"""Grids -> a legal graph: emit, what the target wants done to the whole of it, and its checks."""

from collections.abc import Mapping
from math import inf

import onnx

from oq.carry import carry_zero_points
from oq.emit import emit
from oq.guard import guard
from oq.half import to_float16
from oq.legal import Finding, check
from oq.ready import Ready
from oq.refine.subject import Subject
from oq.report import counted
from oq.statistics import Statistics

CARRIED = (
    "{tensors} behind a ReLU with all 256 codes: biases carry the zero point, and int8 saturates "
    "where the ReLU did"
)


def write_graph(
    ready: Ready, subject: Subject, seen: Mapping[str, Statistics]
) -> tuple[onnx.ModelProto, tuple[Finding, ...], tuple[str, ...]]:
    """The graph with its Q/DQ, what the target's checks find in it, and what stays in float32."""
    for tensor, values in subject.constants.items():
        ready.graph.set_constant(tensor, values)
    plan, solution, carried = ready.plan, subject.solution, 0
    if ready.target.carries_zero_points:
        plan, solution, carried = carry_zero_points(ready.graph, plan, solution)
    emit(ready.graph, plan, solution)
    if ready.target.guarded:
        guard(ready.graph, {s.node for s in ready.plan.skips})
    notes: tuple[str, ...] = ()
    if carried:
        notes = (CARRIED.format(tensors=counted(carried, "tensor")),)
    if ready.target.high_precision == "float16":
        peaks = {t: inf if s.masked else max(-s.lo, s.hi) for t, s in seen.items() if s.count}
        notes += to_float16(ready.graph, peaks)
    findings = check(ready.graph.view(), ready.target)
    _insist(findings)
    return ready.graph.to_model(), findings, notes


def _insist(findings: tuple[Finding, ...]) -> None:
    """A file that oq wrote must pass its own checks; if not, that is our bug, not the user's."""
    errors = [f for f in findings if f.severity == "error"]
    if errors:
        first = errors[0]
        raise RuntimeError(
            f"oq wrote an illegal graph ({len(errors)} errors): [{first.check}] {first.node}: "
            f"{first.message}"
        )
