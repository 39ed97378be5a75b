"""Workers on a Ray cluster, which is joined at an address, or started on this machine.

Every item is a task.  Ray runs the task of a lost worker again, and makes again what was lost with
a node; nothing is kept on nodes but the results on their way.
"""

import logging
import os
import pickle
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TextIO, TypeVar, cast

from oq.distributed.tasks import Outcome, Tally, join_all, run_item, this_place
from oq.errors import DataError, MissingExtra, OptionError, OqError, one_line
from oq.parallel import Tell, Work, Workers, cores

Item = TypeVar("Item")
Found = TypeVar("Found")

LOCAL = "local"

RETRIES = 5
"""How often an item is given out again whose worker was lost."""

JOINED = 4
"""Results that one task joins: no process holds more of them."""

AHEAD = 2
"""Items per slot that are given out: one runs, the next waits."""

REACH_SECONDS = 10.0

LOOK_SECONDS = 0.3
"""How often the tally is read."""


def _library() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("ray", "--ray") from error
    return ray


@contextmanager
def open_workers(where: "str | Workers | None") -> Iterator[Workers | None]:
    """Workers of the cluster at an address (``auto``: the one of this machine), or on the cores of
    this machine alone (``local``); those that are open already, and None for None.

    A process that is connected to a cluster stays with it, and stays connected.

    Raises:
        MissingExtra: Ray is not installed.
        OptionError: there is no cluster at the address.
    """
    if not isinstance(where, str):
        yield where
        return
    ray = _library()
    if ray.is_initialized():
        yield RayWorkers(ray)
        return
    with _output_apart():
        _connect(ray, where)
        try:
            yield RayWorkers(ray)
        finally:
            ray.shutdown()


@contextmanager
def _output_apart() -> Iterator[None]:
    """What Ray says of lost workers goes to standard error: it prints it in the middle of the
    results of this process."""
    mine = sys.stdout
    sys.stdout = shared = cast("TextIO", _Shared(mine))
    try:
        yield
    finally:
        if sys.stdout is shared:
            sys.stdout = mine


@dataclass(frozen=True, slots=True)
class _Shared:
    """Standard output, ``mine`` for all threads but those of Ray."""

    mine: TextIO

    def write(self, text: str) -> int:
        is_ray = threading.current_thread().name.startswith("ray_")
        return (sys.stderr if is_ray else self.mine).write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.mine, name)


def opened(where: "str | Workers | None") -> Workers | None:
    """Workers that :func:`open_workers` has given; None for those that are not open."""
    return None if isinstance(where, str) else where


def check_ray(where: "str | Workers | None", provider: str) -> None:
    """Refuse a ``provider`` that no task would find: tasks take CPUs.

    Raises:
        OptionError: it is not that of CPUs.
    """
    if where is not None and provider != "cpu":
        raise OptionError(f"--ray runs on CPUs: it cannot go with --provider {provider}")


def _connect(ray: Any, where: str) -> None:
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if where == LOCAL:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
        quiet |= {"num_cpus": cores(), "include_dashboard": False}
    try:
        _reach(where)
        ray.init(address=where, **quiet)
    except (ConnectionError, ValueError, RuntimeError, TimeoutError, AssertionError) as error:
        raise OptionError(
            f"--ray {where!r}: no Ray cluster there ({one_line(error)}); expected HOST:PORT, "
            "ray://HOST:PORT, auto or local"
        ) from error


