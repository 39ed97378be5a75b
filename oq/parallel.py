"""The cores of this machine, and work spread over them."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

Item = TypeVar("Item")
Found = TypeVar("Found")


def cores() -> int:
    """Cores this process may use, where the system tells; else all there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def parallel_map(work: Callable[[Item], Found], items: Iterable[Item]) -> list[Found]:
    """``work`` of every item, in their order, by threads that stay for the next call.

    For work that lets go of the interpreter (onnxruntime, NumPy on large arrays); it must not
    spread work itself, since it would wait for the thread it runs in.
    """
    return list(_pool().map(work, items))


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cores(), thread_name_prefix="oq")
