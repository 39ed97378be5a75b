"""Properties of a tensor that follow from the nodes upstream: its sign, whether its size depends on
values, which node chose it, distances between tensors."""

from collections.abc import Callable, Collection, Iterator, Sequence

from oq.model.operands import clip_bounds, data_inputs
from oq.model.ops import (
    CHOOSING,
    KEEPING,
    NEVER_NEGATIVE,
    SCATTERING,
    SHAPE_OPS,
    VALUE_SIZED,
    facts,
    only_moves,
)
from oq.model.view import GraphView, NodeView

Made = tuple[str, Sequence[str]]
"""The op and the inputs of the node that computes a tensor."""


def is_never_negative(view: GraphView, tensor: str) -> bool:
    """Whether the graph guarantees it: the tensor comes from a ReLU, a sigmoid, a root, or a Clip
    from 0 or more, across ops that only move, average, add or multiply such values."""
    return _is_positive(view, view.once(_never_negative), tensor)


def _never_negative(view: GraphView) -> frozenset[str]:
    """All computed tensors of which the graph guarantees it."""
    found: set[str] = set()
    for node in view.nodes:
        row = facts(node.op)
        if row is None:
            found.update(node.outputs if node.op in NEVER_NEGATIVE else ())
            continue
        keeps = row.sign == "positive" or _clips_at_zero(view, node)
        if not keeps and row.sign != "any":
            keeps = all(_is_positive(view, found, t) for t in data_inputs(node))
        if keeps:
            found.update(node.outputs)
    return frozenset(found)


def _is_positive(view: GraphView, found: Collection[str], tensor: str) -> bool:
    if view.is_constant(tensor):
        values = view.constants[tensor]
        return values.dtype.kind not in "OSU" and not (values < 0).any()
    return tensor in found


def _clips_at_zero(view: GraphView, node: NodeView) -> bool:
    least = clip_bounds(view, node)[0] if node.op == "Clip" else None
    return least is not None and least >= 0


def value_sized(view: GraphView) -> frozenset[str]:
    """The tensors whose size depends on the values of an input, not on its shape alone: what a
    NonMaxSuppression leaves, and all that is computed per box of it.

    ``NonZero(ConstantOfShape(Shape(x)))``, which exporters write for a range, does not.
    """
    valued = {i.name for i in view.inputs}
    sized: set[str] = set()
    for node in view.nodes:
        outputs = [t for t in node.outputs if t]
        reads = [t for t in (*node.inputs, *node.captured) if t]
        if node.op in VALUE_SIZED and not valued.isdisjoint(reads):
            sized.update(outputs)
        elif node.op not in SHAPE_OPS:
            fit = reads[:1] if node.op in SCATTERING else reads
            sized.update(outputs if not sized.isdisjoint(fit) else ())
        if node.op == "NonZero" or node.op not in SHAPE_OPS:
            valued.update(outputs if not valued.isdisjoint(reads) else ())
    return frozenset(sized)


def find_choice(indices: str, made: Callable[[str], Made | None]) -> Made | None:
    """The node that chose ``indices`` (ArgMax, TopK), across casts and moves; None if none did.

    ``made``: how a tensor is computed, None for inputs and constants.
    """
    node = made(indices)
    while node is not None and node[1] and node[0] not in CHOOSING:
        op, inputs = node
        if op not in KEEPING and not only_moves(op):
            return None
        node = made(inputs[0])
    return node if node is not None and node[1] else None


def branch_lengths(view: GraphView, first: str, second: str) -> tuple[int, int] | None:
    """Nodes from the lowest common ancestor of two tensors to each of them; None without one."""
    near, far, best = {first: 0}, {second: 0}, None
    levels = [_levels(view, near), _levels(view, far)]
    edges = [[first], [second]]
    depth = 0
    while any(edges) and (best is None or best[0] >= depth):  # what is left lies further away
        both = [t for edge in edges for t in edge if t in near and t in far]
        common = [(near[t] + far[t], near[t], far[t]) for t in both if not view.is_constant(t)]
        best = min((*common, *(() if best is None else (best,))), default=None)
        edges = [next(more, []) for more in levels]
        depth += 1
    return None if best is None else (best[1], best[2])


def distances(view: GraphView, tensor: str) -> dict[str, int]:
    """Length of the shortest path, in nodes, from each upstream tensor to ``tensor``."""
    seen = {tensor: 0}
    for _ in _levels(view, seen):
        pass
    return seen


def _levels(view: GraphView, seen: dict[str, int]) -> Iterator[list[str]]:
    """Upstream of the only tensor of ``seen``, level by level, which ``seen`` takes up with their
    distances."""
    edge, far = list(seen), 0
    while edge:
        far += 1
        made = [view.producer(t) for t in edge]
        read = (t for node in made if node is not None for t in node.inputs if t)
        edge = [t for t in dict.fromkeys(read) if t not in seen]
        seen.update(dict.fromkeys(edge, far))
        yield edge
