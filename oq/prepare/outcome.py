"""The result of a pass."""

from collections.abc import Iterable
from dataclasses import dataclass

from oq.model.graph import Graph


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
