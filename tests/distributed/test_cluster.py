"""A cluster of two nodes on this machine: the bytes of one process, whatever happens to a node."""

import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import oq
from oq import cli
from oq.budget.candidate import Candidates, send
from oq.budget.score import Judged, make_score
from oq.calibration.measure import Shared
from oq.distributed.cluster import JOINED, RayWorkers, _output_apart, open_workers
from oq.distributed.tasks import Outcome
from oq.errors import DataError, MissingExtra, OptionError, OqError
from oq.model.files import model_bytes
from oq.planning import registry
from oq.planning.setup import choose_target
from tests.budget.test_search import damaged
from tests.shown import BUNDLED
from tests.small import normal, small

ray = pytest.importorskip("ray")

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]

ROOT = Path(oq.__file__).parents[1]
MODEL = BUNDLED / "residual.onnx"
STORE = 100 * 10**6
SOONER = {"health_check_period_ms": 500, "health_check_failure_threshold": 8}
"""A lost node is noticed after some 4 seconds instead of 20."""

NODE = {"num_cpus": 1, "object_store_memory": STORE}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of one CPU; this process is connected, as a notebook may be."""
    utils: Any = importlib.import_module("ray.cluster_utils")
    head = {**NODE, "include_dashboard": False, "_system_config": SOONER}
    made = utils.Cluster(initialize_head=True, head_node_args=head)
    made.add_node(**NODE)
    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(address=made.address, logging_level="ERROR", log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()
    patch.undo()


@pytest.fixture(scope="module")
def images() -> Any:
    with np.load(BUNDLED / "digits_calib.npz") as file:
        return file["input"][:160]


def live_actors(seconds: float = 5) -> list[str]:
    """Actors of oq that are there still after some ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        table = ray._private.state.actors().items()
        live = [k for k, a in table if a["ActorClassName"] == "Tally" and a["State"] != "DEAD"]
        if not live or time.monotonic() > deadline:
            return live
        time.sleep(0.1)


def sleep_and_list(item: int, tell: Callable[[int], None]) -> list[int]:
    for step in range(4):
        time.sleep(0.05)
        tell(step + 1)
    if item == 99:
        raise DataError("item 99: is bad")
    return [int(item)]


