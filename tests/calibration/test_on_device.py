"""A provider with memory of its own: the same statistics, what is copied, and what is told.

There is no such device here: the CPU provider runs the same code, and onnxruntime's wheel for Linux
has a second provider, which takes no nodes at all.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

import oq
from oq.calibration.collect import collect, collect_numbered
from oq.calibration.job import Job, size_batches
from oq.calibration.on_device import MARK, DeviceRunner, ran_out
from oq.data.dealing import number
from oq.errors import DataError
from oq.model.graph import Graph
from oq.model.session import Session, Settings
from oq.numerics.statistics import Accumulator, Need, Statistics
from oq.numerics.values import Array, Batch
from tests.small import normal, small

NET = small(
    """net (float[n,3] x, float[n,3] z) => (float[n,3] y) <float[n,3] a, float[n,3] b> {
        a = Mul(x, z)
        b = Log(a)
        y = Neg(a)
    }"""
)
SAMPLES = {"x": normal(12, 3), "z": normal(12, 3, seed=1) * 4}
HISTOGRAM, BATCHES = frozenset({Need.HISTOGRAM}), frozenset({Need.BATCHES})
NEEDS = {"x": HISTOGRAM, "a": BATCHES, "b": frozenset[Need](), "y": HISTOGRAM}
IDLE = "AzureExecutionProvider"

needs_idle = pytest.mark.skipif(
    IDLE not in ort.get_available_providers(), reason="this onnxruntime has no second provider"
)


def batches(size: int = 4) -> list[Batch]:
    return [Batch({k: v[i : i + size] for k, v in SAMPLES.items()}) for i in range(0, 12, size)]


def folded(runner: DeviceRunner, given: Sequence[Batch]) -> dict[str, Statistics]:
    found = {t: Accumulator(need) for t, need in NEEDS.items()}
    for first, batch in number(iter(given)):
        runner.fold(found, first, batch)
    return {t: a.statistics() for t, a in found.items()}


def test_statistics_are_those_of_the_host() -> None:
    """Log of the negative products is NaN: extremes alone would hide it."""
    runner = DeviceRunner(NET, NEEDS, Settings(), pytest.fail)
    found = folded(runner, batches())
    assert found == collect(NET, NEEDS, batches())
    assert found["b"].nonfinite > 0


def test_only_what_is_needed_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ``a``, whose extremes alone are asked for, three numbers."""
    copied: list[int] = []

    class Watched:
        def __init__(self, value: Any) -> None:
            self.value = value

        def shape(self) -> list[int]:
            return list(self.value.shape())

        def numpy(self) -> Array:
            copied.append(int(np.prod(self.value.shape())))
            return np.asarray(self.value.numpy())

    plain = Session.run_on

    def run_on(self: Session, *given: Any) -> dict[str, Any]:
        return {name: Watched(value) for name, value in plain(self, *given).items()}

    monkeypatch.setattr(Session, "run_on", run_on)
    needs = {"a": BATCHES, "y": HISTOGRAM}
    runner = DeviceRunner(NET, needs, Settings(), pytest.fail)
    found = {t: Accumulator(need) for t, need in needs.items()}
    runner.fold(found, 0, batches(12)[0])
    assert sorted(copied) == [1, 1, 1, 36]
    assert found["a"].statistics() == collect(NET, needs, batches(12))["a"]


class Full:
    """A session whose device holds ``most`` samples."""

    def __init__(self, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
        plain = Session.run_on
        self.ran: list[int] = []

        def run_on(session: Session, device: str, feeds: dict[str, Array], outputs: Any) -> Any:
            if len(feeds["x"]) > most:
                raise DataError("the model fails on a batch: CUDA failure 2: out of memory")
            self.ran.append(len(feeds["x"]))
            return plain(session, device, feeds, outputs)

        monkeypatch.setattr(Session, "run_on", run_on)


def test_a_full_device_gets_half_of_each_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    full, said = Full(3, monkeypatch), list[str]()
    runner = DeviceRunner(NET, NEEDS, Settings(), said.append)
    found = folded(runner, batches(6))
    assert full.ran == [3, 3, 3, 3]
    assert found["b"] == collect(NET, NEEDS, batches(6))["b"]
    assert found == collect(NET, NEEDS, batches(3)), "the rows of batches are those that ran"
    assert said == [
        "the device had too little memory for batches of 6: calibrated in batches of 3 "
        "(--max-memory, --batch-size)"
    ]


def test_half_of_a_batch_must_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    Full(2, monkeypatch)
    runner = DeviceRunner(NET, NEEDS, Settings(), lambda _: None)
    with pytest.raises(DataError, match=r"too little memory for 6 samples.*--batch-size"):
        folded(runner, batches(6))


def test_an_allocation_that_fails_is_known() -> None:
    """What onnxruntime itself says."""
    model = small("net (int64[k] x) => (float y) { y = ConstantOfShape(x) }")
    with pytest.raises(DataError) as told:
        Session(model).run_on("cpu", {"x": np.asarray([2**46], np.int64)}, ["y"])
    assert ran_out(told.value)
    assert not ran_out(
        DataError("the model fails on a batch of x float32[2, 4]: Got 4, expected 3")
    )


@needs_idle
def test_nodes_that_the_cpu_took_are_told_once() -> None:
    said: list[str] = []
    given = number(iter(batches()))
    found = collect_numbered(NET, NEEDS, given, Settings(provider=IDLE), tell=said.append)
    assert found == collect(NET, NEEDS, batches())
    assert said == [f"3 of 3 nodes ran on the CPU, not in {IDLE}: Log 1, Mul 1, Neg 1"]
    assert MARK not in said[0]


def test_a_device_gets_more_samples_at_a_time() -> None:
    view = Graph(NET).view()
    sizes = [
        size_batches(Job(NET, view, NEEDS, None, Settings(provider=p), max_memory=limit))(batch)
        for p, limit, batch in (
            ("cpu", None, batches(1)[0]),
            ("cuda", None, batches(1)[0]),
            ("cuda", 1, Batch({k: np.zeros((1, 10_000), np.float32) for k in SAMPLES})),
        )
    ]
    assert sizes[0] < sizes[1] == 64
    assert sizes[2] < 64, "as far as the limit goes"


@needs_idle
def test_a_run_with_another_provider_is_that_of_the_cpu() -> None:
    """And its report names the nodes."""
    model = str(Path(oq.__file__).with_name("bundled") / "residual.onnx")
    data = str(Path(oq.__file__).with_name("bundled") / "digits_calib.npz")
    found, plain = (
        oq.quantize(model, "trt", data, provider=p, refine="none", verify=False, samples=32)
        for p in (IDLE, "cpu")
    )
    assert [n for n in found.report.notes if "ran on the CPU, not in" in n]
    assert not [n for n in plain.report.notes if "ran on the CPU" in n]
    assert found.ranges == plain.ranges
