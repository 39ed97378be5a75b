"""Text formatting shared by all of oq: 80 columns, counts, decibels, and values as JSON."""

import dataclasses
import html
import math
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any, ClassVar

from oq.errors import shorten

WIDTH = 80


class Told:
    """A value that says itself: ``print`` gives the text of the command line, a notebook the same
    in a monospaced block, and ``repr`` one line.

    ``WORDS``: ``module:function`` that yields the lines, which stands above the value's own module.
    """

    __slots__ = ()
    WORDS: ClassVar[str] = ""
    HTML: ClassVar[str] = ""
    """The same for what a notebook shows: a function that gives HTML; none: the text."""

    def short(self) -> str:
        """The value in a few words."""
        return ""

    def __str__(self) -> str:
        lines: Iterable[str] = _called(self.WORDS)(self)
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.short()}>"

    def _repr_html_(self) -> str:
        if self.HTML:
            return str(_called(self.HTML)(self))
        return f'<pre style="line-height: 1.3">{html.escape(str(self))}</pre>'


def _called(name: str) -> Callable[..., Any]:
    """``module:function``."""
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), function)
    return found


LABEL = 12


def to_json(value: Any) -> Any:
    """``value`` as what ``json.dumps`` takes; NaN and infinities become null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"kind": type(value).__name__, **fields} if _is_spec(value) else fields
    if isinstance(value, Mapping):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


COMMAND = "oq "
"""In front of lines that are copied, whole."""


def printable(text: str) -> str:
    """``text`` for a terminal: names that are too long to read are cut, and what they hold of
    control sequences is escaped.

    >>> printable("a\\x1b[31mb\\n")
    'a\\\\x1b[31mb\\n'
    """
    text = text if text.lstrip().startswith(COMMAND) else shorten(text)
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text
    )


def _is_spec(value: Any) -> bool:
    return type(value).__name__ in {"Own", "Share", "Scaled", "Fixed", "Product"}


def counted(number: int, noun: str) -> str:
    """``1 layer``, ``2 layers``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def generalize(reason: str, node: str = "") -> str:
    """``reason`` with "it" in place of a leading ``node`` and "..." in place of other names, or
    nothing where the word in front says what they are, to group equal cases.

    >>> generalize("'c2' has 4 groups, beside 'c1'", "c2")
    'it has 4 groups, beside ...'
    >>> generalize("its layer 'c1' stays in float")
    'its layer stays in float'
    """
    if node and reason.startswith(f"{node!r} "):
        reason = f"it{reason.removeprefix(repr(node))}"
    reason = re.sub(r"\b(layer|node|tensor|input|output|weight) '[^']*'", r"\1", reason)
    return re.sub(r"(^| )'[^']*'", r"\1...", reason)


def db(value: float | None) -> str:
    """Decibels with one decimal: "equal" for inf, "" for None."""
    if value is None:
        return ""
    return f"{value:.1f}" if math.isfinite(value) else ("equal" if value > 0 else "-inf")


def cut(text: str, width: int) -> str:
    """``text`` truncated at the start if it is wider than ``width``."""
    return text if len(text) <= width else "..." + text[-(width - 3) :]


def row(label: str, text: str) -> Iterable[str]:
    """``label`` in the first column, ``text`` wrapped in the second."""
    wrapped = textwrap.wrap(text, WIDTH - LABEL, break_long_words=False, break_on_hyphens=False)
    first = f"{label:<{LABEL - 1}} "  # a long label pushes its line to the right
    for i, line in enumerate(wrapped):
        yield f"{first if i == 0 else ' ' * LABEL}{line}".rstrip()


def shell_row(label: str, command: str) -> Iterable[str]:
    """:func:`row` for a line of a shell, continued by backslashes, so that it can be copied."""
    lines = [*row(label, command)]
    yield from (f"{line} \\" for line in lines[:-1])
    yield from lines[-1:]


def item(text: str, indent: int = 2) -> Iterable[str]:
    """``text`` wrapped, with a hanging indent of two."""
    pad = " " * indent
    yield from textwrap.wrap(
        text,
        WIDTH,
        initial_indent=pad,
        subsequent_indent=pad + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
