"""Progress: bars on a terminal, a line per stage elsewhere, the logger ``oq`` for programs.

Every stage says that it starts and what it has done to a :data:`Watch`, and logs its seconds.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

Watch = Callable[[str, int, int | None], None]
"""Called with a stage, what is done of it (samples, layers) and the total (None if unknown)."""

LOG = logging.getLogger("oq")
"""Stages at INFO, single layers at DEBUG, what needs attention at WARNING."""

HEARTBEAT = 20.0
"""Seconds after which a long stage says how far it is."""

NOTABLE = 0.05
"""Seconds; stages that take less are logged at DEBUG."""

Item = TypeVar("Item")


def set_loudness(*, quiet: bool, verbose: bool) -> None:
    """What the command line writes on standard error beside errors: nothing; a bar on a terminal
    and a line per stage elsewhere; or lines for single layers too."""
    plain = logging.WARNING if sys.stderr.isatty() else logging.INFO
    LOG.setLevel(logging.ERROR if quiet else logging.DEBUG if verbose else plain)


def is_quiet() -> bool:
    """Whether the command line asked for errors alone."""
    return not LOG.isEnabledFor(logging.WARNING)


@contextmanager
def warnings_alone() -> Iterator[None]:
    """No lines of stages, unless they are asked for: for a command that says itself what it
    does."""
    level = LOG.level
    if not is_verbose():
        LOG.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        LOG.setLevel(level)


def is_verbose() -> bool:
    """Whether the command line asked for what is done in detail."""
    return LOG.isEnabledFor(logging.DEBUG)


@contextmanager
def show_progress() -> Iterator[Watch | None]:
    """A bar for the stage that runs, with its speed, the time gone and the time left, where
    standard error is a terminal and no lines are logged there; removed at the end."""
    if not sys.stderr.isatty() or LOG.getEffectiveLevel() != logging.WARNING:
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (
        TextColumn("{task.description:<16}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        shown: list[tuple[str, Any]] = []

        def watch(stage: str, done: int, total: int | None) -> None:
            if not shown or shown[-1][0] != stage:
                if shown:
                    bars.remove_task(shown[-1][1])
                shown.append((stage, bars.add_task(stage, total=total, speed="", left="")))
            task = shown[-1][1]
            elapsed = next(t.elapsed for t in bars.tasks if t.id == task)
            speed = f"{done / elapsed:,.0f}/s" if elapsed and done else ""
            rest = elapsed * (total - done) / done if elapsed and done and total else None
            left = "" if rest is None else f"{rest:,.0f} s left"
            shows = done in (0, total)  # a stage may end before the next frame is drawn
            bars.update(task, completed=done, total=total, speed=speed, left=left, refresh=shows)

        yield watch


def _now() -> float:
    return time.monotonic()


@dataclass(slots=True)
class Clock:
    """Wall seconds per stage; the start of each is told to ``watch``, the end is logged."""

    watch: Watch | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a block as stage ``name``."""
        start = time.perf_counter()
        if self.watch is not None:
            self.watch(name, 0, None)
        LOG.debug("%s ...", name)
        yield
        took = self.seconds[name] = time.perf_counter() - start
        LOG.log(logging.INFO if took >= NOTABLE else logging.DEBUG, "%s %.2f s", name, took)


@dataclass(slots=True)
class Counter:
    """Counts what is done in a stage, tells a callback, and logs now and then how far it is."""

    stage: str
    total: int | None
    watch: Watch | None
    done: int = 0
    begun: float = field(default_factory=lambda: _now())
    said: float = field(default_factory=lambda: _now())

    def __call__(self, done: int) -> None:
        self.done = done
        if self.watch is not None:
            self.watch(self.stage, done, self.total)
        now = _now()
        if now - self.said >= HEARTBEAT:
            self.said = now
            LOG.info("%s %s", self.stage, self._standing(now))

    def each(self, items: Sequence[Item]) -> Iterable[Item]:
        """``items``, counted as each is done."""
        for at, item in enumerate(items):
            yield item
            self(at + 1)

    def _standing(self, now: float) -> str:
        """``120 of 2,000, 65 s left``; of the first, nobody knows how long the rest takes."""
        if not self.total:
            return f"{self.done:,}"
        standing = f"{self.done:,} of {self.total:,}"
        if not self.done:
            return standing
        left = (now - self.begun) * (self.total - self.done) / self.done
        return f"{standing}, {left:.0f} s left"
