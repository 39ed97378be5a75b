"""The Q/DQ graph as it is trained: float latents where the file has codes.

    in the file                         trained
    codes -> DequantizeLinear           latent -> QuantizeLinear -> DequantizeLinear
    scale                               parameter -> LearnedScale
    scale of a bias                     scale(data) x scale(weight)

so that the module is the graph that ships, and what it learns goes back into the initializers.

A latent is the float weight, moved into the bin of the code that refinement has chosen for it: the
first step computes what the file does, and a weight near the edge of its bin moves over it soon.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, assert_never

import numpy as np

from oq.emission.emit import Placed
from oq.errors import ModelError
from oq.model.qdq import DQ, PAIR, Q
from oq.model.view import GraphView, NodeView
from oq.numerics.grid import Grid, dequantize, spread
from oq.numerics.values import Array, TensorInfo
from oq.planning.spec import Fixed, Own, Plan, Product, Scaled, Share, Site, SiteKey, key
from oq.training.ops_learned import ENDS, LEARNED, PRODUCT, SHARED_BY, as_parameter

INSIDE = 0.49
"""Greatest distance of a latent from its code, in steps."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A site of the file: its grid, the names of its tensors there, and those of its parameters;
    ``latent`` None where the codes are computed, ``learned`` None where the scale is not trained.
    """

    site: Site
    grid: Grid
    place: Placed
    latent: str | None = None
    learned: str | None = None


@dataclass(frozen=True, slots=True)
class Trained:
    """The view that is trained, its sites, and bias scale -> (data scale, weight scale)."""

    view: GraphView
    slots: tuple[Slot, ...]
    products: Mapping[str, tuple[str, str]]


def make_trained(
    view: GraphView,
    plan: Plan,
    grids: Mapping[SiteKey, Grid],
    placed: Mapping[SiteKey, Placed],
    floats: Mapping[str, Array],
    learned: bool,
) -> Trained:
    """``view`` of the written file as it is trained; ``floats`` are the weights before they were
    quantized, by name.

    Raises:
        ModelError: a weight is packed, or scales are ``learned`` and a bias cannot follow them.
    """
    for site in plan.sites:
        if site.role == "weight" and placed[key(site)].codes not in view.constants:
            raise ModelError(
                f"weight {site.tensor!r} is packed in blocks, in which it cannot be trained; "
                "accepted are targets and options that keep weights as Q/DQ"
            )
    found = [
        Slot(s, grids[key(s)], placed[key(s)])
        for s in plan.sites
        if placed[key(s)].scale in view.constants and grids[key(s)].qtype.uniform
    ]
    products = _products(plan, found, placed)
    free = free_scales(found) if learned else set()
    if learned:
        _insist(found, products)
    slots = tuple(
        replace(
            s,
            latent=_latent_name(view, s),
            learned=f"{s.place.scale}_learned" if s.place.scale in free else None,
        )
        for s in found
    )
    made = _Made(view, slots, products, dict(_latents(view, slots, floats)))
    return Trained(made.view(), slots, products)


def _latent_name(view: GraphView, slot: Slot) -> str | None:
    """The tensor's own name, if nothing in the file has it; None for codes that are computed."""
    if slot.place.codes not in view.constants:
        return None
    name = slot.site.tensor
    return f"{slot.place.codes}_latent" if name in view.tensors else name


def _latents(
    view: GraphView, slots: tuple[Slot, ...], floats: Mapping[str, Array]
) -> Iterator[tuple[str, Array]]:
    for slot in slots:
        if slot.latent is None:
            continue
        codes = view.constants[slot.place.codes]
        grid = _as_stored(slot.grid, codes.ndim)
        middle = dequantize(codes, grid)
        exact = floats.get(slot.site.tensor)
        if exact is None or exact.shape != middle.shape or isinstance(slot.site.spec, Product):
            yield slot.latent, middle
            continue
        reach = INSIDE * spread(grid, codes.shape)[0]
        moved = np.clip(exact.astype(np.float32) - middle, -reach, reach)
        yield slot.latent, (middle + moved).astype(np.float32)


def _as_stored(grid: Grid, rank: int) -> Grid:
    axis = grid.axis if grid.axis is None or grid.axis >= 0 else grid.axis + rank
    return replace(grid, axis=axis)


