"""Horizontal bar chart with names above the bars."""

from collections.abc import Sequence
from dataclasses import dataclass

from oq.page.svg import Scale, box, cut, drawing, group, link, text

LEFT, RIGHT = 2.0, 262.0
ROW = 39.0
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
    told = shared_prefix([row.name for row in rows])
    parts = [_row(row, x, i * height, len(told)) for i, row in enumerate(rows)]
    return drawing(height * len(rows) + 2, label, *parts)


LONG = 12
"""Letters; a shorter common start of all names stays."""


def shared_prefix(names: Sequence[str]) -> str:
    """What all ``names`` begin with, up to a separator, where it is long.

    >>> shared_prefix(["/backbone/stage1/a", "/backbone/stage1/b"])
    '/backbone/stage1/'
    """
    if len(names) < 2:
        return ""
    first, last = min(names), max(names)  # what these two share, all names share
    same = next((i for i, pair in enumerate(zip(first, last, strict=False))
                 if pair[0] != pair[1]), min(len(first), len(last)))  # fmt: skip
    end = max(first[:same].rfind(mark) for mark in "/.") + 1
    return first[:end] if end >= LONG else ""


def _row(row: Bar, x: Scale, top: float, shared: int) -> str:
    name = f"\u2026{row.name[shared:]}" if shared else row.name
    parts = [text(LEFT, top + 12, cut(name, NAME), "name")]
    for i, (value, kind, said) in enumerate(row.values):
        y = top + 18 + 12 * i
        parts.append(box(LEFT, y, max(x(value) - LEFT, 1), 9, kind, 1))
        parts.append(text(max(x(value), LEFT + 1) + 5, y + 8, said, "small"))
    whole = group(row.words, *parts)
    return link(row.target, whole) if row.target else whole
