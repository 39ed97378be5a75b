"""Groups under a memory limit, resuming where an interrupted run stopped, and what is refused."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import oq
from oq.calibration.cache import load_cache, save_cache
from oq.calibration.collect import collect, collect_numbered
from oq.calibration.job import EVERYTHING, Job, size_batches
from oq.calibration.measure import measure
from oq.calibration.packing import digest
from oq.calibrators.max import Max
from oq.calibrators.minmax import MinMax
from oq.data.sizing import ALONE, LARGE
from oq.data.source import Fitted, open_source
from oq.errors import DataError, OptionError
from oq.model.graph import Graph
from oq.model.proto_fields import inputs_of
from oq.model.session import Settings
from oq.numerics.calibrator import Methods
from oq.numerics.statistics import Need, Statistics
from oq.numerics.values import Array, Batch
from tests.graphs import Net

ROOT = Path(oq.__file__).parents[1]
SHAPE = ("n", 4, 8, 8)
X = np.random.default_rng(0).normal(size=(21, 4, 8, 8)).astype(np.float32)
BYTES = 4 * 4 * 8 * 8
"""Of one sample of any tensor below."""


def network(first: int | str = "n") -> onnx.ModelProto:
    net = Net()
    names = [net.input("x", (first, 4, 8, 8))]
    for name in "abcde":
        names.append(net.node("Relu", [net.conv(names[-1], f"c{name}")], name))
    return net.model(names[-1])


@pytest.mark.parametrize(
    ("needs", "expected"),
    [(frozenset(), ALONE), ({Need.HISTOGRAM}, ALONE), ({Need.BATCHES}, LARGE), (EVERYTHING, LARGE)],
)
def test_batches_of_one_only_where_no_calibrator_sees_them(
    needs: frozenset[Need], expected: int
) -> None:
    plain = job()
    wanted = dict.fromkeys(plain.needs, frozenset(needs))
    assert size_batches(replace(plain, needs=wanted, sizing=None)).alone == expected


def job(limit: int | None = None, batch_size: int = 4, first: int | str = "n") -> Job:
    """``limit``: bytes, as if by --max-memory."""
    model, needs = network(first), dict.fromkeys("xabcde", EVERYTHING)
    plain = Job(model, Graph(model).view(), needs, batch_size, Settings(threads=1))
    if limit is None:
        return plain
    return replace(plain, max_memory=1, sizing=replace(size_batches(plain), limit=limit))


def source(data: object = X, first: int | str = "n"):  # type: ignore[no-untyped-def]
    return open_source(data, inputs_of(network(first)))


# ---- memory


def test_groups_give_the_statistics_of_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[list[str]] = []

    def watch(model: object, needs: Mapping[str, object], *rest: Any, **more: Any) -> object:
        passes.append(list(needs))
        return collect_numbered(model, needs, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("oq.calibration.passes.collect_numbered", watch)
    whole = measure(job(), source())
    assert passes == [["x", "a", "b", "c", "d", "e"]]
    passes.clear()
    parts = measure(job(limit=int(2.5 * BYTES)), source())
    assert passes == [["x", "a"], ["b", "c"], ["d", "e"]]
    assert parts.samples == whole.samples == 21
    for tensor, seen in whole.statistics.items():
        found = parts.statistics[tensor]
        assert found.histogram is not None and seen.histogram is not None
        assert np.array_equal(found.histogram, seen.histogram)
        assert (found.lo, found.hi, found.count) == (seen.lo, seen.hi, seen.count)


def test_groups_end_in_the_cache_of_one_pass(tmp_path: Path) -> None:
    """Begun without a limit or not."""
    whole, parts, begun = (tmp_path / n for n in ("whole", "parts", "begun"))
    limited = job(limit=int(2.5 * BYTES))
    measure(job(batch_size=1), source(), whole)
    measure(limited, source(), parts)
    assert load_cache(parts) == load_cache(whole)
    measure(job(), source(X[:8]), begun)
    save_cache(replace(load_cache(begun), complete=False, key=load_cache(whole).key), begun)
    measure(limited, source(), begun)
    found = load_cache(begun)
    assert found.complete and found.samples == 21
    rows = found.statistics["e"].batches
    assert rows is not None and rows[:, 0].tolist() == [0, 4, *range(8, 21)]
    histogram, expected = (load_cache(p).statistics["e"].histogram for p in (begun, whole))
    assert histogram is not None and expected is not None
    assert histogram.sum() == expected.sum()


def test_a_tensor_that_alone_passes_the_limit_is_refused() -> None:
    with pytest.raises(OptionError, match=r"tensor 'x' alone takes 0 MB for one sample; allow"):
        measure(job(limit=BYTES - 1), source())
    with pytest.raises(OptionError, match="alone takes 0 MB for a batch of 7"):
        measure(job(limit=7 * BYTES - 1, first=7), source(first=7))


def test_the_default_limit_is_a_wish() -> None:
    """What nobody asked for refuses nothing."""
    wished = replace(job(limit=1), max_memory=None)
    assert measure(wished, source()).statistics == measure(job(batch_size=1), source()).statistics
    once = ({"x": X[i : i + 4]} for i in range(0, 20, 4))
    assert measure(wished, source(once)).samples == 20


def test_groups_need_data_that_can_be_read_again() -> None:
    once = ({"x": X[i : i + 4]} for i in range(0, 20, 4))
    with pytest.raises(DataError, match="can be read only once, and --max-memory 1 takes several"):
        measure(job(limit=5 * BYTES), source(once))
    fitting = ({"x": X[i : i + 4]} for i in range(0, 20, 4))
    assert measure(job(limit=10**6), source(fitting)).samples == 20


# ---- with neither data nor a cache


def test_no_data_and_no_cache(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"^6 tensors cannot be calibrated without data \(the first is 'x'\): give"
    ):
        measure(job(), None)
    with pytest.raises(DataError, match="is not finished: give --data as well"):
        measure(job(), None, tmp_path / "missing")


def test_nothing_to_calibrate_needs_no_data() -> None:
    net = Net()
    model = net.model(net.node("Softplus", [net.input("x")], "y"))
    result = oq.quantize(model, "trt")
    assert result.report.samples == 0
    assert str(result.report)


def test_a_finished_cache_needs_no_data_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c"
    first = measure(job(), source(), path)
    monkeypatch.setattr("oq.calibration.passes.collect_numbered", None)
    for data in (None, source()):
        again = measure(job(), data, path)
        assert again.statistics == first.statistics and again.samples == 21


def test_calibrators_by_name() -> None:
    methods = Methods(MinMax(), {"max": Max()})
    assert methods.of(None) == MinMax() and methods.of("max") == Max()


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_the_fingerprint_does_not_depend_on_the_workers(threads: int) -> None:
    """Zeros of both signs in every batch: the file's provenance holds this digest."""
    zeros = np.where(X > 0, np.float32(0), np.float32(-0.0))
    digests = set()
    for count in (1, threads):
        found = measure(replace(job(batch_size=1), settings=Settings(threads=count)), source(zeros))
        digests.add(digest(found.statistics))
    assert len(digests) == 1


