"""States and caches: values that leave a model and come back with the next call.

What is rounded on the way from such an input to such an output is rounded again at every call, and
the errors add up: a streaming model that one call shows to be right drifts away.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from oq.model.ops import GATING, SUMMING, facts, has_weight
from oq.model.view import GraphView, NodeView
from oq.numerics.values import Shape

PASSES = (
    "it passes input {!r} on to output {!r}, and a state that is fed back would be rounded at "
    "every call"
)

STATE_WORDS = frozenset(
    {
        *("state", "cell", "cache", "past", "prev", "previous", "last"),
        *("memory", "mem", "buffer", "buf", "carry"),
    }
)
"""Words in the names of inputs that are fed back."""

DATA_WORDS = frozenset(
    {
        *("image", "images", "img", "picture", "photo", "pixel", "pixels", "rgb", "src", "lr"),
        *("frame", "frames", "video", "mask", "masks", "left", "right", "noisy"),
        *("audio", "wav", "waveform", "signal", "sample", "samples"),
        *("latent", "latents", "embeds", "embeddings"),
    }
)
"""Words in the names of inputs that are new at every call."""

ROLES = frozenset(
    {
        *("in", "out", "input", "output", "new", "next", "present", "cur", "current", "init"),
        *("i", "o", "n", "t"),
    }
)
"""Words that tell the two ends of a state apart, and do not say what it is."""


def carried_states(view: GraphView, known: Mapping[str, str] | None = None) -> dict[str, str]:
    """Node -> why it stays in float, for every node on a way from a state to the state it becomes.

    A state is an input that the model, having two inputs and two outputs at least, computes an
    output of the same shape from, without a layer with weights or a product of matrices between
    them: those round what they read, not what they pass on.  Not every such input is one
    (:func:`_comes_back`).  ``known``: the states and what they become, of a body.
    """
    found: dict[str, str] = {}
    for state, output in _candidates(view) if known is None else known.items():
        below = _below(view, state)
        if output not in below:
            continue
        between = _between(view, below, output)
        if known is not None or _comes_back(view, below, between, state, output):
            for node in between:
                if facts(node.op) is not None:  # of others the target has more to say
                    found.setdefault(node.name, PASSES.format(state, output))
    return found


def _candidates(view: GraphView) -> Iterator[tuple[str, str]]:
    """Inputs and outputs that may be states."""
    if len(view.inputs) < 2 or len(view.outputs) < 2:
        return
    for state in view.inputs:
        if view.is_float(state.name):
            alike = (t for t in view.outputs if _alike(state.shape, view.shape(t)))
            yield from ((state.name, t) for t in alike)


def _comes_back(
    view: GraphView, below: frozenset[str], between: Sequence[NodeView], state: str, output: str
) -> bool:
    """Whether ``output`` is what the input ``state`` is at the next call.

    What is shifted, gated or added up is, unless the name of the input says that it is new data.  A
    sum of it and of what layers make of itself is the residual of a network (denoising,
    super-resolution), unless both names say the same; several such sums always are.
    """
    sums = [n for n in between if n.op in SUMMING]
    made = _of_layers(view, state)
    gates = (n for n in between if n.op in GATING and not below.issuperset(n.inputs))
    is_residual = bool(sums) and next(gates, None) is None
    is_residual &= all(any(t in made and t not in below for t in n.inputs) for n in sums)
    if is_residual and len(sums) > 1:
        return False
    words = _words(state)
    if not words.isdisjoint(STATE_WORDS):
        return True
    if not words.isdisjoint(DATA_WORDS):
        return False
    same = words - ROLES == _words(output) - ROLES != frozenset()
    return same or not is_residual


def _words(name: str) -> frozenset[str]:
    """The words of ``name`` in small letters, without numbers: ``r1o`` is r and o."""
    return frozenset(part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name))


def _of_layers(view: GraphView, tensor: str) -> frozenset[str]:
    """What layers make of ``tensor``, and all that is computed from it."""
    reached, made = {tensor}, set[str]()
    for node in view.nodes:
        if reached.isdisjoint(node.inputs):
            continue
        reached.update(node.outputs)
        if has_weight(node.op) or not made.isdisjoint(node.inputs):
            made.update(node.outputs)
    return frozenset(made)


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
