"""Adds zero biases to layers without a bias, so that bias correction applies to them.

A layer without a bias, or whose BatchNormalization cannot be folded, has no constant that could
correct its mean error (:mod:`oq.refine.bias`).  A zero bias does not change the function:

    Conv(x, W) -> Conv(x, W, 0),   Gemm(x, W) -> Gemm(x, W, 0),   MatMul(x, W) -> MatMul(x, W) + 0

The last only if the target's kernel fuses the Add (``Target.adds_bias``).  The plan is made again
with the biases, and every grid it had before must stay.

No bias is added where the target quantizes biases with a scale of their own, which would be that of
zeros (the DPU), nor to a grouped ConvTranspose, whose weight does not determine the number of
output channels.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from oq.emission.add_bias import add_bias
from oq.errors import OptionError
from oq.model.graph import Graph
from oq.model.ops import bias_slot
from oq.planning.layers import Layer, find_layers
from oq.planning.setup import Planned, plan_graph
from oq.planning.spec import Own, Plan, QuantSpec, SiteKey, key
from oq.refine.subject import Change, Subject


def add_zero_biases(planned: Planned) -> tuple[Planned, frozenset[str]]:
    """``planned`` with a zero bias (channels,) for every layer that may get one, and the names of
    these constants; ``planned`` itself if there are none."""
    bare = list(_bare(planned))
    for chosen in (bare, [b for b in bare if b[1] is not None]):
        found = _given(planned, chosen)
        if found is not None:
            return found
    return planned, frozenset()


def drop_unused_biases(plain: Subject, subject: Subject, given: frozenset[str]) -> Subject | None:
    """The changes of ``subject`` applied to ``plain``, which lacks the ``given`` biases; None if
    one of them is used."""
    if any(np.any(subject.constants[name]) for name in given & set(subject.constants)):
        return None
    early, others = subject.early.without(given), subject.constants.without(given)
    made = replace(plain, solution=subject.solution)
    return (made.remade(Change(early)) if early else made).put(others)


def _bare(planned: Planned) -> Iterator[tuple[Layer, int | None, int]]:
    """The layers that can be given a bias, its slot (None: an Add behind), and its channels."""
    for layer in find_layers(planned.view, planned.plan):
        slot = bias_slot(layer.op)
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
        made = plan_graph(
            *(graph, planned.target, planned.overrides, planned.own), planned.plan.made
        )
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
