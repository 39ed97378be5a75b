"""Horizontal bar chart with names above the bars."""

from collections.abc import Sequence
from dataclasses import dataclass

from oq.page.svg import Scale, box, cut, drawing, group, link, text

LEFT, RIGHT = 2.0, 262.0
ROW = 37.0
NAME = 48
"""Characters of a name that fit above a bar."""


@dataclass(frozen=True, slots=True)
class Bar:
    """``values`` are (amount, CSS class, label after the bar); ``target`` is an anchor on the page,
    "" for none; ``words`` is the tooltip."""

    name: str
    values: tuple[tuple[float, str, str], ...]
    target: str
    words: str


def draw_bars(rows: Sequence[Bar], label: str) -> str:
    """``rows`` from top to bottom, on a common axis from 0."""
    most = max((v for row in rows for v, _, _ in row.values), default=0.0) or 1.0
    x = Scale(0.0, most, LEFT, RIGHT)
    height = ROW + 12.0 * (max((len(r.values) for r in rows), default=1) - 1)
    parts = [_row(row, x, i * height) for i, row in enumerate(rows)]
    return drawing(height * len(rows) + 2, label, *parts)


def _row(row: Bar, x: Scale, top: float) -> str:
    parts = [text(LEFT, top + 12, cut(row.name, NAME), "name")]
    for i, (value, kind, said) in enumerate(row.values):
        y = top + 16 + 12 * i
        parts.append(box(LEFT, y, max(x(value) - LEFT, 1), 9, kind, 1))
        parts.append(text(max(x(value), LEFT + 1) + 5, y + 8, said, "small"))
    whole = group(row.words, *parts)
    return link(row.target, whole) if row.target else whole
