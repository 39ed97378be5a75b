"""(graph, kernels, places) -> the layers of a page and the edges between them."""

from collections.abc import Iterator, Mapping, Sequence

from oq.checks.forecast import Forecast, NodeForecast
from oq.model.ops import SHAPE_OPS, anchor, only_moves
from oq.model.view import GraphView
from oq.page.content import Edge, Layer, Runs
from oq.page.places import Place
from oq.planning.spec import Group, Skip


def kernels_and_skips(found: Forecast) -> tuple[tuple[Group, ...], tuple[Skip, ...]]:
    """A forecast in the form of a plan: the kernels, and what stays in float."""
    groups: dict[frozenset[str], Group] = {}
    ops = {f.node: f.op for f in found.nodes}
    skips = []
    for entry in found.nodes:
        if entry.runs == "float":
            skips.append(Skip(entry.node, entry.op, entry.reason))
            continue
        nodes = _together(entry, list(ops))
        kinds = tuple(ops[n] for n in nodes)
        groups.setdefault(frozenset(nodes), Group(nodes, kinds, entry.kernel or entry.op))
    return tuple(groups.values()), tuple(skips)


def _together(entry: NodeForecast, order: Sequence[str]) -> tuple[str, ...]:
    mine = {entry.node, *entry.with_nodes}
    return (entry.node,) if len(mine) == 1 else tuple(n for n in order if n in mine)


def layers(
    view: GraphView,
    groups: Sequence[Group],
    skips: Sequence[Skip],
    places: Sequence[Place],
    pictures: frozenset[str],
) -> tuple[Layer, ...]:
    """Every kernel, and every float node, in graph order.

    ``pictures`` are the tensors that have a chart; each layer lists those among its quantized
    inputs.
    """
    owner = {n: g for g in groups for n in g.nodes}
    reasons = {s.node: s.reason for s in skips}
    found: dict[tuple[str, ...], Layer] = {}
    for node in view.nodes:
        group = owner.get(node.name)
        if group is not None and group.nodes not in found:
            runs: Runs = "moved" if all(map(only_moves, group.ops)) else "int8"
            name = anchor(group.nodes, group.ops)
            found[group.nodes] = Layer(name, group.nodes, group.ops, runs)
        elif group is None and node.op not in SHAPE_OPS:
            reason = reasons.get(node.name, "the target does not support it in int8")
            found[(node.name,)] = Layer(node.name, (node.name,), (node.op,), "float", reason)
    return tuple(_with_pictures(layer, view, places, pictures) for layer in found.values())


def _with_pictures(
    layer: Layer, view: GraphView, places: Sequence[Place], pictures: frozenset[str]
) -> Layer:
    mine = {n: view.node(n) for n in layer.nodes}
    read = {t for n in mine.values() for t in n.inputs}
    sides: dict[bool, list[str]] = {True: [], False: []}
    for place in places:
        here = place.tensor in read and (
            not place.consumers or not mine.keys().isdisjoint(place.consumers)
        )
        side = sides[place.values is None]
        if here and place.tensor in pictures and place.tensor not in side:
            side.append(place.tensor)
    return Layer(
        layer.name,
        layer.nodes,
        layer.ops,
        layer.runs,
        layer.reason,
        tuple(sides[True]),
        tuple(sides[False]),
    )


def edges(view: GraphView, found: Sequence[Layer], places: Sequence[Place]) -> tuple[Edge, ...]:
    """The tensors between ``found`` layers, and in and out of the model, without constants."""
    number = {n: i for i, layer in enumerate(found) for n in layer.nodes}
    grids = _Grids(places)
    flows: dict[tuple[str, int, int], Edge] = {}
    for tensor, source, reader in _flows(view, number):
        nodes = () if reader < 0 else found[reader].nodes
        name = next((n for n in nodes if tensor in view.node(n).inputs), "")
        edge = Edge(tensor, source, reader, grids.read_by(tensor, name))
        flows.setdefault((tensor, source, reader), edge)
    return tuple(flows.values())


def _flows(view: GraphView, number: Mapping[str, int]) -> Iterator[tuple[str, int, int]]:
    fed = {i.name for i in view.inputs}
    for node in view.nodes:
        reader = number.get(node.name)
        for tensor in (*node.inputs, *node.captured):
            producer = view.producer(tensor)
            if reader is None or (producer is None and tensor not in fed):
                continue
            source = -1 if producer is None else number.get(producer.name)
            if source is not None and source != reader:
                yield tensor, source, reader
    for tensor in view.outputs:
        producer = view.producer(tensor)
        if producer is not None and producer.name in number:
            yield tensor, number[producer.name], -1


class _Grids:
    """Type and scale with which a tensor is read, in words."""

    def __init__(self, places: Sequence[Place]) -> None:
        self.places: dict[str, list[Place]] = {}
        for place in places:
            self.places.setdefault(place.tensor, []).append(place)

    def read_by(self, tensor: str, node: str) -> str:
        """For ``node`` ("": a graph output); "" if it is read in float."""
        for place in self.places.get(tensor, ()):
            if not place.consumers or node in place.consumers:
                grid = place.grid
                if grid.scale.ndim:
                    return f"{grid.qtype.dtype}, {grid.scale.size} scales"
                return f"{grid.qtype.dtype}, scale {float(grid.scale):.3g}"
        return ""
