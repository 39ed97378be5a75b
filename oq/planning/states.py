"""States and caches: values that leave a model and come back with the next call.

What is rounded on the way from such an input to such an output is rounded again at every call, and
the errors add up: a streaming model that one call shows to be right drifts away.
"""

from oq.model.ops import facts, has_weight
from oq.model.view import GraphView, NodeView
from oq.numerics.values import Shape

PASSES = (
    "it passes input {!r} on to output {!r}, and a state that is fed back would be rounded at "
    "every call"
)


def carried_states(view: GraphView) -> dict[str, str]:
    """Node -> why it stays in float, for every node on a way from a state to the state it becomes.

    A state is an input that the model, having two inputs and two outputs at least, computes an
    output of the same shape from, without a layer with weights or a product of matrices between
    them: those round what they read, not what they pass on.
    """
    if len(view.inputs) < 2 or len(view.outputs) < 2:
        return {}
    found: dict[str, str] = {}
    for state in view.inputs:
        if not view.is_float(state.name):
            continue
        below = _below(view, state.name)
        for output in view.outputs:
            if output in below and _alike(state.shape, view.shape(output)):
                for node in _between(view, below, output):
                    found.setdefault(node.name, PASSES.format(state.name, output))
    return found


def _below(view: GraphView, tensor: str) -> frozenset[str]:
    """``tensor`` and the float tensors computed from it without a layer."""
    seen = {tensor}
    for node in view.nodes:
        if not has_weight(node.op) and not seen.isdisjoint(node.inputs):
            seen.update(t for t in node.outputs if view.is_float(t))
    return frozenset(seen)


def _between(view: GraphView, below: frozenset[str], output: str) -> list[NodeView]:
    """The nodes that compute ``output`` from tensors ``below`` the state."""
    needed, nodes = {output}, []
    for node in reversed(view.nodes):
        if needed.isdisjoint(node.outputs) or below.isdisjoint(node.inputs):
            continue
        if has_weight(node.op):
            continue
        if facts(node.op) is not None:  # of others the target has more to say
            nodes.append(node)
        needed.update(t for t in node.inputs if t in below)
    return nodes


def _alike(first: Shape | None, second: Shape | None) -> bool:
    """Whether two shapes may be the same: of one rank, with no two sizes that differ."""
    if first is None or second is None or len(first) != len(second):
        return False
    return all(
        a == b or not (isinstance(a, int) and isinstance(b, int))
        for a, b in zip(first, second, strict=True)
    )
