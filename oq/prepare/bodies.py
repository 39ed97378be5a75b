"""The bodies of If, Loop and Scan, prepared as the main graph is.

Only bodies that are to be quantized are changed, and those around them; who calls says which
(``chosen``).  :mod:`oq.planning.inside` plans what comes out.
"""

from collections.abc import Callable
from functools import partial

import onnx

from oq.errors import ModelError
from oq.model.carry_out import LEAVING
from oq.model.graph import Graph
from oq.model.names import claim_name
from oq.model.submodels import Body, find_body, names_in, own_bodies, put_back
from oq.model.view import GraphView
from oq.prepare.order import steps_of

Chosen = Callable[[GraphView], bool]

OUTERMOST = frozenset({"widen_input"})
"""Passes for the inputs of a model, which a body does not have."""


def prepare_bodies(graph: Graph, requested: tuple[str, ...], chosen: Chosen) -> Graph:
    """``graph`` with the bodies prepared of which ``chosen`` is true, by every pass and the
    ``requested`` ones; itself if there are none."""
    model = graph.to_model()
    return Graph(model) if _prepare(model, requested, chosen) else graph


def _prepare(model: onnx.ModelProto, requested: tuple[str, ...], chosen: Chosen) -> bool:
    """Prepare the bodies of ``model`` in place; whether there was one."""
    changed = False
    for body in own_bodies(model):
        graph = _prepared(body, requested)
        if graph is None:
            continue
        inner = graph.to_model()
        deeper = _prepare(inner, requested, chosen)
        if not deeper and not chosen(graph.view()):
            continue
        taken = names_in(model.graph) | names_in(inner.graph)
        found, around = find_body(model.graph, body.steps)
        put_back(found, inner.graph, around, partial(claim_name, taken=taken))
        changed = True
    return changed


def _prepared(body: Body, requested: tuple[str, ...]) -> Graph | None:
    """``body`` after all passes; None where its types cannot be known."""
    if body.op not in LEAVING:
        return None
    graph = Graph(body.model)
    try:
        for step in steps_of(n for n in requested if n not in OUTERMOST):
            step(graph)
    except ModelError:
        return None
    return graph