def _reach(where: str) -> None:
    """Connect to an address once: Ray itself waits for minutes where nobody listens.

    Raises:
        ConnectionError: nobody does.
        ValueError: it is not an address.
    """
    if where in (LOCAL, "auto"):
        return
    host, _, port = where.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError("no HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ConnectionError(one_line(error)) from error


@dataclass(frozen=True, slots=True)
class RayWorkers:
    """The CPUs of the cluster that this process is connected to."""

    ray: Any

    @property
    def slots(self) -> int:
        """Its CPUs now; clusters grow."""
        return max(1, int(self.ray.cluster_resources().get("CPU", 1)))

    def map(
        self, work: Work[Item, Found], items: Iterable[Item], tell: Tell | None = None
    ) -> Iterator[Found]:
        """:meth:`Workers.map`; what is done too early waits on its node, so few are ahead."""
        rest = enumerate(items)
        with _running(self.ray, work, tell) as run:
            ahead: deque[tuple[Any, Any]] = deque()
            while True:
                while len(ahead) < AHEAD * self.slots and (new := next(rest, None)) is not None:
                    ahead.append(run.give(*new))
                if not ahead:
                    return
                report, result = ahead.popleft()
                run.wait([report])
                yield run.take(report, result)

    def fold(
        self,
        work: Work[Item, Found],
        items: Sequence[Item],
        join: Callable[[Sequence[Found]], Found],
        tell: Tell | None = None,
    ) -> Found:
        """:meth:`Workers.fold`, as a tree of joins of :data:`JOINED`."""
        rest = enumerate(items)
        with _running(self.ray, work, tell) as run:
            tree = _Tree(run, self.ray.put(join))
            given: dict[Any, Any] = {}
            while True:
                while len(given) < AHEAD * self.slots and (new := next(rest, None)) is not None:
                    report, result = run.give(*new)
                    given[report] = result
                if not given:
                    break
                for report in run.wait(list(given)):
                    run.check(report)
                    tree.add(given.pop(report))
            found: Found = run.get(tree.root())
            return found


@dataclass(slots=True)
class _Tree:
    """Results joined as they come: of each level at most a handful wait for others, as in a counter
    that carries."""

    run: "_Run"
    join: Any
    levels: list[list[Any]] = field(default_factory=list)

    def add(self, result: Any, level: int = 0) -> None:
        """Another result (its reference) of ``level``."""
        while len(self.levels) <= level:
            self.levels.append([])
        self.levels[level].append(result)
        if len(self.levels[level]) == JOINED:
            parts, self.levels[level] = self.levels[level], []
            self.add(self.run.join(self.join, parts), level + 1)

    def root(self) -> Any:
        """All results, joined."""
        left: list[Any] = []
        for level in self.levels:
            left = [*left, *level]
            if len(left) > 1:
                left = [self.run.join(self.join, left)]
        return left[0]


@contextmanager
def _running(ray: Any, work: Any, tell: Tell | None) -> Iterator["_Run"]:
    """Tasks of ``work``; when it ends, however it ends, none is left, nor the tally."""
    try:
        held = ray.put(work)
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        raise DataError(
            f"the data cannot be sent to workers ({one_line(error).split(':')[0]}): give a path, "
            "package.module:callable, arrays or a ray.data.Dataset"
        ) from error
    tally = None if tell is None else ray.remote(num_cpus=0, max_restarts=-1)(Tally).remote()
    run = _Run(ray, held, tally, tell)
    try:
        yield run
    except BaseException as error:
        run.cancel()
        if isinstance(error, ray.exceptions.RayError):
            raise _lost(ray, error) from error
        raise
    finally:
        if tally is not None:
            ray.kill(tally)


def _lost(ray: Any, error: BaseException) -> BaseException:
    """What the user can do about an error of the cluster; a bug of oq stays one."""
    text, is_task = str(error), bool(isinstance(error, ray.exceptions.RayTaskError))
    if is_task and "No module named" not in text:
        return error
    lines = [line for line in text.splitlines() if line.strip()]
    if "No module named" in text:
        lines = [line for line in lines if "No module named" in line]
        return OptionError(f"--ray: a node lacks a package: {lines[-1].strip()}; install it there")
    said = one_line(Exception(lines[0])) if lines else type(error).__name__
    return OqError(
        f"--ray: a part was lost {RETRIES + 1} times, or the cluster with it ({said}); look at its "
        "memory first"
    )


@dataclass(slots=True)
class _Run:
    """The tasks of one work: ``open`` are those given out and not finished, by their report."""

    ray: Any
    held: Any
    tally: Any
    tell: Tell | None
    place: Any = field(default_factory=this_place)
    open: dict[Any, int] = field(default_factory=dict)
    joins: list[Any] = field(default_factory=list)
    finished: dict[int, int] = field(default_factory=dict)

    def give(self, number: int, item: Any) -> tuple[Any, Any]:
        """A task for item ``number``: references to its :class:`Outcome` and to its result."""
        task = self.ray.remote(
            num_returns=2, num_cpus=1, max_retries=RETRIES, scheduling_strategy="SPREAD"
        )(run_item)
        report, result = task.remote([self.held], item, number, self.place, self.tally)
        self.open[report] = number
        return report, result

    def join(self, join: Any, parts: Sequence[Any]) -> Any:
        """A task that joins ``parts``."""
        task = self.ray.remote(num_cpus=1, max_retries=RETRIES)(join_all)
        self.joins = [*self.joins[-JOINED:], task.remote(join, *parts)]
        return self.joins[-1]

    def wait(self, references: Sequence[Any]) -> list[Any]:
        """Those that are there, one at least, when it is."""
        while True:
            ready, _ = self.ray.wait(
                list(references), num_returns=1, timeout=LOOK_SECONDS, fetch_local=False
            )
            self.look()
            if ready:
                return list(ready)

    def check(self, report: Any) -> None:
        """Note that a task has ended, and raise what it raised."""
        outcome: Outcome = self.ray.get(report)
        outcome.check()
        self.finished[self.open.pop(report)] = outcome.done

    def take(self, report: Any, result: Any) -> Any:
        """The result of a task that has ended."""
        self.check(report)
        return self.ray.get(result)

    def get(self, reference: Any) -> Any:
        """The value behind ``reference``, when it is there."""
        self.wait([reference])
        return self.ray.get(reference)

    def look(self) -> None:
        """Tell how much is done of all, as far as it is known."""
        if self.tell is None:
            return
        told: dict[int, int] = {}
        with suppress(self.ray.exceptions.RayError):  # its node may be lost: it starts anew
            told = self.ray.get(self.tally.read.remote(), timeout=LOOK_SECONDS)
        self.tell(sum({**told, **self.finished}.values()))

    def cancel(self) -> None:
        """End what still runs: not what has ended, and not by force, which may take this process
        along where a task ends at the same moment (Ray 2.60)."""
        given = [*self.open, *self.joins]
        if not given:
            return
        _, left = self.ray.wait(given, num_returns=len(given), timeout=0, fetch_local=False)
        for reference in left:
            with suppress(self.ray.exceptions.RayError):
                self.ray.cancel(reference)
