"""Large models: memory in proportion to their size, and graphs of many nodes.

A model of 3 GB is for ``make soak``.
"""

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from benchmarks.memory import make_model, peak
from benchmarks.scaling import GRAPHS, build, seconds
from oq.planning.overrides import Overrides
from oq.planning.setup import choose_target, plan_model

LAYER = 1024 * 1024 * 4 / 1e6
LIMITS: Mapping[str, float] = {"int8, verified": 1.3, "int8, refined": 1.3, "weights=int8": 0.3}
"""Of a run: MB per MB of the model, over onnxruntime's own and over the largest layer."""

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/status").is_file(), reason="reads Linux's /proc"
)


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize("mb", [200, 3000])
def test_memory_is_in_proportion_to_the_model(tmp_path: Path, mb: float) -> None:
    if mb > 1000 and not os.environ.get("OQ_SOAK"):
        pytest.skip("3 GB are made in make soak")
    if shutil.disk_usage(tmp_path).free < 4e6 * mb:
        pytest.skip("too little room on the disk")
    model = make_model(tmp_path, mb)
    base, alone = peak("import", model).mb, peak("onnxruntime", model).mb
    whole, stored = peak("int8, verified", model).mb, peak("weights=int8", model).mb
    assert whole - alone < LIMITS["int8, verified"] * mb
    assert stored - base < LIMITS["weights=int8"] * mb + LAYER


@pytest.mark.slow
@needs_proc
@pytest.mark.skipif(not os.environ.get("OQ_SOAK"), reason="takes minutes: make soak")
def test_refinement_keeps_the_weights_that_it_changes_in_files(tmp_path: Path) -> None:
    model = make_model(tmp_path, 200)
    more = peak("int8, refined", model).mb - peak("onnxruntime", model).mb
    assert more < LIMITS["int8, refined"] * 200


def test_a_chain_of_1000_sums_is_planned() -> None:
    """Deeper than Python's stack."""
    target, _ = choose_target("ort", {})
    planned = plan_model(build("transformer", 3500), target, Overrides())
    assert sum(s.role == "weight" for s in planned.plan.sites) == 1000


def calls(run: Callable[[], object]) -> int:
    """The calls of functions in ``run``, resumed generators included: a time without noise."""
    count = 0

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += 1

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("target", ["ort", "trt", "coreml", "dpu", "openvino"])
@pytest.mark.parametrize("name", GRAPHS)
def test_four_times_the_nodes_take_four_times_the_calls(name: str, target: str) -> None:
    few, many = build(name, 40), build(name, 160)
    seconds(few, target)  # what is looked up once
    ratio = calls(lambda: seconds(many, target)) / calls(lambda: seconds(few, target))
    assert ratio < LINEAR * len(many.graph.node) / len(few.graph.node)


LINEAR = 1.0
"""Calls per node of a graph, over those of one with a quarter of its nodes."""
