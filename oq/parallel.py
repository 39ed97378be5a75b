"""The number of cores, a thread pool over them, and what workers elsewhere are asked to do."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from itertools import islice
from typing import Protocol, TypeVar

_told: list[int] = []

Item = TypeVar("Item")
Found = TypeVar("Found")


Tell = Callable[[int], None]
"""Called with how much is done so far."""

Work = Callable[[Item, Tell], Found]
"""Makes something of an item; it and what it makes travel between processes."""


class Workers(Protocol):
    """Processes that work for this one, perhaps on other machines (:mod:`oq.distributed`).

    An item whose worker is lost is done again by another, so work has no effects but its result.
    An OqError that work raises is raised here.
    """

    @property
    def slots(self) -> int:
        """How many items are worked on at a time."""

    def map(
        self, work: Work[Item, Found], items: Iterable[Item], tell: Tell | None = None
    ) -> Iterator[Found]:
        """``work`` of every item, in order; ``tell`` is called with what is done of all."""

    def fold(
        self,
        work: Work[Item, Found],
        items: Sequence[Item],
        join: Callable[[Sequence[Found]], Found],
        tell: Tell | None = None,
    ) -> Found:
        """``work`` of every item, one or more, joined in any order, a few at a time."""


def cores() -> int:
    """The number of cores this process may use: as it was told, or as the system reports."""
    if _told:
        return _told[-1]
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def keep_to(count: int) -> Iterator[None]:
    """This process uses ``count`` cores: one of several on a machine has only its share of them."""
    _told.append(count)
    _pool.cache_clear()
    try:
        yield
    finally:
        _told.pop()
        _pool.cache_clear()


def parallel_map(
    work: Callable[[Item], Found], items: Iterable[Item], at_once: int | None = None
) -> list[Found]:
    """``work`` of every item, in order, in a persistent thread pool; of ``at_once`` at a time.

    For work that releases the GIL (onnxruntime, NumPy on large arrays); it must not call this
    function itself, since it would wait for its own thread.
    """
    if at_once is None or at_once >= cores():
        return list(_pool().map(work, items))
    found: list[Found] = []
    for some in batched(items, at_once):
        found += _pool().map(work, some)
    return found


AHEAD = 2
"""Items that :func:`map_ahead` begins early: few results are held at a time."""


def map_ahead(
    work: Callable[[Item], Found], items: Iterable[Item], is_heavy: Callable[[Item], bool]
) -> Iterator[Found]:
    """``work`` of every item, in order; that of heavy ones is begun :data:`AHEAD` items early, if
    there are cores for it, and two may run at once.

    >>> list(map_ahead(abs, [-1, 2, -3], lambda item: item < 0))
    [1, 2, 3]
    """

    def begin(item: Item) -> Callable[[], Found]:
        if cores() > 1 and is_heavy(item):
            return _early().submit(work, item).result
        return partial(work, item)

    return _in_order(begin, items, AHEAD)


def step_ahead(
    work: Callable[[Item], Found], items: Iterable[Item]
) -> Generator[Found, None, None]:
    """``work`` of every item, in order, one item ahead of what has been taken, in a thread of its
    own: never two at once, for work that goes on where the last left off.

    Unlike that of :func:`parallel_map`, ``work`` may call :func:`parallel_map`.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="oq-ahead") as thread:
        yield from _in_order(lambda item: thread.submit(work, item).result, items, 1)


def _in_order(
    begin: Callable[[Item], Callable[[], Found]], items: Iterable[Item], early: int
) -> Iterator[Found]:
    """What is found for every item, each begun ``early`` items before it is taken."""
    begun: deque[Callable[[], Found]] = deque()
    for item in items:
        begun.append(begin(item))
        if len(begun) > early:
            yield begun.popleft()()
    while begun:
        yield begun.popleft()()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """NumPy's matrix products run on the thread that asks for them.

    The threads of OpenBLAS wait for their next product by spinning, on the cores where onnxruntime
    runs meanwhile: on a machine that has other work, rounding the weights of ResNet-20 took four
    times as long.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):
        yield


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """``items`` in lists of ``size``; the last may be shorter.

    >>> list(batched(range(5), 2))
    [[0, 1], [2, 3], [4]]
    """
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some


@cache
def _early() -> ThreadPoolExecutor:
    """Apart from the pool, whose threads may wait for what is begun early."""
    return ThreadPoolExecutor(AHEAD, thread_name_prefix="oq-ahead")


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cores(), thread_name_prefix="oq")
