"""Everything that is determined before calibration: target, calibrators, prepared model and
plan."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import onnx

from oq.errors import OptionError
from oq.model.garbage import uncollected
from oq.model.graph import Graph
from oq.model.operands import data_inputs
from oq.model.ops import BODIES, JOINING
from oq.model.view import GraphView
from oq.numerics.calibrator import Methods, needs_beyond
from oq.numerics.statistics import Need
from oq.planning import registry
from oq.planning.inside import (
    Inside,
    explain_bodies,
    holds_layers,
    plan_inside,
    plans_bodies,
    with_inside,
)
from oq.planning.left_inside import Left, LeftInside, with_left
from oq.planning.outputs import never_clip_logits
from oq.planning.overrides import Overrides, apply_layers, least_opset
from oq.planning.own_layers import made_layers
from oq.planning.plan import plan as make_plan
from oq.planning.spec import Own, Plan, measured_at
from oq.planning.target import Target, with_options
from oq.planning.zero_points import assign_zero_points
from oq.prepare.bodies import prepare_bodies
from oq.prepare.order import prepare
from oq.prepare.widen_floats import FLOAT32, OwnTypes, is_float16


def choose_target(name: str, settings: Mapping[str, Any]) -> tuple[Target, dict[str, Any]]:
    """The target called ``name`` with its own settings applied, and the remaining settings, which
    belong to the calibrators.

    Raises:
        OptionError: there is no such target, or a setting has no such value.
    """
    target = registry.target(name)
    options = target.options if target.options is not None else {}
    own = {key: _spell(value) for key, value in settings.items() if key in options}
    for key in settings:
        others = [] if key in own else _targets_with(key)
        if others:
            have = " and ".join(others) + (" have it" if len(others) > 1 else " has it")
            raise OptionError(f"--set {key}: target {name} has no such option; {have}")
    return with_options(target, own), {k: v for k, v in settings.items() if k not in own}


def _spell(value: Any) -> str:
    """``value`` as it is written behind ``--set``; YAML reads on and off as a truth value."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def _targets_with(option: str) -> list[str]:
    """The names of the targets that have ``option``."""
    return [n for n in registry.names("targets") if option in (registry.target(n).options or {})]


def own_target(name: str, settings: Mapping[str, Any] | None) -> Target:
    """The target called ``name`` with ``settings``, all of which must be target options.

    Raises:
        OptionError: there is no such target, option or value.
    """
    target, rest = choose_target(name, settings or {})
    for key in rest:
        has = ", ".join(target.options or {}) or "none"
        raise OptionError(f"--set {key}: target {name} has no such option; it has: {has}")
    return target


def make_methods(default: str, settings: Mapping[str, Any], overrides: Overrides) -> Methods:
    """The calibrators of a run, with their settings.

    Raises:
        OptionError: no such calibrator or setting, or a setting of one that is not used.
    """
    named = (w.calibrator for w in overrides.all_layers if w.calibrator is not None)
    used = dict.fromkeys((default, *named))
    own: dict[str, dict[str, Any]] = {name: {} for name in used}
    for key, value in settings.items():
        name, dot, setting = key.rpartition(".")
        owner = name if dot else default
        if owner not in own:
            raise OptionError(
                f"--set {key}: calibrator {owner!r} is not used; it has {', '.join(own)}"
            )
        own[owner][setting] = value
    made = {name: registry.calibrator(name, own[name]) for name in used}
    return Methods(made[default], made)


@dataclass(frozen=True, slots=True)
class Planned:
    """The prepared graph, its float model and view, the plan, the overrides it was made with, the
    types of the model that the user gave, the plans of bodies of If, Loop and Scan, and the layers
    of bodies without one."""

    target: Target
    graph: Graph
    model: onnx.ModelProto
    view: GraphView
    plan: Plan
    overrides: Overrides
    own: OwnTypes = FLOAT32
    inside: tuple[Inside, ...] = ()
    left: tuple[Left, ...] = ()

    @property
    def whole(self) -> Plan:
        """The plan of the main graph, with the plans of the bodies and the layers left in them."""
        return with_left(with_inside(self.plan, self.inside), self.left)

    @property
    def views(self) -> dict[str, GraphView]:
        """The path of each body with a plan, "" for the main graph -> its view."""
        return {"": self.view, **{body.path: body.view for body in self.inside}}


@uncollected
def plan_model(model: onnx.ModelProto, profile: Target, overrides: Overrides) -> Planned:
    """``model`` prepared and planned for the target ``profile``."""
    if profile.for_float16 is not None and is_float16(model):
        profile = profile.for_float16(profile)
    least = least_opset(profile, overrides.all_layers)
    prepared = prepare(model, least, profile.passes)
    nodes = ((node.name, node.op) for node in prepared.graph.view().nodes)
    made = made_layers(nodes, {node.name: node.op_type for node in model.graph.node})
    graph = prepared.graph
    if plans_bodies(profile) and any(n.op in BODIES for n in graph.view().nodes):
        chosen = partial(_gains_inside, profile=profile, overrides=overrides)
        graph = prepare_bodies(graph, profile.passes, chosen)
    return plan_graph(graph, profile, overrides, prepared.own, made)


