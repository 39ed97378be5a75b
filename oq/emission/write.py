"""Grids -> the final graph: Q/DQ, what the target requires of the whole graph, and the checks."""

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

import onnx

from oq.checks.legal import check
from oq.emission.bodies import Form, rewrite_bodies
from oq.emission.dynamic import quantize_data
from oq.emission.dynamic_bodies import AtRunTime
from oq.emission.emit import Placed
from oq.emission.float16 import to_float16
from oq.emission.fold_zero_points import fold_zero_points
from oq.emission.gather_codes import gather_codes
from oq.emission.inside import emit_inside
from oq.emission.keep_float import emit_guarded
from oq.emission.pack_blocks import pack_blocks
from oq.emission.pack_bodies import Blocks
from oq.emission.solve import Solution
from oq.errors import ModelError
from oq.model.garbage import uncollected
from oq.model.halves import store_halves
from oq.model.restore_types import restore_types
from oq.model.stored_arrays import held
from oq.numerics.grid import Grid
from oq.numerics.statistics import Statistics
from oq.numerics.values import Array, Range
from oq.planning.check import Finding
from oq.planning.inside import PackedWeights, how_in_bodies
from oq.planning.setup import Planned
from oq.planning.spec import Plan, SiteKey
from oq.planning.target import Target
from oq.wording import counted

CARRIED = (
    "{tensors} after a ReLU use all 256 int8 levels: the zero point is folded into biases, and "
    "QuantizeLinear saturates in place of the ReLU"
)

INSIDE = (
    "in bodies of If, Loop and Scan {what} of {layers} are {how}; neither a ranking nor a search "
    "reaches them"
)
PACKED = ("the weights", "in blocks, rounded to the nearest")
AT_RUN_TIME = ("the products", "computed in integers, with ranges taken at run time")
UNREFINED = (
    "in bodies of If, Loop and Scan {layers} run in integers, with ranges over all turns; "
    "refinement does not reach them"
)
WIDENED = (
    "the model is {own}: it was calibrated in float32, and its float rest is {rest} now; inputs "
    "and outputs keep their types"
)
"""For models of another type than float32."""

HALF = "float16"

COMPARED = "; where onnxruntime cannot run {own}, it is compared in float32"


@dataclass(frozen=True, slots=True)
class Written:
    """A graph with its Q/DQ, what the target's checks find in it, and remarks for the report;
    ``inside``: the layers in bodies of If, Loop and Scan that were quantized; ``plan`` and
    ``grids`` as they were emitted, with where each site is (``placed``)."""

    model: onnx.ModelProto
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    inside: tuple[str, ...]
    plan: Plan
    grids: Mapping[SiteKey, Grid]
    placed: Mapping[SiteKey, Placed]
    ranges: Mapping[str, Range] = field(default_factory=dict)
    """Those of activations in bodies, by names with the path of the body in front."""


@uncollected
def write_graph(
    planned: Planned,
    constants: Mapping[str, Array],
    solution: Solution,
    seen: Mapping[str, Statistics],
    inside: Sequence[Solution] = (),
) -> Written:
    """The graph with ``constants`` replaced and Q/DQ inserted, the findings of the target's checks,
    and notes on what stays in float32.  ``inside``: the grids of the bodies that are planned; none
    leaves these in float."""
    for tensor, values in held(constants):
        planned.graph.set_constant(tensor, values)
    plan, carried = planned.plan, 0
    if planned.target.carries_zero_points:
        plan, solution, carried = fold_zero_points(planned.graph, plan, solution)
    placed = emit_guarded(planned.graph, plan, solution, planned.target)
    notes: tuple[str, ...] = ()
    if carried:
        notes = (CARRIED.format(tensors=counted(carried, "tensor")),)
    own, rest = planned.own, planned.target.high_precision
    restore_types(planned.graph, own.inputs, own.outputs)
    if own.most is not None:
        few = "" if own.most == HALF else COMPARED
        notes += ((WIDENED + few).format(own=own.most, rest=rest),)
    if rest == HALF:
        peaks = {t: inf if s.masked else max(-s.lo, s.hi) for t, s in seen.items() if s.count}
        notes += to_float16(planned.graph, peaks, own.singles)
    gather_codes(planned.graph)
    if planned.target.at_run_time:
        quantize_data(planned.graph)
    findings = check(planned.graph.view(), planned.target)
    _insist(findings)
    if planned.target.packs_blocks is not None:
        pack_blocks(planned.graph, planned.target.packs_blocks)
    made = planned.graph.to_model()
    layers = _quantize_bodies(made, planned)
    if layers:
        what, how = AT_RUN_TIME if planned.target.at_run_time else PACKED
        notes += (INSIDE.format(layers=counted(len(layers), "layer"), what=what, how=how),)
    if inside:
        layers, more = emit_inside(made, planned.inside, inside, planned.target)
        _insist(more)
        findings += more
        notes += tuple(note for solved in inside for note in solved.notes)
        if layers:
            notes += (UNREFINED.format(layers=counted(len(layers), "layer")),)
    if own.most == HALF:
        store_halves(made)
    pairs = zip(planned.inside, inside, strict=bool(inside))
    ranges = {body.path + t: r for body, solved in pairs for t, r in solved.ranges.items()}
    return Written(made, findings, notes, layers, plan, solution.grids, placed, ranges)


def _quantize_bodies(model: onnx.ModelProto, planned: Planned) -> tuple[str, ...]:
    """The layers inside bodies that were quantized, which needs no data."""
    kept, form = planned.overrides.kept, _form_inside(planned.target)
    if form is None or planned.overrides.only is not None:
        return ()
    return rewrite_bodies(
        model, form, lambda name: any(fnmatch.fnmatchcase(name, glob) for glob in kept)
    )


def _form_inside(target: Target) -> Form | None:
    """What products in bodies without a plan become; None where there are none."""
    match how_in_bodies(target):
        case "at run time":
            return AtRunTime(target.weights, target.weight_range)
        case PackedWeights(block, accuracy_level):
            return Blocks(target.weights, block, target.weight_range, accuracy_level)
    return None


def _insist(findings: tuple[Finding, ...]) -> None:
    """A file that oq wrote must pass its own checks; if not, that is our bug, not the user's."""
    errors = [f for f in findings if f.severity == "error"]
    foreign = next((f for f in errors if f.check == "only-qdq"), None)
    if foreign is not None:  # oq writes no integer operators: the model came with them
        raise ModelError(f"node {foreign.node!r}: {foreign.message}; give the float model")
    if errors:
        first = errors[0]
        raise RuntimeError(
            f"oq wrote an illegal graph ({len(errors)} errors): [{first.check}] {first.node}: "
            f"{first.message}"
        )
