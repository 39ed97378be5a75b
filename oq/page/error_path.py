"""Chart of the SQNR through the network: every tensor that both models share, in graph order."""

from collections.abc import Sequence

from oq.comparison.layers import LayerError
from oq.page.svg import Scale, cut, dot, drawing, path, short, text, y_axis

LEFT, RIGHT = 30.0, 352.0
TOP, BASE = 16.0, 150.0

HIGHEST = 80.0
"""Decibels; the top of the chart."""


def draw_error_path(rows: Sequence[LayerError]) -> str:
    """A line for the accumulated error, and a ring for the error that each layer adds alone.

    ``rows`` are in graph order; tensors that are not comparable between the models have no point.
    """
    found = [r for r in rows if r.alike]
    levels = [_held(r.sqnr_db) for r in found]
    alone = [r.added_db for r in found if r.added_db is not None and r.added_db < HIGHEST]
    lowest = min((*levels, *map(_held, alone), HIGHEST))
    y = Scale(min(0.0, lowest), max((*levels, *map(_held, alone), 10.0)), BASE, TOP)
    x = Scale(0.0, max(len(found) - 1, 1), LEFT + 4, RIGHT - 4)
    rings = [
        dot(x(i), y(_held(r.added_db)), 2.2, "ring", _words(r))
        for i, r in enumerate(found)
        if r.added_db is not None and r.added_db < HIGHEST
    ]
    points = [(x(i), y(level)) for i, level in enumerate(levels)]
    dots = [dot(*points[i], 2.2, "point", _words(r)) for i, r in enumerate(found)]
    return drawing(
        BASE + 36,
        f"SQNR of {len(found)} tensors from input to output, lowest {short(lowest)} dB",
        y_axis(y, LEFT, RIGHT),
        text(2, TOP - 1, "SQNR, dB", "small"),
        path(points, "curve"),
        *rings,
        *dots,
        _worst(found, points),
        text(LEFT, BASE + 14, "input", "small"),
        text(RIGHT, BASE + 14, "output", "small", "end"),
        text((LEFT + RIGHT) / 2, BASE + 14, "tensors in graph order", "small", "middle"),
        dot(LEFT + 4, BASE + 28, 2.6, "point"),
        text(LEFT + 11, BASE + 31, "accumulated", "small"),
        dot(LEFT + 114, BASE + 28, 2.6, "ring"),
        text(LEFT + 121, BASE + 31, "this layer alone", "small"),
    )


def _worst(rows: Sequence[LayerError], points: Sequence[tuple[float, float]]) -> str:
    """The name of the lowest point, if there is room for it."""
    if len(rows) < 2:
        return ""
    i = min(range(len(rows)), key=lambda n: (rows[n].sqnr_db, n))
    x, y = points[i]
    left = x > (LEFT + RIGHT) / 2
    where = min(y + 14, BASE - 3)
    return text(x, where, cut(rows[i].tensor, 34), "name", "end" if left else "start")


def _words(row: LayerError) -> str:
    added = "" if row.added_db is None else f", {short(row.added_db)} dB from this layer alone"
    return f"{row.tensor}: {short(row.sqnr_db)} dB{added}"


def _held(decibels: float | None) -> float:
    """``decibels``, clamped to the scale of the chart."""
    return HIGHEST if decibels is None else min(max(decibels, -10.0), HIGHEST)