def _gains_inside(view: GraphView, profile: Target, overrides: Overrides) -> bool:
    """Whether a layer of the body ``view`` is quantized with any overrides."""
    return holds_layers(decide(view, profile, Overrides(mode=overrides.mode)))


def plan_graph(
    graph: Graph,
    profile: Target,
    overrides: Overrides,
    own: OwnTypes = FLOAT32,
    made: tuple[str, ...] = (),
) -> Planned:
    """A prepared ``graph`` with its plan for the target ``profile``; ``own``: the types that the
    model had before it was prepared; ``made``: see :class:`Plan`."""
    view = graph.view()
    plan = apply_layers(decide(view, profile, overrides), view, profile, overrides.all_layers)
    model = graph.to_model()
    inside = plan_inside(model, profile, overrides, decide_inside)
    plan = replace(explain_bodies(plan, profile), made=made)
    known = {body.path for body in inside}
    holds = any(n.inner for n in view.nodes)
    left = LeftInside(model, profile, overrides, known).told() if holds else ()
    return Planned(profile, graph, model, view, plan, overrides, own, inside, left)


def replan(planned: Planned, apart: Mapping[str, str]) -> Planned:
    """``planned`` with the nodes of ``apart`` in float too."""
    overrides = replace(planned.overrides, apart={**planned.overrides.apart, **apart})
    return plan_graph(*(planned.graph, planned.target, overrides, planned.own), planned.plan.made)


def decide_inside(view: GraphView, profile: Target, overrides: Overrides) -> Plan:
    """The plan of a body, with all ``overrides``, which are its own."""
    plan = decide(view, profile, overrides)
    return apply_layers(plan, view, profile, overrides.all_layers, inside=True)


def decide(view: GraphView, profile: Target, overrides: Overrides) -> Plan:
    """The plan of ``view`` with ``overrides``, except those that change the settings of single
    layers."""
    naive = overrides.mode == "naive"
    how = {"apart": overrides.apart, "states": overrides.states}
    plan = make_plan(view, profile, overrides.kept, only=overrides.only, naive=naive, **how)
    if overrides.calibrator is None:
        plan = never_clip_logits(plan, view)
    return assign_zero_points(plan, view) if profile.carries_zero_points else plan


def float16_tensors(planned: Planned) -> tuple[str, ...]:
    """The outputs of float nodes, whose extremes decide whether they fit in float16."""
    if planned.target.high_precision != "float16":
        return ()
    view = planned.view
    made = (t for n in view.nodes for t in n.outputs if t and not view.is_constant(t))
    return tuple(t for t in made if view.tensors[t].dtype == "float32")


def joined_tensors(planned: Planned) -> tuple[str, ...]:
    """What quantized Concats join: their ranges decide whether one grid holds all of it."""
    view = planned.view
    nodes = (view.node(n) for g in planned.plan.groups for n in g.nodes)
    joined = (t for n in nodes if n.op in JOINING for t in data_inputs(n))
    return tuple(t for t in joined if not view.is_constant(t) and view.is_float(t))


def needs_of(planned: Planned, methods: Methods, watch: bool = False) -> dict[str, frozenset[Need]]:
    """Per tensor to calibrate, the statistics its calibrator needs beyond counts and extremes; with
    ``watch`` also the tensors of :func:`float16_tensors` and :func:`joined_tensors`, of which only
    the extremes are needed."""
    watched = (*float16_tensors(planned), *joined_tensors(planned)) if watch else ()
    needs: dict[str, frozenset[Need]] = {t: frozenset() for t in watched}
    parts = (("", planned.view, planned.plan), *((b.path, b.view, b.plan) for b in planned.inside))
    for path, view, plan in parts:
        for site in plan.sites:
            if isinstance(site.spec, Own) and not view.is_constant(site.tensor):
                wanted = needs_beyond(methods.of(site.spec.calibrator)) - {Need.READERS}
                for tensor in measured_at(site):
                    needs[path + tensor] = needs.get(path + tensor, frozenset()) | wanted
    return needs


def all_to_calibrate(planned: Planned) -> tuple[str, ...]:
    """:func:`tensors_to_calibrate`, and those in bodies."""
    own = tensors_to_calibrate(planned.plan, planned.view)
    return (*own, *(t for body in planned.inside for t in tensors_inside(body)))


def tensors_inside(body: Inside) -> tuple[str, ...]:
    """:func:`tensors_to_calibrate` of ``body``, as the outer graph calls them."""
    return tuple(body.path + t for t in tensors_to_calibrate(body.plan, body.view))


def tensors_to_calibrate(plan: Plan, view: GraphView) -> tuple[str, ...]:
    """The tensors whose range must be measured: activations with a grid of their own."""
    wanted = [t for s in plan.sites for t in measured_at(s)]
    return tuple(dict.fromkeys(t for t in wanted if not view.is_constant(t)))
