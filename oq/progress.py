"""Progress bars on standard error, if it is a terminal; stage timing."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

Watch = Callable[[str, int, int | None], None]
"""Called with a stage, the samples done and the total (None if unknown)."""


@contextmanager
def show_progress() -> Iterator[Watch | None]:
    """A bar per stage with samples per second and time left; removed at the end."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def watch(stage: str, done: int, total: int | None) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total, speed="")
            task = bars.tasks[tasks[stage]]
            speed = f"{done / task.elapsed:,.0f}/s" if task.elapsed else ""
            bars.update(tasks[stage], completed=done, speed=speed)

        yield watch


@dataclass(slots=True)
class Clock:
    """Wall seconds per stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a block as stage ``name``."""
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start


@dataclass(slots=True)
class Counter:
    """Counts the samples done in a stage, and reports them to a callback."""

    stage: str
    total: int | None
    watch: Watch | None
    done: int = 0

    def __call__(self, done: int) -> None:
        self.done = done
        if self.watch is not None:
            self.watch(self.stage, done, self.total)
