"""Overview of the network: a cell per layer, in graph order, by how it runs."""

from collections.abc import Sequence

from oq.page.content import Layer
from oq.page.svg import WIDTH, box, drawing, group, line, link

CELL, GAP = 13.0, 3.0
ACROSS = int((WIDTH + GAP) // (CELL + GAP))

WORDS = {"int8": "in integers", "moved": "data movement", "float": "in float"}


def draw_overview(layers: Sequence[Layer], targets: Sequence[str]) -> str:
    """Filled: integers; half-filled: data movement; crossed out: float.  ``targets``: the anchor of
    each layer on the page."""
    parts = []
    for i, layer in enumerate(layers):
        row, column = divmod(i, ACROSS)
        x, y = column * (CELL + GAP), row * (CELL + GAP)
        words = f"{i}: {layer.name}, {'+'.join(layer.ops)}, {WORDS[layer.runs]}"
        parts.append(link(targets[i], group(words, *cell(layer.runs, x, y))))
    rows = -(-len(layers) // ACROSS)
    counts = {w: sum(la.runs == k for la in layers) for k, w in WORDS.items()}
    label = ", ".join(f"{n} layers {words}" for words, n in counts.items() if n)
    return drawing(rows * (CELL + GAP), label, *parts)


def cell(runs: str, x: float, y: float, size: float = CELL) -> list[str]:
    """The symbol for how a layer runs, readable without colour."""
    parts = [box(x + 0.5, y + 0.5, size - 1, size - 1, f"cell {runs}", 2)]
    if runs == "float":
        parts.append(line(x + 3, y + size - 3, x + size - 3, y + 3, "cross"))
    return parts
