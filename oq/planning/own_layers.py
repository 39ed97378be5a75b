"""Which layers of a prepared graph the model had, and which oq made of other nodes."""

from collections.abc import Iterable, Mapping

from oq.model.ops import has_weight

NO_LAYERS = frozenset({"BatchNormalization", "Pad"})
"""Ops that preparing turns into convolutions, though nobody counts them as layers."""


def made_layers(nodes: Iterable[tuple[str, str]], given: Mapping[str, str]) -> tuple[str, ...]:
    """The names of ``nodes`` (name, op) with weights that are not layers of the model, whose nodes
    are ``given`` as name -> op.

    A pass names what it makes after the node it rewrites: ``conv_0``, ``pad_Conv``.  Of the layers
    made of one, as of a convolution in groups, the first is the model's.

    >>> made_layers([("conv_0", "Conv"), ("conv_1", "Conv"), ("pad_Conv", "Conv")],
    ...             {"conv": "Conv", "pad": "Pad"})
    ('conv_1', 'pad_Conv')
    """
    layers = [name for name, op in nodes if has_weight(op)]
    seen = {name for name in layers if name in given}
    made = []
    for name in layers:
        if name in given:
            continue
        owner = _owner(name, given)
        if given.get(owner) in NO_LAYERS or owner in seen:
            made.append(name)
        seen.add(owner)
    return tuple(made)


def _owner(name: str, given: Mapping[str, str]) -> str:
    """The node that ``name`` was made of: the longest of ``given`` in front of an underscore."""
    base = name
    while base:
        base = base.rpartition("_")[0]
        if base in given:
            return base
    return name