# ---- interrupted


def stop_after(count: int, batches: Iterator[Batch]) -> Iterator[Batch]:
    for i, batch in enumerate(batches):
        if i == count:
            raise KeyboardInterrupt
        yield batch


@pytest.mark.parametrize("stop", [1, 3, 5])
@pytest.mark.parametrize("threads", [1, 3])
def test_it_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int, threads: int
) -> None:
    """Stopped anywhere, the finished cache is that of an uninterrupted run."""
    monkeypatch.setattr("oq.calibration.collect.SAVE_SECONDS", 0.002)
    whole, path = tmp_path / "whole", tmp_path / "c"
    measure(job(), source(), whole)
    given: list[int] = []
    read = Fitted.batches

    def interrupted(self: Fitted, size: int, start: int = 0, *rest: int) -> Iterator[Batch]:
        given.append(start)
        batches = read(self, size, start, *rest)
        return stop_after(stop, batches) if len(given) == 1 else batches

    begun = source()
    monkeypatch.setattr(Fitted, "batches", interrupted)
    work = replace(job(), settings=Settings(threads=threads))
    with pytest.raises(KeyboardInterrupt):
        measure(work, begun, path)
    done = 0
    if path.exists():
        part = load_cache(path)
        done = part.samples
        assert not part.complete and done % 4 == 0
        assert done == part.statistics["x"].count // 256
    measure(work, begun, path)
    assert given == [0, done]
    assert load_cache(path) == load_cache(whole)


