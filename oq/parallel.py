"""The number of cores, and a thread pool over them."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

Item = TypeVar("Item")
Found = TypeVar("Found")


def cores() -> int:
    """The number of cores this process may use, if the system reports it; else all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def parallel_map(work: Callable[[Item], Found], items: Iterable[Item]) -> list[Found]:
    """``work`` of every item, in order, in a persistent thread pool.

    For work that releases the GIL (onnxruntime, NumPy on large arrays); it must not call this
    function itself, since it would wait for its own thread.
    """
    return list(_pool().map(work, items))


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cores(), thread_name_prefix="oq")
