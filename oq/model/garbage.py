"""Functions that build graphs without Python's search for cycles of garbage in between.

The search looks at all objects that are alive, again each time they have grown by a quarter: with a
graph of 10,000 nodes that is a fifth of the time, and nothing is found, since all of them are used.
"""

import functools
import gc
from collections.abc import Callable
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Found = TypeVar("Found")


def uncollected(work: Callable[Given, Found]) -> Callable[Given, Found]:
    """``work`` with the collector of cycles off while it runs, if it was on."""

    @functools.wraps(work)
    def quietly(*args: Given.args, **kwargs: Given.kwargs) -> Found:
        if not gc.isenabled():
            return work(*args, **kwargs)
        gc.disable()
        try:
            return work(*args, **kwargs)
        finally:
            gc.enable()

    return quietly
