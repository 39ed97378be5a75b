"""GRU and RNN, step by step: MIL's own ``gru`` has no bias inside the reset gate, which PyTorch's
layers have, and neither runs in both directions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from oq.deployment.coreml.net import Net, is_size, refusal
from oq.model.view import NodeView
from oq.numerics.values import Array

UNUSUAL = ("clip", "layout", "activation_alpha", "activation_beta")
ACTIVATIONS = frozenset({"relu", "sigmoid", "tanh"})
SIDES: Mapping[str, tuple[bool, ...]] = {
    "forward": (False,),
    "reverse": (True,),
    "bidirectional": (False, True),
}
"""Direction -> whether each side begins at the end."""


@dataclass(frozen=True, slots=True)
class Side:
    """One direction of a layer: ``weight`` (gates, inputs) and ``hidden`` (gates, state), with a
    bias each, and its activations by MIL's names."""

    net: Net
    output: str
    weight: Array
    hidden: Array
    bias: Array
    hidden_bias: Array
    acts: tuple[str, ...]

    def op(self, kind: str, **arguments: Any) -> Any:
        """What ``kind`` computes on the way to the output."""
        return self.net.step(self.output, kind, **arguments)

    def linear(self, x: Any, rows: slice, *, bias: bool = True) -> Any:
        """``x`` times some ``rows`` of the hidden weights, plus their bias."""
        added = self.hidden_bias[rows] if bias else np.zeros_like(self.hidden_bias[rows])
        return self.op("linear", x=x, weight=self.hidden[rows], bias=added)


Step = Callable[[Side, Any, Any, bool], Any]
"""(side, gates of the input at this step, state or None at zero, linear_before_reset) -> state."""


def _rnn_step(side: Side, given: Any, state: Any, _: bool) -> Any:
    """h = f(W x + Wb + R h + Rb)."""
    whole = slice(None)
    added = side.hidden_bias if state is None else side.linear(state, whole)
    return side.op(side.acts[0], x=side.op("add", x=given, y=added))


def _gru_step(side: Side, given: Any, state: Any, after: bool) -> Any:
    """z, r = f(W x + Wb + R h + Rb); c = g(W x + Wb + r (R h + Rb)), or g(W x + Wb + R (r h) + Rb);
    h' = c + z (h - c)."""
    size = len(side.hidden) // 3
    both, last = slice(2 * size), slice(2 * size, None)
    front, back = side.op("split", x=given, split_sizes=[2 * size, size], axis=-1)
    added = side.hidden_bias[both] if state is None else side.linear(state, both)
    gates = side.op(side.acts[0], x=side.op("add", x=front, y=added))
    update, reset = side.op("split", x=gates, num_splits=2, axis=-1)
    if after:
        inner = side.hidden_bias[last] if state is None else side.linear(state, last)
        inner = side.op("mul", x=reset, y=inner)
    elif state is None:
        inner = side.hidden_bias[last]
    else:
        inner = side.linear(side.op("mul", x=reset, y=state), last)
    candidate = side.op(side.acts[1], x=side.op("add", x=back, y=inner))
    if state is None:
        return side.op("sub", x=candidate, y=side.op("mul", x=update, y=candidate))
    change = side.op("mul", x=update, y=side.op("sub", x=state, y=candidate))
    return side.op("add", x=candidate, y=change)


def unrolled(step: Step, gates: int, usual: tuple[str, ...]) -> Callable[[Net, NodeView], None]:
    """The row of a layer of so many ``gates``, whose ``usual`` activations are ONNX's defaults."""

    def row(net: Net, node: NodeView) -> None:
        length = net.shape(node.inputs[0])[0]
        odd = [name for name in UNUSUAL if node.attributes.get(name)]
        if odd or node.input(4) or not is_size(length):
            what = "lengths of sequences" if node.input(4) else "a length that is free"
            raise refusal(node, ", ".join(odd) or what)
        after = bool(node.attributes.get("linear_before_reset", 0))
        backwards = SIDES[str(node.attributes.get("direction", "forward"))]
        outputs = [*node.outputs, ""][:2]
        first = next(t for t in outputs if t)
        sides = _sides(net, node, first, gates, usual, len(backwards))
        states = [
            _run(side, net.var(node.inputs[0]), _initial(net, node, at, first), step, after, order)
            for at, (side, back) in enumerate(zip(sides, backwards, strict=True))
            for order in [range(length)[::-1] if back else range(length)]
        ]
        if outputs[0]:
            rows = [net.step(first, "stack", values=made, axis=0) for made, _ in states]
            net.put(outputs[0], "stack", values=rows, axis=1)
        if outputs[1]:
            net.put(outputs[1], "stack", values=[last for _, last in states], axis=0)

    return row


def _sides(
    net: Net, node: NodeView, output: str, gates: int, usual: tuple[str, ...], count: int
) -> list[Side]:
    weight, hidden = (net.required(node, slot, "its weights") for slot in (1, 2))
    size = gates * hidden.shape[2]
    bias = np.zeros((count, 2 * size), np.float32)
    if node.input(3):
        bias = net.required(node, 3, "its bias")
    named = [str(a).lower() for a in node.attributes.get("activations") or usual * count]
    if not ACTIVATIONS.issuperset(named):
        raise refusal(node, f"activations {', '.join(named)}")
    parts = [tuple(named[at * len(usual) :][: len(usual)]) for at in range(count)]
    return [
        Side(net, output, weight[at], hidden[at], bias[at, :size], bias[at, size:], parts[at])
        for at in range(count)
    ]


def _initial(net: Net, node: NodeView, side: int, output: str) -> Any:
    """The state that a side begins with, (batch, state); None where it is zero."""
    if not node.input(5):
        return None
    x = net.var(node.input(5))
    return net.step(f"{output}_state", "gather", x=x, indices=side, axis=0, validate_indices=False)


def _run(
    side: Side, x: Any, state: Any, step: Step, after: bool, order: range
) -> tuple[list[Any], Any]:
    """The states in the order of the sequence, and the last one."""
    whole = side.op("linear", x=x, weight=side.weight, bias=side.bias)
    found = {}
    for at in order:
        given = side.op("gather", x=whole, indices=at, axis=0, validate_indices=False)
        state = found[at] = step(side, given, state, after)
    return [found[at] for at in sorted(found)], state


gru = unrolled(_gru_step, 3, ("sigmoid", "tanh"))
rnn = unrolled(_rnn_step, 1, ("tanh",))
