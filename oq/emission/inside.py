"""Plans and grids of the bodies of If, Loop and Scan -> Q/DQ in these bodies."""

from collections.abc import Callable, Sequence
from functools import partial

import onnx

from oq.checks.judgement import OUTERMOST
from oq.checks.legal import check
from oq.emission.gather_codes import gather_codes
from oq.emission.keep_float import emit_guarded
from oq.emission.solve import Solution
from oq.model.graph import Graph
from oq.model.names import claim_name
from oq.model.ops import has_weight
from oq.model.submodels import Step, find_body, names_in, put_back, share_constants
from oq.planning.check import Finding
from oq.planning.inside import Inside
from oq.planning.target import Target


def emit_inside(
    model: onnx.ModelProto,
    inside: Sequence[Inside],
    solutions: Sequence[Solution],
    target: Target,
) -> tuple[tuple[str, ...], tuple[Finding, ...]]:
    """Quantize the bodies ``inside`` of the emitted ``model``, in place, each with the grids of its
    solution; returns the layers that are quantized, and what the checks of ``target`` find."""
    layers: list[str] = []
    findings: list[Finding] = []
    taken = names_in(model.graph)
    fresh = partial(claim_name, taken=taken)
    for body, solution in zip(inside, solutions, strict=True):
        if not body.plan.sites:
            continue
        body.graph.reserve(taken)
        emit_guarded(body.graph, body.plan, solution, target)
        gather_codes(body.graph)
        findings += (f for f in check(body.graph.view(), target) if f.check not in OUTERMOST)
        taken |= replace_body(model, body.steps, body.graph, fresh)
        layers += (
            body.path + node
            for group in body.plan.groups
            for node, op in zip(group.nodes, group.ops, strict=True)
            if has_weight(op)
        )
    if layers:
        share_constants(model.graph, fresh)
    return tuple(layers), tuple(findings)


def replace_body(
    model: onnx.ModelProto, steps: Sequence[Step], graph: Graph, fresh: Callable[[str], str]
) -> set[str]:
    """Let the body at ``steps`` of ``model`` compute what ``graph`` does, which was made of it;
    returns the names in it."""
    found, around = find_body(model.graph, steps)
    put_back(found, graph.to_model().graph, around, fresh)
    return names_in(found)
