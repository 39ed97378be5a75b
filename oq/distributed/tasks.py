"""What runs on the nodes: an item of some work, a join of results, the count of what is done."""

import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from oq import errors
from oq.errors import OptionError, OqError
from oq.parallel import keep_to

SAME = ("oq", "numpy", "onnx", "onnxruntime")
"""Packages that must be of one version everywhere: others compute other bytes."""

CORES = 1
"""Of each task: what it asks Ray for."""

TELL_SECONDS = 0.2
"""At least so long apart a task tells how far it is."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where tasks run: the folder that relative paths are relative to, and the versions of
    :data:`SAME`."""

    folder: str
    versions: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an item ended: with ``done`` told, or refused by an OqError."""

    done: int = 0
    kind: str = ""
    message: str = ""

    def check(self) -> None:
        """Raise the error that the work has raised, if it has."""
        if self.kind:
            kind = getattr(errors, self.kind, OqError)
            error: OqError = kind.__new__(kind, self.message)  # MissingExtra makes its own words
            raise error


def version(package: str) -> str:
    """The version that ``package`` states itself: its distribution may have another name."""
    return str(import_module(package).__version__)


def this_place() -> Place:
    """The folder and the versions of this process."""
    return Place(str(Path.cwd()), tuple((name, version(name)) for name in SAME))


def enter(place: Place) -> None:
    """Make this process like the one that asks.

    Raises:
        OptionError: a package is of another version here.
    """
    if os.path.isdir(place.folder):  # where it is missing, relative paths are not found
        os.chdir(place.folder)
        if place.folder not in sys.path:
            sys.path.insert(0, place.folder)
    for name, wanted in place.versions:
        if (found := version(name)) != wanted:
            raise OptionError(
                f"--ray: node {socket.gethostname()} has {name} {found}, this one {wanted}: "
                "install the same, since others give other bytes"
            )


def run_item(
    work: list[Any], item: Any, number: int, place: Place, tally: Any
) -> tuple[Outcome, Any]:
    """(how it ended, what the work made of ``item``).  ``work`` is in a list so that it is loaded
    here, in its folder, and not before; ``tally`` None is told nothing."""
    import ray

    told = [0, 0.0]

    def tell(done: int) -> None:
        told[0] = done
        if tally is not None and time.monotonic() - told[1] > TELL_SECONDS:
            told[1] = time.monotonic()
            tally.tell.remote(number, done)

    try:
        enter(place)
        with keep_to(CORES):
            found = ray.get(work[0])(item, tell)
    except OqError as error:
        return Outcome(0, type(error).__name__, str(error)), None
    return Outcome(int(told[0])), found


def join_all(join: Callable[[Sequence[Any]], Any], *parts: Any) -> Any:
    """What ``join`` makes of ``parts``."""
    return join(parts)


class Tally:
    """What tasks under way have told."""

    def __init__(self) -> None:
        self._done: dict[int, int] = {}

    def tell(self, number: int, done: int) -> None:
        """Item ``number`` is at ``done``; a lost one begins again."""
        self._done[number] = done

    def read(self) -> dict[int, int]:
        """How much of each item is done."""
        return self._done
