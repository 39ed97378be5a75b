"""SVG elements as strings, linear scales, and axes.

All charts are :data:`WIDTH` units wide, the width of a phone in CSS pixels, so that text keeps its
size there and is slightly larger on a desktop.  Colours are classes of the page's style sheet.
"""

import html
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

WIDTH = 360

Points = Iterable[tuple[float, float]]
"""(x, y) in units, from the top left."""


def escape(text: object) -> str:
    """``text`` escaped for HTML and XML, in content and in quoted attributes; characters that
    neither allows become U+FFFD."""
    return html.escape(_FORBIDDEN.sub("\ufffd", str(text)), quote=True)


_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Scale:
    """Linear: value ``lo`` lies at ``start``, ``hi`` at ``end`` (units)."""

    lo: float
    hi: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        width = self.hi - self.lo
        share = (value - self.lo) / width if width else 0.5
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)


def ticks(lo: float, hi: float, most: int = 5) -> tuple[float, ...]:
    """Round numbers in [lo, hi], at most ``most``, a step of 1, 2 or 5 times a power of ten apart.

    >>> ticks(0, 7.3)
    (0.0, 2.0, 4.0, 6.0)
    """
    width = hi - lo
    if not (width > 0 and math.isfinite(width)):
        return (lo,)
    rough = width / most
    power = 10.0 ** math.floor(math.log10(rough))
    steps = (power * m for m in (1, 2, 5, 10, 20))
    for step in steps:
        first, last = math.ceil(lo / step - 1e-9), math.floor(hi / step + 1e-9)
        if last - first + 1 <= most:
            return tuple(float(f"{i * step:.6g}") for i in range(first, last + 1))
    return (lo,)


PLAIN = 1e5
"""Numbers from here on are written with an exponent."""


def short(value: float, digits: int = 3) -> str:
    """A number for a label: ``digits`` significant digits, a real minus sign.

    >>> short(0.12345), short(100.0, 2), short(1234.5), short(1e6), short(1e-7)
    ('0.123', '100', '1234', '1e6', '1e\u22127')
    """
    if not math.isfinite(value):
        return "\u221e" if value > 0 else "\u2212\u221e"
    text = f"{value:.{digits}g}"
    if "e+" in text and abs(value) < PLAIN:
        text = f"{value:.0f}"
    elif "e" in text:
        head, _, power = text.partition("e")
        text = f"{head}e{int(power)}"
    return text.replace("-", "\u2212")


def many(count: float) -> str:
    """A count for a label: ``1.2 M``."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}\u202f{unit}"
    return f"{count:.3g}"


def cut(text: str, most: int) -> str:
    """The end of ``text``, where names differ.

    >>> cut("/layer3/conv1/Conv", 10)
    '\u2026nv1/Conv'
    """
    return text if len(text) <= most else "\u2026" + text[-(most - 2) :]


def at(value: float) -> str:
    """A coordinate with one decimal."""
    text = f"{value:.1f}"
    return text.removesuffix(".0") if text != "-0.0" else "0"


def drawing(height: float, label: str, *parts: str) -> str:
    """An SVG image with its accessible description."""
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {at(height)}" role="img" '
        f'xmlns="http://www.w3.org/2000/svg" aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    """``words``, the baseline at ``y``."""
    end = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{at(x)}" y="{at(y)}"{of_kind(kind)}{end}>{escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{at(x1)}" y1="{at(y1)}" x2="{at(x2)}" y2="{at(y2)}"{of_kind(kind)}/>'


def box(x: float, y: float, width: float, height: float, kind: str, round_by: float = 0) -> str:
    """A rectangle."""
    corner = f' rx="{at(round_by)}"' if round_by else ""
    return (
        f'<rect x="{at(x)}" y="{at(y)}" width="{at(max(width, 0))}" height="{at(max(height, 0))}"'
        f"{corner}{of_kind(kind)}/>"
    )


def dot(x: float, y: float, radius: float, kind: str, words: str = "") -> str:
    """A disc; ``words`` is its tooltip."""
    inside = f"<title>{escape(words)}</title>" if words else ""
    return f'<circle cx="{at(x)}" cy="{at(y)}" r="{at(radius)}"{of_kind(kind)}>{inside}</circle>'


def path(points: Points, kind: str, closed: bool = False) -> str:
    """Straight lines from point to point; "" if there are no points."""
    where = " ".join(f"{at(x)} {at(y)}" for x, y in points)
    end = "Z" if closed else ""
    return f'<path d="M{where}{end}"{of_kind(kind)}/>' if where else ""


def group(words: str, *parts: str) -> str:
    """A group of ``parts`` with the tooltip ``words``."""
    return f"<g><title>{escape(words)}</title>{''.join(parts)}</g>"


def link(target: str, *parts: str) -> str:
    """``parts`` as a link to ``target`` on the same page; plain where there is none."""
    if not target:
        return "".join(parts)
    return f'<a href="#{escape(target)}">{"".join(parts)}</a>'


def blocks(corners: Iterable[tuple[float, float, float, float]], kind: str) -> str:
    """Rectangles (left, top, right, bottom) as one path, which is smaller than many elements."""
    where = "".join(
        f"M{at(left)} {at(top)}H{at(right)}V{at(bottom)}H{at(left)}Z"
        for left, top, right, bottom in corners
    )
    return f'<path d="{where}"{of_kind(kind)}/>' if where else ""


def x_axis(scale: Scale, y: float, most: int = 5) -> str:
    """A line with ticks and their numbers below."""
    parts = [line(scale.start, y, scale.end, y, "axis")]
    for value in ticks(scale.lo, scale.hi, most):
        x = scale(value)
        parts += [line(x, y, x, y + 3, "axis"), text(x, y + 13, short(value), "small", "middle")]
    return "".join(parts)


def y_axis(scale: Scale, left: float, right: float, most: int = 5) -> str:
    """Horizontal grid lines with their numbers on the left."""
    parts = []
    for value in ticks(scale.lo, scale.hi, most):
        y = scale(value)
        parts += [
            line(left, y, right, y, "faint"),
            text(left - 4, y + 3, short(value), "small", "end"),
        ]
    return "".join(parts)


def of_kind(kind: str) -> str:
    """The attribute that gives an element the class ``kind``, "" for none."""
    return f' class="{kind}"' if kind else ""
