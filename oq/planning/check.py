"""What a target holds a finished file to: one row per check, and what it finds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from oq.model.view import GraphView

Severity = Literal["error", "warning"]

Found = tuple[str, str]
"""A node's name and what is wrong there."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong: where, what, and what to do.  An error stops the target from loading the
    file or makes its numbers wrong; a warning makes it run in float or slower."""

    check: str
    severity: Severity
    node: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Check:
    """One row: ``find`` yields every violation."""

    name: str
    severity: Severity
    find: Callable[[GraphView], Iterator[Found]]
    remedy: str
