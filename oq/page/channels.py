"""Chart of a weight: the range of each output channel, and the range that its scale covers.

With a per-tensor scale, narrow channels get few of the quantization levels; per-channel scales and
equalization fix that (Nagel et al. 2019, "Data-Free Quantization", figure 2).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from oq.page.content import Weight
from oq.page.svg import Scale, blocks, box, drawing, short, text, y_axis

LEFT, RIGHT = 46.0, 352.0
TOP, BASE = 8.0, 128.0

NOTHING = 2.0**-16
"""Fraction of the widest channel's range below which a channel counts as dead."""

COLUMNS = 153
"""Maximum number of columns, two units each; with more channels, several share a column."""


@dataclass(frozen=True, slots=True)
class Column:
    """Extremes of the channels that share a column, and the widest of their quantized ranges."""

    lo: float
    hi: float
    grid_lo: float
    grid_hi: float


def draw_channels(weight: Weight) -> str:
    """A bar per channel from its minimum to its maximum, over the range that its scale covers."""
    columns = list(gather_columns(weight))
    lo = min(min(c.lo, c.grid_lo) for c in columns)
    hi = max(max(c.hi, c.grid_hi) for c in columns)
    y = Scale(lo, hi, BASE, TOP)
    width = (RIGHT - LEFT) / len(columns)
    gap = min(width / 5, 2.0) if width > 3 else 0.0
    reach, bars = [], []
    for i, column in enumerate(columns):
        left = LEFT + i * width
        reach.append((left, left + width, column.grid_lo, column.grid_hi))
        bars.append((left + gap / 2, left + width - gap / 2, column.lo, column.hi))
    label = f"Weights of {len(weight.lo)} output channels, {describe_spread(weight)}"
    return drawing(
        BASE + 34,
        label,
        _blocks(reach, y, "reach"),
        y_axis(y, LEFT, RIGHT),
        _blocks(bars, y, "bars"),
        text(LEFT, BASE + 14, "channel 0", "small"),
        text(RIGHT, BASE + 14, f"channel {len(weight.lo) - 1}", "small", "end"),
        box(LEFT, BASE + 21, 9, 9, "bars"),
        text(LEFT + 13, BASE + 29, "weights", "small"),
        box(LEFT + 62, BASE + 21, 9, 9, "reach"),
        text(LEFT + 75, BASE + 29, "range of the scale", "small"),
    )


def gather_columns(weight: Weight) -> Iterator[Column]:
    """Columns of consecutive channels, as few channels per column as possible."""
    count = len(weight.lo)
    each = -(-count // COLUMNS)
    shared = len(weight.grid_lo) != count
    for first in range(0, count, each):
        part = slice(first, first + each)
        grid = slice(0, 1) if shared else part
        yield Column(
            min(weight.lo[part]),
            max(weight.hi[part]),
            min(weight.grid_lo[grid]),
            max(weight.grid_hi[grid]),
        )


def describe_spread(weight: Weight) -> str:
    """The widest and the narrowest channel, in words."""
    reach = [max(-lo, hi) for lo, hi in zip(weight.lo, weight.hi, strict=True)]
    alive = [r for r in reach if r > max(reach) * NOTHING]
    if not alive:
        return "all zero"
    text = f"widest \u00b1{short(max(alive))}, narrowest \u00b1{short(min(alive))}"
    dead = len(reach) - len(alive)
    ratio = max(alive) / min(alive)
    return (
        text
        + (f" ({ratio:,.0f} times narrower)" if ratio >= 1.5 else "")
        + (f", {dead} almost zero" if dead else "")
    )


def _blocks(columns: Sequence[tuple[float, float, float, float]], y: Scale, kind: str) -> str:
    """Columns (left, right, low, high) as one path of closed pieces."""
    return blocks([(left, y(high), right, y(low)) for left, right, low, high in columns], kind)
