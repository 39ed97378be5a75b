"""Hypothesis without a deadline: a busy machine is not a bug.  Latencies that no test compares are
measured briefly.  And a way back to all cores."""

from collections.abc import Iterator
from contextlib import nullcontext

import pytest
from hypothesis import settings

from oq.comparison import compare
from tests.cores import ALL, WORKER, on
from tests.shown import demo as demo

settings.register_profile("oq", deadline=None)
settings.load_profile("oq")

compare.LATENCY_SECONDS = 0.02


@pytest.fixture
def all_cores() -> Iterator[None]:
    """All cores of the machine, where workers have one each."""
    with on(ALL) if WORKER and ALL else nullcontext():
        yield
