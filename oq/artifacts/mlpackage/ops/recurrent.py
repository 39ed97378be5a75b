"""Recurrent layers, step by step in float32."""

from collections.abc import Callable, Mapping

import numpy as np

from oq.artifacts.mlpackage.ops.activation import relu, sigmoid, tanh
from oq.artifacts.mlpackage.ops.elementwise import identity
from oq.errors import ModelError
from oq.numerics.values import Array

_ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "sigmoid": lambda x: sigmoid(x).astype(np.float32),
    "tanh": tanh,
    "relu": relu,
    "linear": identity,
}


def _activation(name: Array | str) -> Callable[[Array], Array]:
    if str(name) not in _ACTIVATIONS:
        raise ModelError(f"activation {str(name)!r} of a recurrent layer, which oq does not read")
    return _ACTIVATIONS[str(name)]


def lstm(
    x: Array,
    initial_h: Array,
    initial_c: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias: Array | None = None,
    peephole: Array | None = None,
    weight_ih_back: Array | None = None,
    weight_hh_back: Array | None = None,
    bias_back: Array | None = None,
    peephole_back: Array | None = None,
    direction: Array | str = "forward",
    output_sequence: Array | bool = False,
    recurrent_activation: Array | str = "sigmoid",
    cell_activation: Array | str = "tanh",
    activation: Array | str = "tanh",
    clip: Array | None = None,
) -> tuple[Array, ...]:
    """The hidden states (step, sample, hidden), all or the last one, and the last hidden and cell
    states (sample, hidden); both directions side by side along the last axis.

    With gates ``i, f, o, z = weight_ih x[t] + weight_hh h + bias`` in this order (the first three
    by ``recurrent_activation``, ``z`` by ``cell_activation``): ``c = f c + i z``,
    ``h = o activation(c)``.

    Raises:
        ModelError: peepholes, clipped cells, or a direction or activation that oq does not read.
    """
    for name, value in (("peephole", peephole), ("peephole", peephole_back), ("clip", clip)):
        if value is not None:
            raise ModelError(f"an lstm with {name}, which oq does not read")
    acts = tuple(map(_activation, (recurrent_activation, cell_activation, activation)))
    forward = (weight_ih, weight_hh, bias)
    if str(direction) != "bidirectional":
        if str(direction) not in ("forward", "reverse"):
            raise ModelError(f"direction {str(direction)!r} of an lstm")
        back = str(direction) == "reverse"
        found = _steps(x, initial_h, initial_c, forward, acts, back)
    else:
        if weight_ih_back is None or weight_hh_back is None:
            raise ModelError("a bidirectional lstm without weights of the way back")
        backward = (weight_ih_back, weight_hh_back, bias_back)
        h, c = np.split(initial_h, 2, -1), np.split(initial_c, 2, -1)
        there = _steps(x, h[0], c[0], forward, acts, False)
        again = _steps(x, h[1], c[1], backward, acts, True)
        found = tuple(np.concatenate(pair, -1) for pair in zip(there, again, strict=True))
    states, h_last, c_last = found
    return (states if output_sequence else h_last[None]), h_last, c_last


def _steps(
    x: Array,
    h: Array,
    c: Array,
    weights: tuple[Array, Array, Array | None],
    acts: tuple[Callable[[Array], Array], ...],
    back: bool,
) -> tuple[Array, ...]:
    """One direction: the states in the order of the input, and the last ones."""
    of_input, of_state, bias = weights
    gates = np.matmul(x, of_input.T) + (0 if bias is None else bias)
    gate, cell, out = acts
    states = np.empty((*x.shape[:2], h.shape[-1]), np.float32)
    steps = range(len(x))
    for t in reversed(steps) if back else steps:
        i, f, o, z = np.split(gates[t] + np.matmul(h, of_state.T), 4, -1)
        c = gate(f) * c + gate(i) * cell(z)
        h = gate(o) * out(c)
        states[t] = h
    return states, h, c
