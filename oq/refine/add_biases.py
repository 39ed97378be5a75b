"""Layers that have no bias get one of zeros, so that there is something to correct.

A layer made without a bias, or whose BatchNormalization cannot be folded, has no constant that
could take its mean error back (:mod:`oq.refine.bias`).  A bias of zeros changes nothing by itself:

    Conv(x, W) -> Conv(x, W, 0),   Gemm(x, W) -> Gemm(x, W, 0),   MatMul(x, W) -> MatMul(x, W) + 0

The last one only where the target's kernel takes the Add in (``Target.adds_bias``).  The plan is
made anew with the biases in, and every grid that it had must stay where it was.

Left without are layers whose bias the target gives a grid of its own, which would be that of
zeros (the DPU), and a grouped ConvTranspose, whose weight does not say how many channels leave it.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from oq.emission.add_bias import add_bias
from oq.errors import OptionError
from oq.model.graph import Graph
from oq.planning.layers import Layer, facts_bias, find_layers
from oq.planning.setup import Planned, plan_graph
from oq.planning.spec import Own, Plan, QuantSpec, SiteKey, key
from oq.refine.subject import Change, Subject


def add_zero_biases(planned: Planned) -> tuple[Planned, frozenset[str]]:
    """``ready`` with a bias of zeros (channels,) for every layer that the target lets have one, and
    the names of these constants; ``ready`` itself where there are none."""
    bare = list(_bare(planned))
    for chosen in (bare, [b for b in bare if b[1] is not None]):
        found = _given(planned, chosen)
        if found is not None:
            return found
    return planned, frozenset()


def drop_unused_biases(plain: Subject, subject: Subject, given: frozenset[str]) -> Subject | None:
    """What ``subject`` has become, done to ``plain``, which has no ``given`` biases; None where one
    of them is used."""
    if any(np.any(values) for name, values in subject.constants.items() if name in given):
        return None
    early = {n: v for n, v in subject.early.items() if n not in given}
    others = {n: v for n, v in subject.constants.items() if n not in given}
    made = replace(plain, solution=subject.solution)
    return (made.remade(Change(early)) if early else made).put(others)


def _bare(planned: Planned) -> Iterator[tuple[Layer, int | None, int]]:
    """The layers that can be given a bias, its slot (None: an Add behind), and its channels."""
    for layer in find_layers(planned.view, planned.plan):
        slot = facts_bias(planned.view.node(layer.node))
        possible = slot is not None or layer.op in planned.target.adds_bias
        if layer.may_get_bias and possible:
            yield layer, slot, planned.view.constants[layer.weight].shape[layer.weight_axis]


def _given(
    planned: Planned, bare: list[tuple[Layer, int | None, int]]
) -> tuple[Planned, frozenset[str]] | None:
    """``ready`` with biases for ``bare`` layers; None where there are none, or where the plan would
    become another one."""
    if not bare:
        return None
    graph = Graph(planned.model)
    given, adds = set(), set()
    for layer, _, channels in bare:
        bias, behind = add_bias(graph, layer, np.zeros(channels, np.float32))
        given.add(bias)
        if behind is not None:
            adds.add(behind)
    try:
        made = plan_graph(graph, planned.target, planned.overrides)
    except OptionError:  # the user speaks of layers that would not be there any more
        return None
    inside = {n for g in made.plan.groups for n in g.nodes[1:]}
    if not adds <= inside or _specs(made.plan, given) != _specs(planned.plan, set()):
        return None
    if any(s.tensor in given and isinstance(s.spec, Own) for s in made.plan.sites):
        return None
    return made, frozenset(given)


def _specs(plan: Plan, but: set[str]) -> dict[SiteKey, QuantSpec]:
    return {key(s): s.spec for s in plan.sites if s.tensor not in but}