def test_killed_after_the_last_batch_was_saved(tmp_path: Path) -> None:
    """A fixed batch of 4 leaves one of 21 samples over: with nothing left to run it is done."""
    path = tmp_path / "c"
    for data, first in ((X, 4), (lambda: iter([{"x": X[:20]}]), "n")):
        measure(job(first=first), source(data, first), path)
        finished = load_cache(path)
        save_cache(replace(finished, complete=False), path)
        found = measure(job(first=first), source(data, first), path)
        assert found.samples == 20
        assert load_cache(path) == finished
        path.unlink()


def test_an_unfinished_cache_of_other_needs_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c"
    measure(job(), source(), path)
    save_cache(replace(load_cache(path), complete=False, needs={"x": EVERYTHING}), path)
    with pytest.raises(DataError, match="unfinished and was started for another target"):
        measure(job(), source(), path)


KILLED = """
    import os, signal, sys
    import numpy as np
    import oq
    from oq import cli
    oq.calibration.collect.SAVE_SECONDS = 0.002
    limit = int(sys.argv.pop(1))

    def feeds():
        data = np.random.default_rng(0)
        for i in range(12):
            if i == limit:
                os.kill(os.getpid(), signal.SIGKILL)
            yield {"input": data.random((8, 1, 8, 8), np.float32)}

    sys.modules["samples"] = sys.modules["__main__"]
    cli.main()
"""


def test_kill_and_resume(tmp_path: Path) -> None:
    """A process killed in the midst of it, twice; the third ends with the cache of one run."""
    script = tmp_path / "killed.py"
    script.write_text(
        textwrap.dedent(KILLED).replace("import oq\n", "import oq.calibration.collect\n")
    )
    model = ROOT / "models" / "bundled" / "residual.onnx"

    def calibrate(limit: int, cache: str) -> int:
        args = ["calibrate", str(model), "-t", "trt", "-d", "samples:feeds", "--cache", cache]
        return subprocess.run(
            [sys.executable, str(script), str(limit), *args],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
        ).returncode

    assert calibrate(99, "whole") == 0
    assert calibrate(4, "c") < 0
    first = load_cache(tmp_path / "c")
    assert calibrate(11, "c") < 0
    second = load_cache(tmp_path / "c")
    assert 0 < first.samples <= second.samples < 96
    assert not first.complete and not second.complete
    assert calibrate(99, "c") == 0
    assert load_cache(tmp_path / "c") == load_cache(tmp_path / "whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c", "killed.py", "whole"]


def test_saved_statistics_are_those_of_the_samples_they_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work, saved = job(), []

    def save(samples: int, statistics: Mapping[str, Statistics]) -> None:
        saved.append((samples, dict(statistics)))

    monkeypatch.setattr("oq.calibration.collect.SAVE_SECONDS", 0.002)
    collect(work.model, work.needs, source().batches(4), Settings(threads=2), save=save)
    counts = [s for s, _ in saved]
    assert counts == sorted(counts)
    for samples, found in saved:
        values: Array = X[:samples]
        assert (found["x"].lo, found["x"].hi) == (values.min(), values.max())
        assert found["x"].count == values.size