def divide(item: int, tell: Callable[[int], None]) -> list[int]:
    return [1 // item]


def add(parts: Sequence[list[int]]) -> list[int]:
    assert len(parts) <= JOINED
    return [item for part in parts for item in part]


# ---- the same bytes


@pytest.mark.parametrize("calibrator", registry.names("calibrators"))
def test_each_calibrator_gives_the_bytes_of_one_process(
    cluster: Any, images: Any, calibrator: str
) -> None:
    options: dict[str, Any] = {"calibrator": calibrator, "verify": False, "refine": "none"}
    alone = oq.quantize(MODEL, "trt", {"input": images}, **options)
    spread = oq.quantize(MODEL, "trt", {"input": images}, ray=cluster.address, **options)
    assert spread.model.SerializeToString() == alone.model.SerializeToString()
    assert spread.report.options == alone.report.options and model_bytes(spread.model)


def test_a_whole_run_on_the_command_line(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: Any
) -> None:
    """Refined and verified, from a relative path, which the nodes open."""
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", images)
    for name, more in (("alone", ()), ("spread", ("--ray", "auto"))):
        given = ("-t", "ort", "-d", "x.npy", "--refine", "bias", "--samples", "96")
        args = ("quantize", str(MODEL), *given, "-o", f"{name}.onnx", *more)
        monkeypatch.setattr("sys.argv", ["oq", *args])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert not end.value.code
    assert Path("alone.onnx").read_bytes() == Path("spread.onnx").read_bytes()


def test_items_of_unknown_number_and_a_cache(cluster: Any, tmp_path: Path, images: Any) -> None:
    """Feeds of several sizes from a function: the cache is that of one process."""

    def feeds() -> Iterator[dict[str, Any]]:
        for at in (0, 7, 10, 40, 41, 90):
            yield {"input": images[at : at + 9]}

    for name, where in (("alone", None), ("spread", cluster.address)):
        oq.calibrate(MODEL, "trt", feeds, tmp_path / name, ray=where)
    assert (tmp_path / "alone").read_bytes() == (tmp_path / "spread").read_bytes()


def test_a_ranking(cluster: Any, images: Any) -> None:
    options: dict[str, Any] = {"samples": 16, "calibrator": "max"}
    alone = oq.sensitivity(MODEL, "trt", {"input": images}, **options)
    assert oq.sensitivity(MODEL, "trt", {"input": images}, ray="auto", **options) == alone


def test_a_search(
    cluster: Any, tmp_path: Path, images: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Candidates that workers make ahead are those of a search by one process, and no more."""
    onnx.save(damaged(), tmp_path / "net.onnx")
    made: list[int] = []
    make = Candidates.make

    def count(*given: Any, **more: Any) -> Any:
        made[-1] += 1
        return make(*given, **more)

    monkeypatch.setattr(Candidates, "make", count)
    options: dict[str, Any] = {"max_drop": 2.0, "refine": "none"}
    found = []
    for name, where in (("alone", None), ("spread", "auto")):
        made.append(0)
        output = tmp_path / f"{name}.onnx"
        given = (tmp_path / "net.onnx", "ort", {"input": images[:96]}, output)
        found.append(oq.search(*given, ray=where, **options).report.search)
    alone, spread = found
    assert alone is not None and spread is not None
    assert made[0] == alone.tried == spread.tried > 3 and made[1] == 1
    assert (spread.kept, spread.drop, spread.met) == (alone.kept, alone.drop, alone.met)
    files = [(tmp_path / f"{n}.onnx").read_bytes() for n in ("alone", "spread")]
    assert files[0] == files[1]


def test_refined_candidates(cluster: Any, images: Any) -> None:
    """What workers refine is, file by file, what this process refines."""
    profile, _ = choose_target("ort", {})
    options: dict[str, Any] = {"model": MODEL, "target": "ort", "data": {"input": images[:40]}}
    options |= {"cache": Shared(), "refine": "bias,round"}
    score = make_score(onnx.load(MODEL), profile, None, Judged(), options)
    candidates, steps = Candidates(options, profile, score), ("bias", "round")
    plain = candidates.make((), steps)
    assert [o.step for o in plain.report.refinement if o.kept]
    keeps = [(), (plain.report.plan.groups[0].nodes[0],)]
    made = list(RayWorkers(ray).map(send(candidates, steps), keeps))
    for keep, (trial, result) in zip(keeps, made, strict=True):
        alone = plain if not keep else candidates.make(keep, steps)
        assert result.model.SerializeToString() == alone.model.SerializeToString()
        assert replace(candidates.evaluate(keep, alone, 0), seconds=trial.seconds) == trial


def test_a_comparison(cluster: Any, tmp_path: Path, images: Any) -> None:
    """Every figure but the time, metrics of the user's included."""
    data = {"input": images, "labels": np.arange(len(images)) % 10}
    oq.quantize(MODEL, "trt", {"input": images[:32]}, refine="none").save(tmp_path / "q.onnx")
    options: dict[str, Any] = {"latency": False, "metrics": ["top1", "cosine"]}
    alone = oq.verify(MODEL, tmp_path / "q.onnx", data, **options)
    assert oq.verify(MODEL, tmp_path / "q.onnx", data, ray="auto", **options) == alone
    with pytest.raises(DataError, match="--ray compares samples in rows"):
        oq.verify(MODEL, tmp_path / "q.onnx", lambda: iter([data]), ray="auto")


def test_a_comparison_on_two_inputs(cluster: Any, tmp_path: Path) -> None:
    """A folder of files of rows; one of complete feeds is refused."""
    inputs = "net (float[n,4] a, float[n,4] b) => (float[n,4] y)"
    models = small(inputs + " { y = Add(a, b) }"), small(inputs + " { h = Relu(b) y = Add(a, h) }")
    rows, feeds = tmp_path / "rows", tmp_path / "feeds"
    rows.mkdir()
    for number, count in enumerate((50, 70, 31)):
        a, b = (normal(count, 4, seed=seed) for seed in (number, 9 + number))
        np.savez(rows / f"{number}.npz", a=a, b=b)
    alone = oq.verify(*models, rows, latency=False)
    assert alone.samples == 151 and np.isfinite(alone.literal.outputs[0].sqnr_db)
    assert oq.verify(*models, rows, latency=False, ray="auto") == alone
    (feeds / "test_data_set_0").mkdir(parents=True)
    for number in range(2):
        tensor = onnx.numpy_helper.from_array(normal(3, 4))
        (feeds / f"test_data_set_0/input_{number}.pb").write_bytes(tensor.SerializeToString())
    assert oq.verify(*models, feeds, latency=False).samples == 3
    with pytest.raises(DataError, match=r"samples in rows .* are complete feeds"):
        oq.verify(*models, feeds, latency=False, ray="auto")


def test_a_dataset_of_blocks(cluster: Any, images: Any) -> None:
    data = pytest.importorskip("ray.data")
    blocks = data.from_numpy(images).repartition(7)
    options: dict[str, Any] = {"calibrator": "moving_average", "refine": "none"}
    expected = oq.quantize(MODEL, "trt", {"input": images}, **options)
    found = oq.quantize(MODEL, "trt", blocks, ray=cluster.address, **options)
    assert found.model.SerializeToString() == expected.model.SerializeToString()


# ---- what goes wrong


def test_a_node_that_dies_in_the_middle_changes_nothing(
    cluster: Any, tmp_path: Path, images: Any
) -> None:
    many = {"input": np.tile(images, (40, 1, 1, 1))}
    oq.calibrate(MODEL, "trt", many, tmp_path / "alone")
    done: list[int] = []
    doomed: list[Any] = list(cluster.worker_nodes)

    def watch(stage: str, samples: int, total: int | None) -> None:
        done.append(samples)
        if doomed and samples > 500:
            cluster.remove_node(doomed.pop(), allow_graceful=False)

    try:
        oq.calibrate(MODEL, "trt", many, tmp_path / "spread", ray=cluster.address, watch=watch)
    finally:
        cluster.add_node(**NODE)
        cluster.wait_for_nodes()
    assert not doomed and min(d for d in done if d > 500) < done[-1] == 6400
    assert (tmp_path / "alone").read_bytes() == (tmp_path / "spread").read_bytes()


def test_a_worker_that_raises_ends_in_the_one_line(
    cluster: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    images: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoilt = images.copy()
    spoilt[97, 0, 0, 0] = np.nan
    np.savez(tmp_path / "x.npz", input=spoilt)
    monkeypatch.chdir(tmp_path)
    said = []
    for more in ((), ("--ray", cluster.address)):
        args = ("calibrate", str(MODEL), "-d", "x.npz", "--cache", "c", *more)
        monkeypatch.setattr("sys.argv", ["oq", *args])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 2
        said.append(capsys.readouterr().err)
    assert said[0] == said[1] and "the first in sample 97" in said[0]
    assert said[0].count("\n") == 1 and not live_actors()


def test_a_bug_in_a_worker_is_no_fault_of_the_user(cluster: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        RayWorkers(ray).fold(divide, [0], add)


def test_data_that_cannot_travel(cluster: Any, tmp_path: Path, images: Any) -> None:
    once = iter([{"input": images}])
    with pytest.raises(DataError, match="can be read only once, by one process; for workers give"):
        oq.calibrate(MODEL, "trt", once, tmp_path / "c", ray=cluster.address)
    with pytest.raises(DataError, match="cannot be sent to workers"):
        RayWorkers(ray).fold(_Holds(threading.Lock()), [1], add)


class _Holds:
    def __init__(self, held: object) -> None:
        self.held = held

    def __call__(self, item: int, tell: Callable[[int], None]) -> list[int]:
        return [item]


def test_an_error_stops_the_others_and_progress_counts_all(cluster: Any) -> None:
    told: list[int] = []
    workers = RayWorkers(ray)
    found = workers.fold(sleep_and_list, range(9), add, told.append)
    assert sorted(found) == [*range(9)]
    assert told == sorted(told) and 0 < told[-1] <= 36
    assert list(workers.map(sleep_and_list, range(5), told.append)) == [[i] for i in range(5)]
    with pytest.raises(DataError, match=r"^item 99: is bad$"):
        workers.fold(sleep_and_list, [1, 99, 2, 3, 4, 5], add)
    with pytest.raises(DataError, match=r"^item 99: is bad$"):
        list(workers.map(sleep_and_list, [1, 99]))


def test_what_ray_says_is_no_result(capsys: pytest.CaptureFixture[str]) -> None:
    """Ray prints on standard output, from a thread of its own, that a worker was lost."""
    before = sys.stdout
    with _output_apart():
        for name in ("ray_listen_error_messages", "mine"):
            speaker = threading.Thread(target=print, args=(name,), name=name)
            speaker.start()
            speaker.join()
        assert sys.stdout.encoding == before.encoding
    found = capsys.readouterr()
    assert (found.out, found.err) == ("mine\n", "ray_listen_error_messages\n")
    assert sys.stdout is before


def test_ctrl_c_leaves_no_actor(cluster: Any, tmp_path: Path) -> None:
    def interrupt(done: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        RayWorkers(ray).fold(sleep_and_list, range(20), add, interrupt)
    script = tmp_path / "run.py"
    script.write_text(
        "import signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from tests.distributed.test_cluster import *\n"
        "with open_workers(sys.argv[1]) as w:\n"
        "    w.fold(sleep_and_list, range(400), add, lambda done: print(done, flush=True))\n"
    )
    path = os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))
    child = subprocess.Popen(
        [sys.executable, str(script), cluster.address],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert child.stdout is not None
    while int(child.stdout.readline() or 1) == 0:
        pass
    assert live_actors(0)
    child.send_signal(signal.SIGINT)
    child.wait(timeout=30)
    assert not live_actors()


def test_refusals(cluster: Any, tmp_path: Path, images: Any) -> None:
    with pytest.raises(OptionError, match="--ray runs on CPUs: it cannot go with --provider cuda"):
        oq.quantize(MODEL, "trt", {"input": images}, provider="cuda", ray="local")
    with pytest.raises(OptionError, match="--shard is one part by hand, and --ray deals out all"):
        oq.calibrate(MODEL, "trt", {"input": images}, tmp_path / "c", shard="1/2", ray="local")


@pytest.mark.parametrize("where", ["127.0.0.1:9", "ray://127.0.0.1:9", "nowhere", "a:b"])
def test_no_cluster_there(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    begun = time.monotonic()
    with pytest.raises(OptionError, match="no Ray cluster there"), open_workers(where):
        pass
    assert time.monotonic() - begun < 5


def test_errors_keep_their_kind() -> None:
    for error in (DataError("a"), MissingExtra("torch", "oq export"), OqError("b")):
        with pytest.raises(type(error)) as caught:
            Outcome(0, type(error).__name__, str(error)).check()
        assert type(caught.value) is type(error) and str(caught.value) == str(error)


def test_no_workers_without_ray() -> None:
    with open_workers(None) as workers:
        assert workers is None
