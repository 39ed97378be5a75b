"""Console output and exit status: the only module that writes to standard output and standard
error.

With ``--json`` standard output has exactly one JSON document; messages about the run go to standard
error.
"""

import json
import logging
import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from oq.wording import printable, to_json

if TYPE_CHECKING:
    from oq.reporting.annotations import Case


def say(value: Any, lines: Iterable[str], as_json: bool) -> None:
    """Print ``value`` as JSON, or ``lines``."""
    if as_json:
        print(json.dumps(to_json(value), indent=2))
        return
    paint = _paint if sys.stdout.isatty() and "NO_COLOR" not in os.environ else str
    for line in lines:
        print(paint(printable(line)))


BOLD, RED, YELLOW, PLAIN = "\x1b[1m", "\x1b[31;1m", "\x1b[33m", "\x1b[0m"

PAINTED = (
    (RED, re.compile(r"\b(FAIL|MISSED|COLLAPSED|error(?= \[)|CALIBRATED ON RANDOM NUMBERS)")),
    (YELLOW, re.compile(r"\b(warning(?= \[)|dropped(?=, ))")),
    (BOLD, re.compile(r"^(PASS|wrote|next)\b")),
)
"""What stands out on a terminal (https://no-color.org turns it off)."""


def _paint(line: str) -> str:
    for colour, words in PAINTED:
        line = words.sub(rf"{colour}\1{PLAIN}", line)
    return line


def say_as(form: str, value: Any, lines: Iterable[str], file: str, cases: "Sequence[Case]") -> None:
    """Print ``value`` or its ``lines`` in the ``form`` that ``--format`` names: ``cases`` are what
    was checked of ``file``."""
    from oq.reporting.annotations import github_lines, junit_lines

    if form == "github":
        lines = github_lines(file, cases)
    elif form == "junit":
        lines = junit_lines("oq", file, cases)
    say(value, lines, form == "json")


def warn(text: str) -> None:
    """One line on standard error."""
    print(printable(f"oq: {text}"), file=sys.stderr)


class _Line(logging.Formatter):
    """Logged messages as the command line's own."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, as :func:`warn` prints it."""
        return printable(f"oq: {super().format(record)}")


def log_handler() -> logging.Handler:
    """What is logged goes to standard error, as :func:`warn` says it."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line("%(message)s"))
    return handler


def miss(text: str) -> NoReturn:
    """Exit with status 1: finished, but a limit was missed; ``text`` says which."""
    warn(text)
    raise typer.Exit(1)
