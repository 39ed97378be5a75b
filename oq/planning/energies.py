"""Layers of a spectrogram whose logarithm is taken stay in float: the audio front end of a model.

The energies of a spectrogram span 80 dB and more; 8 bits span 48, 20 log10(255), from the largest
value down.  What is quieter gets the code of 0, and its logarithm is that of the smallest constant
that the model adds: the quiet part of a sound, which is most of it, becomes one value.

Such layers are linear transforms whose squares are summed (a Fourier transform, constant-Q) and
filter banks over the sums, whose weights are not negative (mel, Bark).

A model may read the amplitudes themselves, the root of the energies.  Their square root spans half
as many decibels, but a transform in integers rounds before it squares: what is below half a step is
0, with all that lies beside it.  A transform of which nothing but squares is read stays in float
there, too.  (A variance is no such thing: what it is of is also read by itself.)  So does the layer
that reads the amplitudes where the codes of what is never negative have 7 bits, which span 42 dB.
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
    SHAPE_OPS,
    SQUARES,
    only_moves,
    weight_input,
)
from oq.model.view import GraphView, NodeView
from oq.numerics.values import Array

KEPT_LINEAR = LINEAR | JOINING
KEPT_ENERGY = KEPT_LINEAR | ENERGY_KEEPING
"""Ops that are crossed on the way back, besides those that only move values."""

ROUNDED = (
    "{!r} makes amplitudes of a spectrum, whose quiet part int8 rounds to 0 before the squares"
)
READS = "it reads the amplitudes of a spectrum, made by {!r}, and 7 bits cannot span their range"
SPANS = "{!r} takes the logarithm of energies, and 8 bits cannot span their range"


def spectra(view: GraphView, narrow: bool = False) -> dict[str, str]:
    """Node -> why it stays in float, for each layer between a waveform and a logarithm, or the
    amplitudes of a spectrum; and those that read these, where they have few codes (``narrow``)."""
    found: dict[str, str] = {}
    for node in view.nodes:
        if node.op in LOGARITHMS:
            for layer in _transforms(view, node):
                found.setdefault(layer, SPANS.format(node.name))
    for node in view.nodes:
        if node.op in ROOTS:
            behind = _transforms(view, node).items()
            made = [n for n, squared in behind if squared and _is_only_squared(view, n)]
            found |= {n: ROUNDED.format(node.name) for n in made if n not in found}
            if made and narrow:
                found |= {n: READS.format(node.name) for n in _readers(view, node)}
    return found


def _readers(view: GraphView, node: NodeView) -> list[str]:
    """The layers that read what ``node`` makes, moved or scaled."""
    found, todo, seen = list[str](), list(node.outputs), set[str]()
    while todo:
        for reader in view.consumers(todo.pop()):
            if reader.name in seen:
                continue
            seen.add(reader.name)
            if view.is_constant(weight_input(reader.op, reader.inputs)):
                found.append(reader.name)
            elif only_moves(reader.op) or (
                reader.op in LINEAR and any(view.is_constant(t) for t in reader.inputs)
            ):
                todo += reader.outputs
    return found


def _is_only_squared(view: GraphView, layer: str) -> bool:
    """Whether all that is read of what ``layer`` computes, over what is linear, are squares."""
    todo, seen = list(view.node(layer).outputs), set[str]()
    while todo:
        tensor = todo.pop()
        if tensor in view.outputs:
            return False
        for node in view.consumers(tensor):
            if _squares(view, node) or node.op in SHAPE_OPS or node.name in seen:
                continue
            if not (only_moves(node.op) or node.op in KEPT_LINEAR):
                return False
            seen.add(node.name)
            todo += node.outputs
    return True


def _transforms(view: GraphView, reader: NodeView) -> dict[str, bool]:
    """The layers of which ``reader`` reads energies, and whether they are in front of the squares.

    From there backwards: over sums of energies and filter banks to squares, and from these over
    what is linear to the waveform.
    """
    found: dict[str, bool] = {}
    todo, seen = [(reader.input(0), False)], set()
    while todo:
        tensor, squared = todo.pop()
        node = view.producer(tensor)
        if node is None or (node.name, squared) in seen:
            continue
        seen.add((node.name, squared))
        weight = weight_input(node.op, node.inputs)
        if view.is_constant(weight):
            if squared or _is_filter_bank(view.constants[weight]):
                found[node.name] = squared or found.get(node.name, False)
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
