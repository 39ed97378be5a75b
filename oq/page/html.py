"""HTML elements; all text passes through :func:`escape` here."""

from collections.abc import Iterable, Sequence

from oq.page.svg import escape, of_kind


def paragraph(text: str, kind: str = "") -> str:
    return f"<p{of_kind(kind)}>{escape(text)}</p>"


def heading(level: int, text: str) -> str:
    return f"<h{level}>{escape(text)}</h{level}>"


def section(anchor: str, title: str, *parts: str) -> str:
    """A titled section of the page; "" if it is empty."""
    inside = "".join(parts)
    if not inside:
        return ""
    return f'<section id="{escape(anchor)}">{heading(2, title)}{inside}</section>'


def tile(label: str, value: str, more: str = "") -> str:
    """A key figure."""
    rest = f"<span>{escape(more)}</span>" if more else ""
    return f'<div class="tile"><span>{escape(label)}</span><b>{escape(value)}</b>{rest}</div>'


def card(title: str, picture: str, caption: str = "", more: str = "") -> str:
    """A chart with title and caption, and ``more`` HTML below."""
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure class="card">{heading(3, title)}{picture}{below}{more}</figure>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()) -> str:
    """``rows`` of text under ``head``; ``numbers`` are the right-aligned columns."""
    right = set(numbers)

    def cells(tag: str, row: Sequence[str]) -> str:
        kinds = ("n" if i in right else _width(tag, row[i]) for i in range(len(row)))
        return "".join(
            f"<{tag}{of_kind(k)}>{escape(c)}</{tag}>" for k, c in zip(kinds, row, strict=True)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    top = f"<thead><tr>{cells('th', head)}</tr></thead>" if any(head) else ""
    return f'<div class="scroll"><table>{top}<tbody>{body}</tbody></table></div>' if body else ""


UNBROKEN = 18
"""Letters: names of ops are no longer, and no cell breaks them."""


def _width(tag: str, text: str) -> str:
    """The class of a cell of text: long names break anywhere, words between words alone."""
    if tag != "td":
        return ""
    return "wide" if max(map(len, text.split()), default=0) > UNBROKEN else "words"


def fold(title: str, inside: str) -> str:
    """Collapsible content, without scripts."""
    return f"<details><summary>{escape(title)}</summary>{inside}</details>" if inside else ""


def items(rows: Iterable[str]) -> str:
    """A list of texts."""
    inside = "".join(f"<li>{escape(r)}</li>" for r in rows)
    return f"<ul>{inside}</ul>" if inside else ""
