"""docs/python.md, written from signatures and docstrings: ``python -m tests.reference``."""

import dataclasses
import enum
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import oq
from oq import plugin
from oq.comparison.compare import Verification
from oq.planning.spec import Plan
from oq.ranking.rank import Ranking
from oq.reporting.report import Report

PAGE = Path(oq.__file__).parents[1] / "docs" / "python.md"

RETURNED = (oq.Result, Report, Verification, Ranking, Plan)
GIVEN = (
    *(plugin.Statistics, plugin.Need, plugin.QType, plugin.Range, plugin.ErrorGains),
    *(plugin.Calibrator, plugin.covering, plugin.Grid),
)
"""What the author of a calibrator is given or gives."""

HEAD = """# Python

Written from the docstrings by `python -m tests.reference`; a test compares the two. `import oq` is
light: names are imported when they are first used.

What a function returns prints as the command line does (`print(result)`), is one line in a list,
and shows itself in a cell of a notebook. `logging.getLogger("oq")` reports stages at INFO and
single layers at DEBUG; `watch=` takes a function that is called with a stage, what is done of it
and the total.
"""


def page() -> str:
    """The whole page."""
    errors = [n for n in oq.__all__ if _is_error(getattr(oq, n))]
    names = [n for n in oq.__all__ if n not in errors and n != "Result"]
    parts = [HEAD, "## Functions\n", *(_entry(f"oq.{n}", getattr(oq, n)) for n in names)]
    parts += ["## What they return\n", *(_entry(c.__name__, c) for c in RETURNED)]
    parts += ["## Errors\n", *(f"* `oq.{n}`: {_first(getattr(oq, n))}\n" for n in errors)]
    parts += ["\n## For calibrators of your own\n\nFrom `oq.plugin`.\n"]
    parts += [_entry(c.__name__, c) for c in GIVEN]
    return "\n".join(parts).rstrip() + "\n"


def _is_error(what: object) -> bool:
    return isinstance(what, type) and issubclass(what, Exception)


def _entry(name: str, what: Any) -> str:
    kind = what.__name__ if isinstance(what, type) else ""
    lines = [f"### {name}\n", *([] if kind else [_block(_signature(name, what))])]
    lines.append(_block(inspect.cleandoc(_plain(inspect.getdoc(what) or ""))))
    members = [*_fields(what), *_methods(what)] if kind else []
    lines += ["".join(members)] if members else []
    return "\n".join(lines)


def _block(text: str) -> str:
    return f"```text\n{text}\n```\n"


def _signature(name: str, what: Any) -> str:
    """One parameter a line; types as they are written."""
    parameters = inspect.signature(what).parameters.values()
    shown = [f"    {_parameter(p)}," for p in parameters]
    star = next((i for i, p in enumerate(parameters) if p.kind is p.KEYWORD_ONLY), None)
    if star is not None:
        shown.insert(star, "    *,")
    return "\n".join((f"{name}(", *shown, ")"))


def _parameter(parameter: inspect.Parameter) -> str:
    default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
    return parameter.name + default


def _fields(what: type) -> Iterator[str]:
    if issubclass(what, enum.Enum):
        yield from (f"* `{member.name}`\n" for member in what)
    elif dataclasses.is_dataclass(what):
        for field in dataclasses.fields(what):
            kind = field.type if isinstance(field.type, str) else getattr(
                field.type, "__name__", str(field.type)
            )  # fmt: skip
            yield f"* `{field.name}`: {_kind(kind, field.type)}\n"


def _kind(name: str, whole: Any) -> str:
    """The type of a field, without the modules it comes from."""
    text = name if isinstance(whole, type) and not hasattr(whole, "__args__") else str(whole)
    return f"`{re.sub(r'(?:[a-z_]+[.])+', '', text)}`"


def _methods(what: type) -> Iterator[str]:
    for name, member in vars(what).items():
        told = inspect.getdoc(member) if callable(member) or isinstance(member, property) else None
        if not name.startswith("_") and told and name not in ("short",):
            call = "" if isinstance(member, property) else "()"
            yield f"* `{name}{call}`: {_first(member)}\n"


def _first(what: Any) -> str:
    """The first paragraph of a docstring in one line."""
    text = _plain(inspect.getdoc(what) or "").split("\n\n")[0]
    return " ".join(text.split())


def _plain(text: str) -> str:
    """Without roles: ``:func:`oq.search``` is oq.search."""
    return re.sub(r":(?:func|mod|class|data|attr|meth):`~?([^`]*)`", r"\1", text).replace("``", "`")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
