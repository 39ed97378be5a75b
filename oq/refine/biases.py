"""Layers that have no bias get one of zeros, so that there is something to correct.

A convolution exported without its BatchNormalization folded, or made with ``bias=False``, has no
constant that could take its mean error back (:mod:`oq.refine.bias`).  A bias of zeros changes
nothing by itself; which layers get one is the plan's business, asked anew with the biases in:
every grid it had must stay where it was.

What stays without a bias: a MatMul that no Add follows (an Add would be a node more, see
:func:`_slot`), a layer whose bias the target gives a grid of its own before its values are known
(the DPU), and a grouped ConvTranspose, whose weight does not say how many channels leave it.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from oq.graph import Graph
from oq.ready import Ready, plan_graph
from oq.refine.layers import NO_BIAS, Layer, facts_bias, find_layers
from oq.refine.subject import Subject
from oq.spec import Own, Plan, SiteKey, key
from oq.view import GraphView


def give_biases(ready: Ready) -> tuple[Ready, frozenset[str]]:
    """``ready`` with a bias of zeros (channels,) for every layer that the target lets have one, and
    the names of these constants; ``ready`` itself where there are none."""
    bare = list(_bare(ready.view, ready.plan))
    if not bare:
        return ready, frozenset()
    graph = Graph(ready.model)
    given = set()
    for layer, slot, channels in bare:
        bias = graph.add_constant(f"{layer.node}_bias", np.zeros(channels, np.float32))
        graph.set_input(layer.node, slot, bias)
        given.add(bias)
    made = plan_graph(graph, ready.target, ready.wishes)
    if _keys(made.plan, given) != _keys(ready.plan, set()) or _own(made.plan, given):
        return ready, frozenset()
    return made, frozenset(given)


def drop_biases(plain: Subject, subject: Subject, given: frozenset[str]) -> Subject | None:
    """What ``subject`` has become, done to ``plain``, which has no ``given`` biases; None where one
    of them is used."""
    if any(np.any(values) for name, values in subject.constants.items() if name in given):
        return None
    early = {n: v for n, v in subject.early.items() if n not in given}
    others = {n: v for n, v in subject.constants.items() if n not in given}
    made = replace(plain, solution=subject.solution)
    return (made.remade(early) if early else made).put(others)


def _bare(view: GraphView, plan: Plan) -> Iterator[tuple[Layer, int, int]]:
    """The layers without a bias, the slot for it, and its channels."""
    for layer in find_layers(view, plan):
        slot = _slot(view, layer)
        if slot is not None and layer.why == NO_BIAS:
            yield layer, slot, view.constants[layer.weight].shape[layer.weight_axis]


def _slot(view: GraphView, layer: Layer) -> int | None:
    """Where the bias of ``layer`` goes; None where there is no place for one.

    A MatMul has none: its bias would be an Add behind it.
    """
    grouped = int(str(layer.attributes.get("group", 1))) > 1
    if grouped and layer.weight_axis != 0:
        return None
    return facts_bias(view.node(layer.node))


def _keys(plan: Plan, but: set[str]) -> set[SiteKey]:
    return {key(s) for s in plan.sites if s.tensor not in but}


def _own(plan: Plan, tensors: set[str]) -> bool:
    return any(s.tensor in tensors and isinstance(s.spec, Own) for s in plan.sites)
