"""LSTM, in both directions."""

from typing import Any

import numpy as np

from oq.deployment.coreml.net import Net, refusal
from oq.model.view import NodeView
from oq.numerics.values import Array

UNUSUAL = ("activations", "clip", "input_forget", "layout", "activation_alpha", "activation_beta")


def _gates(values: Array, axis: int) -> Array:
    """ONNX's order of gates (input, output, forget, cell) as MIL's (input, forget, output,
    cell)."""
    i, o, f, c = np.split(values, 4, axis=axis)
    return np.concatenate([i, f, o, c], axis=axis)


def lstm(net: Net, node: NodeView) -> None:
    """LSTM with ONNX's default activations, on sequences of one length."""
    odd = [k for k in UNUSUAL if node.attributes.get(k)]
    if odd or node.input(4) or node.input(7):
        raise refusal(node, f"{', '.join(odd) or 'lengths of sequences, or peepholes'}")
    weight, hidden = (net.required(node, s, "its weights") for s in (1, 2))
    sides, size = weight.shape[0], hidden.shape[2]
    given = net.known(node.input(3)) if node.input(3) else None
    bias = np.zeros((sides, 8 * size), np.float32) if given is None else given
    joined = bias[:, : 4 * size] + bias[:, 4 * size :]
    arguments: dict[str, Any] = {}
    for side, end in zip(range(sides), ("", "_back"), strict=False):
        arguments |= {
            f"weight_ih{end}": _gates(weight[side], 0),
            f"weight_hh{end}": _gates(hidden[side], 0),
            f"bias{end}": _gates(joined[side], 0),
        }
    direction = str(node.attributes.get("direction", "forward"))
    x = net.var(node.inputs[0])
    states = {
        f"initial_{letter}": _state(net, node, slot, sides, size)
        for letter, slot in (("h", 5), ("c", 6))
    }
    output = next(t for t in node.outputs if t)
    sequence, last_h, last_c = net.mb.lstm(
        name=net.name(f"{output}_lstm"),
        x=x,
        direction=DIRECTIONS[direction],
        output_sequence=True,
        **states,
        **arguments,
    )
    _give(net, node, sequence, (last_h, last_c), sides, size)


DIRECTIONS = {"forward": "forward", "reverse": "reverse", "bidirectional": "bidirectional"}


def _state(net: Net, node: NodeView, slot: int, sides: int, size: int) -> Any:
    """An initial state (sides, batch, size) as MIL has it: (batch, sides * size)."""
    batch = net.shape(node.inputs[0])[1]
    if not node.input(slot):
        if not isinstance(batch, int):
            raise refusal(node, "a free batch and no initial state")
        return np.zeros((batch, sides * size), np.float32)
    name = f"{node.outputs[0]}_state{slot}"
    moved = net.step(name, "transpose", x=net.var(node.input(slot)), perm=[1, 0, 2])
    return net.step(name, "reshape", x=moved, shape=[-1, sides * size])


def _give(
    net: Net, node: NodeView, sequence: Any, last: tuple[Any, Any], sides: int, size: int
) -> None:
    """MIL's (time, batch, sides * size) and (batch, sides * size) in ONNX's layouts."""
    outputs = [*node.outputs, "", "", ""][:3]
    if outputs[0]:
        length = sequence.shape[0]
        steps = length if isinstance(length, int | np.integer) else -1
        batch = sequence.shape[1]
        rows = batch if isinstance(batch, int | np.integer) else -1
        if steps == rows == -1:
            raise refusal(node, "free length and free batch")
        parted = net.step(outputs[0], "reshape", x=sequence, shape=[steps, rows, sides, size])
        net.put(outputs[0], "transpose", x=parted, perm=[0, 2, 1, 3])
    for tensor, value in zip(outputs[1:], last, strict=True):
        if tensor:
            parted = net.step(tensor, "reshape", x=value, shape=[-1, sides, size])
            net.put(tensor, "transpose", x=parted, perm=[1, 0, 2])
