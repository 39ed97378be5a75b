"""Layers of a spectrogram whose logarithm is taken stay in float: the audio front end of a model.

The energies of a spectrogram span 80 dB and more; 8 bits span 48, 20 log10(255), from the largest
value down.  What is quieter gets the code of 0, and its logarithm is that of the smallest constant
that the model adds: the quiet part of a sound, which is most of it, becomes one value.

Such layers are linear transforms whose squares are summed (a Fourier transform, constant-Q) and
filter banks over the sums, whose weights are not negative (mel, Bark).
"""

import numpy as np

from oq.model.ops import (
    ENERGY_KEEPING,
    JOINING,
    LINEAR,
    LOGARITHMS,
    POWERS,
    ROOTS,
    SCALING,
    SQUARES,
    only_moves,
    weight_input,
)
from oq.model.view import GraphView, NodeView
from oq.numerics.values import Array

KEPT_LINEAR = LINEAR | JOINING
KEPT_ENERGY = KEPT_LINEAR | ENERGY_KEEPING
"""Ops that are crossed on the way back, besides those that only move values."""

SPANS = "{!r} takes the logarithm of energies, and 8 bits cannot span their range"


def spectra(view: GraphView) -> dict[str, str]:
    """Node -> why it stays in float, for each layer between a waveform and a logarithm."""
    found: dict[str, str] = {}
    for node in view.nodes:
        if node.op in LOGARITHMS:
            for layer in _transforms(view, node):
                found.setdefault(layer, SPANS.format(node.name))
    return found


def _transforms(view: GraphView, logarithm: NodeView) -> list[str]:
    """The layers of which ``logarithm`` reads energies.

    From there backwards: over sums of energies and filter banks to squares, and from these over
    what is linear to the waveform.
    """
    found: list[str] = []
    todo, seen = [(logarithm.input(0), False)], set()
    while todo:
        tensor, squared = todo.pop()
        node = view.producer(tensor)
        if node is None or (node.name, squared) in seen:
            continue
        seen.add((node.name, squared))
        weight = weight_input(node.op, node.inputs)
        if view.is_constant(weight):
            if squared or _is_filter_bank(view.constants[weight]):
                found.append(node.name)
                todo.append((node.input(0), squared))
        elif node.op in ROOTS:
            todo.append((node.input(0), False))
        elif not squared and _squares(view, node):
            todo.append((node.input(0), True))
        elif only_moves(node.op) or node.op in (KEPT_LINEAR if squared else KEPT_ENERGY):
            todo += [(t, squared) for t in node.inputs if t and view.is_float(t)]
    return found


def _is_filter_bank(weight: Array) -> bool:
    """Whether every weight is 0 or more and some are 0: each output sums a band."""
    return bool(np.min(weight, initial=0.0) >= 0 and np.any(weight == 0))


def _squares(view: GraphView, node: NodeView) -> bool:
    """Whether ``node`` makes energies of amplitudes."""
    if node.op in POWERS:
        exponent = node.input(POWERS[node.op])
        return view.is_constant(exponent) and bool(np.all(view.constants[exponent] == 2))
    of_itself = node.op in SCALING and node.input(0) == node.input(1)
    return of_itself or node.op in SQUARES
