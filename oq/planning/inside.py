"""Plans for the bodies of If, Loop and Scan: each is planned as a graph of its own.

What a body reads of the outer graph is an input of it, constants are its own, and a state that a
Loop carries stays in float as a state of a model does (:mod:`oq.planning.states`).  A tensor in it
is measured over all turns (:mod:`oq.model.carry_out`).
"""

import fnmatch
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from glob import escape
from typing import Literal, assert_never

import onnx

from oq.errors import ModelError
from oq.model.carry_out import LEAVING
from oq.model.graph import Graph
from oq.model.ops import BODIES, has_weight
from oq.model.submodels import Step, own_bodies, path_of
from oq.model.view import GraphView
from oq.planning.overrides import Overrides
from oq.planning.spec import Fixed, Own, Plan, Product, Scaled, Share, Site
from oq.planning.target import Target
from oq.prepare.infer_types import infer_types

NO_LAYERS = "no layer in its bodies is quantized"


@dataclass(frozen=True, slots=True)
class PackedWeights:
    """Weights in blocks of ``block`` inputs, as MatMulNBits with this ``accuracy_level``."""

    block: int
    accuracy_level: int


InBodies = Literal["calibrated", "at run time"] | PackedWeights
"""How layers in bodies are quantized: planned and calibrated as those of the main graph, or without
a plan (:mod:`oq.emission.bodies`), as products with ranges taken at run time or packed weights."""

Decide = Callable[[GraphView, Target, Overrides], Plan]


@dataclass(frozen=True, slots=True)
class Inside:
    """The body at ``steps`` in the prepared model: its graph, view and plan; ``states``: what each
    turn is given of the one before it -> what that gives on."""

    steps: tuple[Step, ...]
    graph: Graph
    view: GraphView
    plan: Plan
    states: Mapping[str, str]

    @property
    def path(self) -> str:
        """What stands in front of the names of its tensors and nodes, where they are told."""
        return path_of(self.steps)

    def decide(self, target: Target, overrides: Overrides, decide: Decide) -> Plan:
        """The plan that ``decide`` makes of the body with other ``overrides`` of the whole
        model."""
        own = replace(narrowed(overrides, self.view, self.path), states=self.states)
        return _of_layers(decide(self.view, target, own), target)


def how_in_bodies(target: Target) -> InBodies | None:
    """How ``target`` quantizes layers in bodies; None: they stay in float."""
    if target.at_run_time:
        return "at run time"
    if target.block is None:
        return "calibrated" if target.bodies else None
    if target.packs_blocks is None:
        return None
    return PackedWeights(target.block, target.packs_blocks)


def plans_bodies(target: Target) -> bool:
    """Whether bodies are planned as graphs of their own."""
    return how_in_bodies(target) == "calibrated"


def holds_layers(plan: Plan) -> bool:
    """Whether ``plan`` quantizes a layer with weights; without one, Q/DQ cost more than they
    save."""
    return any(has_weight(op) for group in plan.groups for op in group.ops)


def explain_bodies(plan: Plan, target: Target) -> Plan:
    """``plan`` with what ``target`` says of nodes whose bodies could be quantized, and are not."""
    if how_in_bodies(target) is None:
        return plan
    skips = (replace(s, reason=NO_LAYERS) if s.op in BODIES else s for s in plan.skips)
    return replace(plan, skips=tuple(skips))


def plan_inside(
    model: onnx.ModelProto, target: Target, overrides: Overrides, decide: Decide
) -> tuple[Inside, ...]:
    """The bodies of ``model`` that hold layers with weights, outer ones first; ``decide`` plans one
    graph.  None for a target that quantizes no bodies."""
    return tuple(_inside(model, (), target, overrides, decide)) if plans_bodies(target) else ()


