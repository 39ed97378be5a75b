"""Properties of a tensor that follow from the nodes upstream: its sign, whether its size depends on
values, distances between tensors."""

from collections import deque

from oq.model.operands import clip_bounds, data_inputs
from oq.model.ops import SCATTERING, SHAPE_OPS, VALUE_SIZED, facts
from oq.model.view import GraphView, NodeView


def is_never_negative(view: GraphView, tensor: str) -> bool:
    """Whether the graph guarantees it: the tensor comes from a ReLU, a sigmoid, or a Clip from 0 or
    more, across ops that only move, average, add or multiply such values."""
    seen, queue = {tensor}, [tensor]
    while queue:
        here = queue.pop()
        if view.is_constant(here):
            if (view.constants[here] < 0).any():
                return False
            continue
        producer = view.producer(here)
        row = None if producer is None else facts(producer.op)
        if producer is None or row is None:
            return False
        if row.sign == "positive" or _clips_at_zero(view, producer):
            continue
        if row.sign == "any":
            return False
        queue += [t for t in data_inputs(producer) if t not in seen]
        seen.update(queue)
    return True


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


def branch_lengths(view: GraphView, first: str, second: str) -> tuple[int, int] | None:
    """Nodes from the lowest common ancestor of two tensors to each of them; None without one."""
    near, far = distances(view, first), distances(view, second)
    both = [t for t in near if t in far and not view.is_constant(t)]
    common = [(near[t] + far[t], near[t], far[t]) for t in both]
    if not common:
        return None
    _, mine, other = min(common)
    return mine, other


def distances(view: GraphView, tensor: str) -> dict[str, int]:
    """Length of the shortest path, in nodes, from each upstream tensor to ``tensor``."""
    seen, queue = {tensor: 0}, deque([tensor])
    while queue:
        here = queue.popleft()
        producer = view.producer(here)
        for source in () if producer is None else producer.inputs:
            if source and source not in seen:
                seen[source] = seen[here] + 1
                queue.append(source)
    return seen
