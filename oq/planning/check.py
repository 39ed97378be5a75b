"""The types of legality checks: a row of the table of checks, and a finding."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from oq.model.view import GraphView

Severity = Literal["error", "warning"]

Found = tuple[str, str]
"""The name of a node and the problem there."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem: where, what, and how to fix it.  An error stops the target from loading the file
    or makes its results wrong; a warning makes it run in float or slower."""

    check: str
    severity: Severity
    node: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Check:
    """A check by name: ``find`` yields every violation."""

    name: str
    severity: Severity
    find: Callable[[GraphView], Iterator[Found]]
    remedy: str