def _inside(
    model: onnx.ModelProto,
    outer: tuple[Step, ...],
    target: Target,
    overrides: Overrides,
    decide: Decide,
) -> Iterator[Inside]:
    names = {t for node in model.graph.node for t in node.output}
    for body in own_bodies(model):
        steps = (*outer, *body.steps)
        clashes = any(name.startswith(body.path) for name in names)
        graph = None if clashes or body.op not in LEAVING else _typed(body.model)
        if graph is None:
            continue
        view = graph.view()
        if any(has_weight(n.op) for n in view.nodes):
            own = replace(narrowed(overrides, view, path_of(steps)), states=body.states)
            plan = _of_layers(decide(view, target, own), target)
            yield Inside(steps, graph, view, plan, body.states)
        yield from _inside(graph.to_model(), steps, target, overrides, decide)


def _of_layers(plan: Plan, target: Target) -> Plan:
    """The ``plan`` of a body, which quantizes nothing where no layer with weights is."""
    plan = explain_bodies(plan, target)
    return plan if holds_layers(plan) else replace(plan, sites=(), groups=())


def _typed(body: onnx.ModelProto) -> Graph | None:
    """``body`` with the types of its tensors; None where they cannot be known."""
    graph = Graph(body)
    try:
        infer_types(graph)
    except ModelError:
        return None
    return graph


def narrowed(overrides: Overrides, view: GraphView, path: str) -> Overrides:
    """What ``overrides`` say of the body ``view``, whose names may be given with or without its
    ``path`` in front."""
    nodes = [n.name for n in view.nodes]
    names = [*nodes, *(n.op for n in view.nodes), *view.tensors]
    kept = (glob for g in overrides.keep_float for glob in _here(g, nodes, path))
    layers = (
        replace(layer, glob=glob)
        for layer in overrides.layers
        for glob in _here(layer.glob, nodes if layer.keeps_float else names, path)
    )
    calibrators = (
        (glob, name) for g, name in overrides.calibrators for glob in _here(g, names, path)
    )
    return replace(
        overrides,
        keep_float=tuple(kept),
        layers=tuple(layers),
        calibrators=tuple(calibrators),
        apart={
            node.removeprefix(path): why
            for node, why in overrides.apart.items()
            if node.startswith(path)
        },
    )


def _here(pattern: str, names: Sequence[str], path: str) -> tuple[str, ...]:
    """``pattern`` if it matches one of ``names``, else those that it matches behind ``path``."""
    if any(fnmatch.fnmatchcase(name, pattern) for name in names):
        return (pattern,)
    return tuple(escape(n) for n in names if fnmatch.fnmatchcase(path + n, pattern))


def with_inside(plan: Plan, inside: Sequence[Inside]) -> Plan:
    """``plan`` with those of the bodies, whose names have the path of their body in front.

    A node with bodies is not a node in float where a layer in them is quantized.
    """
    hold = {
        path_of(body.steps[:i]) + node
        for body in inside
        if body.plan.sites
        for i, (node, _) in enumerate(body.steps)
    }
    groups = (
        replace(g, nodes=tuple(body.path + n for n in g.nodes))
        for body in inside
        for g in body.plan.groups
    )
    skips = (replace(s, node=body.path + s.node) for body in inside for s in body.plan.skips)
    refusals = (replace(r, node=body.path + r.node) for body in inside for r in body.plan.refusals)
    return replace(
        plan,
        sites=(*plan.sites, *(_told(s, body.path) for body in inside for s in body.plan.sites)),
        groups=(*plan.groups, *groups),
        skips=tuple(s for s in (*plan.skips, *skips) if s.node not in hold),
        refusals=(*plan.refusals, *refusals),
    )


def _told(site: Site, path: str) -> Site:
    """``site`` with ``path`` in front of its names."""
    spec = site.spec
    match spec:
        case Own():
            spec = replace(spec, over=tuple(path + t for t in spec.over))
        case Share() | Scaled():
            spec = replace(spec, source=path + spec.source)
        case Product():
            spec = replace(spec, data=path + spec.data, weight=path + spec.weight)
        case Fixed():
            pass
        case never:
            assert_never(never)
    readers = tuple(path + name for name in site.consumers)
    return replace(site, tensor=path + site.tensor, spec=spec, consumers=readers)
