"""The plan around one layer: its inputs, its readers, and which edges are quantized."""

from collections.abc import Sequence

from oq.page.content import Edge, Evidence, Layer
from oq.page.overview import WORDS
from oq.page.svg import WIDTH, at, box, cut, drawing, escape, group, line, link, path, text

ACROSS = 2
"""Neighbours per row."""

WIDE = 172.0
HIGH = 48.0
ROW = HIGH + 6
FLOW = 26.0
LETTERS = 24
PORT = "model"


def draw_neighbours(number: int, found: Evidence, targets: Sequence[str]) -> str:
    """Layer ``number`` with its neighbours; ``targets`` are the anchors of the layers."""
    layer = found.layers[number]
    above = [e for e in found.edges if e.reader == number]
    below = [e for e in found.edges if e.source == number]
    height = 10 + 15.0 * len(layer.nodes)
    top = _block(len(above)) + (FLOW if above else 0)
    bottom = top + height + (FLOW if below else 0)
    parts = []
    for edges, first, upward in ((above, 0.0, True), (below, bottom, False)):
        for i, edge in enumerate(edges):
            x, y = _place(i, len(edges), first)
            end = edge.source if upward else edge.reader
            name = f"model {'input' if upward else 'output'}"
            parts.append(_neighbour(end, name, edge, found.layers, targets, x, y))
        joint = top if upward else top + height
        parts.append(_flow(edges, joint, upward))
    parts.append(_centre(layer, top, height))
    label = (
        f"{layer.name} {WORDS[layer.runs]}, fed by "
        + (", ".join(_called(e.source, found.layers, "the model's input") for e in above) or "none")
        + ", read by "
        + (
            ", ".join(_called(e.reader, found.layers, "the model's output") for e in below)
            or "none"
        )
    )
    return drawing(bottom + _block(len(below)) + 2, label, *parts)


def _block(count: int) -> float:
    """The height of ``count`` neighbours."""
    return -(-count // ACROSS) * ROW - (ROW - HIGH) if count else 0.0


def _place(i: int, count: int, first: float) -> tuple[float, float]:
    """The corner of neighbour ``i`` of ``count``; a single one in the last row is centred."""
    row, column = divmod(i, ACROSS)
    in_row = min(ACROSS, count - row * ACROSS)
    width = in_row * WIDE + (in_row - 1) * (WIDTH - ACROSS * WIDE) / max(ACROSS - 1, 1)
    step = WIDE + (WIDTH - ACROSS * WIDE) / max(ACROSS - 1, 1)
    return (WIDTH - width) / 2 + column * step, first + row * ROW


def _neighbour(
    end: int,
    port: str,
    edge: Edge,
    layers: Sequence[Layer],
    targets: Sequence[str],
    x: float,
    y: float,
) -> str:
    if end < 0:
        name, ops, runs = cut(edge.tensor, LETTERS), port, PORT
    else:
        name, ops, runs = (
            cut(layers[end].name, LETTERS),
            "+".join(layers[end].ops),
            layers[end].runs,
        )
    grid = edge.grid or "float"
    drawn = group(
        f"{edge.tensor}: {grid}",
        box(x + 0.5, y + 0.5, WIDE - 1, HIGH - 1, f"node {runs}", 5),
        text(x + WIDE / 2, y + 14, name, "name", "middle"),
        text(x + WIDE / 2, y + 27, cut(ops, LETTERS), "small", "middle"),
        text(x + WIDE / 2, y + 41, grid, "small grid", "middle"),
    )
    return link(targets[end], drawn) if end >= 0 else drawn


def _flow(edges: Sequence[Edge], joint: float, upward: bool) -> str:
    """Lines between the nearest neighbours and the layer: solid where all edges are quantized."""
    columns: dict[float, list[int]] = {}
    for i in range(len(edges)):
        columns.setdefault(_place(i, len(edges), 0.0)[0] + WIDE / 2, []).append(i)
    parts = []
    for x, mine in sorted(columns.items()):
        kind = "codes" if all(edges[i].grid for i in mine) else "real"
        inner = min(max(x, WIDTH / 2 - 60), WIDTH / 2 + 60)
        if upward:
            above = _place(mine[-1], len(edges), 0.0)[1] + HIGH
            parts += [line(x, above, inner, joint - 6, f"flow {kind}"), _head(inner, joint)]
        else:
            end = joint + FLOW
            parts += [line(inner, joint, x, end - 6, f"flow {kind}"), _head(x, end)]
    return "".join(parts)


def _head(x: float, y: float) -> str:
    return path([(x - 4, y - 6), (x, y), (x + 4, y - 6)], "head", closed=True)


def _centre(layer: Layer, top: float, height: float) -> str:
    x, wide = 40.0, WIDTH - 80.0
    parts = [box(x, top, wide, height, f"node here {layer.runs}", 6)]
    for i, (node, op) in enumerate(zip(layer.nodes, layer.ops, strict=True)):
        y = top + 16 + 15 * i
        parts.append(
            f'<text x="{at(x + 10)}" y="{at(y)}"><tspan class="strong">{escape(op)}</tspan> '
            f'<tspan class="small">{escape(cut(node, int(38 - 1.3 * len(op))))}</tspan></text>'
        )
    return "".join(parts)


def _called(number: int, layers: Sequence[Layer], port: str) -> str:
    return port if number < 0 else layers[number].name