def _products(
    plan: Plan, slots: list[Slot], placed: Mapping[SiteKey, Placed]
) -> dict[str, tuple[str, str]]:
    """Scale of a bias -> the scales whose product it is."""
    found = {}
    for slot in slots:
        spec = slot.site.spec
        if isinstance(spec, Product):
            reader = slot.site.consumers[0]
            pair = (_read(plan, spec.data, reader), _read(plan, spec.weight, reader))
            if None not in pair:
                data, weight = (placed[key(s)].scale for s in pair if s is not None)
                found[slot.place.scale] = (data, weight)
    return found


def _read(plan: Plan, tensor: str, reader: str) -> Site | None:
    """The site at which ``reader`` reads ``tensor``."""
    for site in plan.sites:
        if site.tensor == tensor and (not site.consumers or reader in site.consumers):
            return site
    return None


def free_scales(slots: Sequence[Slot]) -> set[str]:
    """The scales that can change: those of a grid of their own which no fixed factor ties to
    another one."""
    by_tensor = {s.site.tensor: s.place.scale for s in slots}
    free = {s.place.scale for s in slots if isinstance(s.site.spec, Own)}
    for slot in slots:
        match slot.site.spec:
            case Scaled(source, _):
                free -= {by_tensor.get(source, ""), slot.place.scale}
            case Own() if not slot.site.spec.carried:
                pass
            case Own() | Fixed():
                free.discard(slot.place.scale)
            case Share() | Product():
                pass
            case never:
                assert_never(never)
    return free


def _insist(slots: Sequence[Slot], products: Mapping[str, tuple[str, str]]) -> None:
    for slot in slots:
        if isinstance(slot.site.spec, Product) and slot.place.scale not in products:
            raise ModelError(
                f"the scale of bias {slot.site.tensor!r} follows scales that are not in the file; "
                "accepted are scales='frozen', or that layer in float (keep_float)"
            )


@dataclass(slots=True)
class _Made:
    """A view with other nodes and constants."""

    old: GraphView
    slots: tuple[Slot, ...]
    products: Mapping[str, tuple[str, str]]
    latents: Mapping[str, Array]

    def view(self) -> GraphView:
        """Parameters of scales first, then products, then the graph with its new quantizers."""
        old, learned = self.old, {s.place.scale: s for s in self.slots if s.learned}
        parameters = {
            str(s.learned): as_parameter(s.grid.scale, s.grid.qtype.scale, s.grid.scale)
            for s in learned.values()
        } | {f"{s.learned}_from": s.grid.scale for s in learned.values()}
        gone = {*learned, *self.products, *(s.place.codes for s in self.slots if s.latent)}
        kept = {n: v for n, v in old.constants.items() if n not in gone}
        constants = {**kept, **self.latents, **parameters}
        nodes = (*self._scales(learned), *self._quantizers(learned))
        types = {n: TensorInfo(n, str(v.dtype.name), v.shape) for n, v in constants.items()}
        tensors = {**old.tensors, **types}
        return replace(old, nodes=nodes, tensors=tensors, constants=constants)

    def _scales(self, learned: Mapping[str, Slot]) -> Iterator[NodeView]:
        for scale, slot in learned.items():
            kind = {"kind": slot.grid.qtype.scale}
            yield _node(
                LEARNED, f"{scale}_node", (str(slot.learned), f"{slot.learned}_from"), scale, kind
            )

    def _quantizers(self, learned: Mapping[str, Slot]) -> Iterator[NodeView]:
        waiting = {s.place.codes: s for s in self.slots if s.latent}
        stored, products = set(waiting), dict(self.products)
        for node in self.old.nodes:
            for tensor in node.inputs:
                slot = waiting.pop(tensor, None)
                if slot is not None:
                    grid, place = slot.grid, slot.place
                    axis: dict[str, Any] = {} if grid.axis is None else {"axis": grid.axis}
                    axis |= {} if grid.block is None else {"block_size": grid.block}
                    axis |= {SHARED_BY: 0} if place.scale in learned else {}
                    axis[ENDS] = (grid.qtype.qmin, grid.qtype.qmax)
                    if place.scale in products:
                        pair = products.pop(place.scale)
                        yield _node(PRODUCT, f"{place.scale}_node", pair, place.scale, {})
                    read = (str(slot.latent), place.scale, place.zero)
                    yield _node(Q, f"{tensor}_node", read, tensor, axis)
            if node.op in PAIR and node.inputs[1] in learned:
                start = 0 if node.op == DQ and node.inputs[0] in stored else 1
                node = replace(node, attributes={**node.attributes, SHARED_BY: start})
            yield node


def _node(
    op: str, name: str, inputs: tuple[str, ...], output: str, attributes: Mapping[str, Any]
) -> NodeView:
    return NodeView(name, op, "", inputs, (output,), attributes)
