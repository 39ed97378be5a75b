"""Shared scales for the inputs and output of a Concat, where the target requires them.

Tensors that such Concats join, directly or through one another, form a class.  The output of the
last Concat, or else the first input that is quantized, keeps a grid of its own, wide enough for all
tensors of the class; the others share it.  (NVIDIA's Concat elimination and Apple's concat groups
do the same: TensorRT moves the QuantizeLinear across the Concat, where equal scales cancel and
different ones cost a kernel.)
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from oq.model.operands import data_inputs
from oq.model.paths import distances
from oq.model.view import GraphView
from oq.numerics.values import QType
from oq.planning.spec import Fixed, Own, Scaled, Share, Site
from oq.planning.target import Match


@dataclass(frozen=True, slots=True)
class _Join:
    """A Concat: its quantized inputs and output, and the tensors whose grids these have, both in
    the order of its inputs."""

    members: tuple[str, ...]
    roots: tuple[str, ...]
    output: str


def share_concat_grids(
    view: GraphView, sites: Sequence[Site], concats: Iterable[Match], mixed: QType
) -> list[Site]:
    """``sites`` with one grid per class of tensors that ``concats`` join.

    ``mixed``: the type for a class that mixes non-negative tensors with others.
    """
    by_tensor = {s.tensor: s for s in sites}
    specs: dict[str, Own | Share] = {}
    for joins in _classes([_join(c, by_tensor) for c in concats]):
        # by how many tensors each is computed from: an order that no renaming changes
        ordered = (
            sorted(joins, key=lambda j: -len(distances(view, j.output))) if joins[1:] else joins
        )
        family = tuple(dict.fromkeys(r for j in ordered for r in j.roots))
        qtypes = {_qtype(by_tensor[r], by_tensor) for r in family}
        qtype = qtypes.pop() if len(qtypes) == 1 else mixed
        over = _widest(ordered, family)
        keeper = next((t for t in over if t in family), family[0])
        specs[keeper] = Own(qtype, over=() if over == (keeper,) else over)
        specs |= {other: Share(keeper) for other in family if other != keeper}
    return [replace(s, spec=specs.get(s.tensor, s.spec)) for s in sites]


def _join(concat: Match, sites: Mapping[str, Site]) -> _Join:
    around = (*data_inputs(concat.anchor), concat.output)
    members = tuple(dict.fromkeys(t for t in around if t in sites))
    return _Join(members, tuple(_root(t, sites) for t in members), concat.output)


def _classes(joins: Iterable[_Join]) -> Iterable[tuple[_Join, ...]]:
    """Joins that have a grid in common, directly or through others."""
    classes: dict[int, tuple[_Join, ...]] = {}
    member: dict[str, int] = {}  # root -> its class
    for number, join in enumerate(joins):
        near = sorted({member[r] for r in join.roots if r in member})
        if join.roots:
            classes[number] = (*(j for c in near for j in classes.pop(c)), join)
            member |= {r: number for j in classes[number] for r in j.roots}
    return classes.values()


def _widest(joins: Sequence[_Join], family: Sequence[str]) -> tuple[str, ...]:
    """Tensors that between them hold every value of a class: the last Concats' outputs, and what
    reaches a Concat only as a copy (its MaxPool, a Slice), which lacks some of its values."""
    members = {t for j in joins for t in j.members}
    inner = {t for j in joins for t in j.members if t != j.output}
    ends = [j.output for j in joins if j.output not in inner]
    return tuple(dict.fromkeys((*ends, *(r for r in family if r not in members))))


def _root(tensor: str, sites: Mapping[str, Site]) -> str:
    """The tensor whose grid ``tensor`` has."""
    spec = sites[tensor].spec
    while isinstance(spec, Share):
        tensor = spec.source
        spec = sites[tensor].spec
    return tensor


def _qtype(site: Site, sites: Mapping[str, Site]) -> QType:
    while isinstance(site.spec, Share | Scaled):
        site = sites[site.spec.source]
    if not isinstance(site.spec, Own | Fixed):
        raise TypeError(f"{site.tensor} has a {type(site.spec).__name__}, no grid to join")
    return site.spec.qtype
