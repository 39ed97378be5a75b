"""A core of its own for each worker of ``pytest -n``, so that they do not fight over all of them.

Threads of NumPy's BLAS and torch follow the affinity, and so does :func:`oq.parallel.cores`.
onnxruntime starts one per core whatever the affinity and moves it there, unless told a number.
Tests about several cores ask for the fixture ``all_cores``.
"""

import os
import sys
from collections.abc import Iterator, Set
from contextlib import contextmanager
from typing import Any

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
ALL = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set[int]()


def pin() -> None:
    """Give this worker its core; where there are no workers, nothing changes.

    Raises:
        RuntimeError: NumPy is there already: its BLAS has counted all cores, and its threads would
            spin on one (three times the time of refinement).
    """
    if WORKER and ALL:
        if "numpy" in sys.modules:
            raise RuntimeError("NumPy was imported before this worker had its core")
        os.sched_setaffinity(0, {sorted(ALL)[int(WORKER.removeprefix("gw")) % len(ALL)]})
        _limit_onnxruntime()


@contextmanager
def on(cores: Set[int]) -> Iterator[None]:
    """These cores only, for this thread and what it starts: threads and processes."""
    from oq import parallel

    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    parallel._pool.cache_clear()  # its threads stay where they were started
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
        parallel._pool.cache_clear()


def _limit_onnxruntime() -> None:
    """Sessions that leave the number of threads to onnxruntime get as many as there are cores."""
    import onnxruntime

    plain = onnxruntime.InferenceSession.__init__

    def start(self: Any, model: Any, options: Any = None, *args: Any, **others: Any) -> None:
        options = others.pop("sess_options", options) or onnxruntime.SessionOptions()
        if options.intra_op_num_threads == 0:
            options.intra_op_num_threads = len(os.sched_getaffinity(0))
        plain(self, model, options, *args, **others)

    onnxruntime.InferenceSession.__init__ = start
