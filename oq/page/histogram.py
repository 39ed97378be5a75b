"""Chart of an activation: its histogram, and the range that each calibrator chooses.

Counts are on a logarithmic axis, so that the tails, where calibrators differ, are visible.  Bars
outside the chosen range are clipped values.
"""

from itertools import pairwise
from math import log10

from oq.page.content import Activation, Choice
from oq.page.svg import (
    WIDTH,
    Scale,
    blocks,
    box,
    drawing,
    group,
    line,
    many,
    short,
    text,
    x_axis,
)

LEFT, RIGHT = 93.0, 309.0
TOP, BASE = 20.0, 136.0
LANES = BASE + 40
LANE = 17.0

LEAST = 0.25
"""The count at the bottom of the logarithmic axis, low enough to show a single value, even if it is
split between bins."""


def draw_histogram(seen: Activation) -> str:
    """The histogram of ``seen`` over one lane per calibrator."""
    x = Scale(seen.start, seen.end, LEFT, RIGHT)
    height = LANES + LANE * len(seen.choices) + 2
    label = (
        f"Histogram of {seen.count} values from {short(seen.lo)} to {short(seen.hi)}; "
        + "; ".join(f"{c.calibrator}: {short(c.lo)} to {short(c.hi)}" for c in seen.choices)
    )
    return drawing(height, label, _bars(seen, x), _ends(seen, x), x_axis(x, BASE), _lanes(seen, x))


def _bars(seen: Activation, x: Scale) -> str:
    most = max((*seen.bins, 10.0))
    y = Scale(log10(LEAST), log10(most), BASE, TOP)
    width = (seen.end - seen.start) / len(seen.bins)
    kept: list[tuple[float, float, float, float]] = []
    lost: list[tuple[float, float, float, float]] = []
    for i, count in enumerate(seen.bins):
        middle = seen.start + (i + 0.5) * width
        top = y(log10(max(count, LEAST)))
        column = (x(middle - width / 2), top, x(middle + width / 2), BASE)
        if count > LEAST:
            inside = seen.grid_lo - width / 2 <= middle <= seen.grid_hi + width / 2
            (kept if inside else lost).append(column)
    decades = range(0, int(log10(most)) + 1, 1 if most < 1e4 else 2)
    marks = [
        line(LEFT, y(float(d)), RIGHT, y(float(d)), "faint")
        + text(LEFT - 5, y(float(d)) + 3, many(10.0**d), "small", "end")
        for d in decades
    ]
    return "".join(
        (
            *marks,
            blocks(kept, "bars"),
            blocks(lost, "cut"),
            text(LEFT, TOP - 8, "values per bin, logarithmic", "small"),
        )
    )


def _ends(seen: Activation, x: Scale) -> str:
    """The ends of the chosen range that lie within the chart."""
    ends = [e for e in (seen.grid_lo, seen.grid_hi) if seen.start <= e <= seen.end]
    foot = LANES + LANE * len(seen.choices) - 4
    return "".join(line(x(e), TOP, x(e), foot, "end") for e in ends)


def _lanes(seen: Activation, x: Scale) -> str:
    head = LANES - 5
    parts = [
        text(LEFT - 5, head, "range by", "small", "end"),
        text(WIDTH - 1, head, "SQNR dB", "small", "end"),
    ]
    best = max((c.sqnr_db for c in seen.choices if c.sqnr_db is not None), default=None)
    for i, choice in enumerate(seen.choices):
        y = LANES + LANE * i + 9
        parts.append(_lane(choice, x, y, choice.calibrator == seen.calibrator, best))
    return "".join(parts)


def _lane(choice: Choice, x: Scale, y: float, chosen: bool, best: float | None) -> str:
    a, b = x(choice.lo), x(choice.hi)
    strong = " strong" if chosen else ""
    name = f"\u25b8 {choice.calibrator}" if chosen else choice.calibrator
    error = "" if choice.sqnr_db is None else f"{choice.sqnr_db:.1f}"
    mark = " best" if choice.sqnr_db is not None and choice.sqnr_db == best else ""
    words = (
        f"{choice.calibrator}: {short(choice.lo)} to {short(choice.hi)}, clips "
        f"{short(choice.clipped)} % of the values" + (f", SQNR {error} dB" if error else "")
    )
    return group(
        words,
        text(LEFT - 5, y + 3, name, f"small{strong}", "end"),
        box(a, y - (3 if chosen else 1), max(b - a, 1), 6 if chosen else 2, f"lane{strong}"),
        *(line(e, y - 4, e, y + 4, "lane-end") for e in (a, b)),
        text(WIDTH - 1, y + 3, error, f"small{strong or mark}", "end"),
    )


def bin_edges(seen: Activation) -> list[tuple[float, float]]:
    """(low, high) of every bin, as real values."""
    width = (seen.end - seen.start) / len(seen.bins)
    edges = [seen.start + i * width for i in range(len(seen.bins) + 1)]
    return list(pairwise(edges))
