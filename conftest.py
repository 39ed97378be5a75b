"""What pytest collects, and how its workers (``pytest -n``) share the tests.

The two mapped folders are collected through ``oq/`` only.  ``oq/calibrators`` and ``oq/targets``
are links to the folders beside this file.  Collected here as well (``pytest .``), they would be
imported a second time, under names that are not theirs.
"""

import gc
from collections import Counter
from importlib.util import find_spec

import pytest

from tests.cores import WORKER, pin

pin()  # not in a hook: pytest would import tests/conftest.py first, and that NumPy

collect_ignore = ["calibrators", "targets"]
if find_spec("torch") is None:
    collect_ignore += ["oq/training"]  # what stands behind its door imports torch at the top


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A worker takes a file, or a group that is named across files, as a whole: what its tests
    share is made once.  Groups with slow tests come first, so that no worker ends with one."""
    if not WORKER:
        return
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
    slow = Counter(_group(item) for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[_group(item)])


def pytest_collection_finish() -> None:
    """What was imported and collected stays: the garbage collector need not walk it each time."""
    gc.collect()
    gc.freeze()


def _group(item: pytest.Item) -> str:
    marker = item.get_closest_marker("xdist_group")
    return "" if marker is None else str(marker.args[0])
