"""The result of a pass."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from oq.model.graph import Graph
from oq.model.view import GraphView, NodeView

Match = TypeVar("Match")


@dataclass(frozen=True, slots=True)
class Outcome:
    """``changed`` is the number of rewrites; each refusal is a sentence that names a node."""

    changed: int = 0
    refusals: tuple[str, ...] = ()


def finish(graph: Graph, changed: int, refusals: Iterable[str] = ()) -> Outcome:
    """The outcome of a pass over ``graph``, from which what nothing reads is removed if it was
    changed."""
    if changed:
        graph.cleanup()
    return Outcome(changed, tuple(refusals))


def fold_rows(
    graph: Graph,
    match: Callable[[GraphView, NodeView], Match | None],
    fold: Callable[[Graph, GraphView, Match], None],
) -> Outcome:
    """``fold`` whatever ``match`` finds at a node of ``graph``, again until it finds nothing: once
    per node in a row behind one that takes them in."""
    changed = 0
    while True:
        view = graph.view()
        found = [one for node in view.nodes if (one := match(view, node)) is not None]
        if not found:
            return finish(graph, changed)
        for one in found:
            fold(graph, view, one)
        changed += len(found)
