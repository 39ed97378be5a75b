"""The search on a model with a layer that no int8 grid holds: met, missed, killed, resumed."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import oq
from oq.errors import OptionError
from oq.pipeline import Result
from tests.command import commands
from tests.graphs import Net
from tests.small import normal, reference, small

pytestmark = pytest.mark.xdist_group("search")

JOURNAL = "out.onnx.journal.jsonl"
BUNDLED = Path(oq.__file__).parents[1] / "models" / "bundled"
GUILTY = ("node_Conv_132", "node_Conv_138")
HUGE = {"blocks.1.second.0.weight", "blocks.2.second.0.weight"}
DEAD = 3


def damaged() -> onnx.ModelProto:
    """The bundled residual network with a dead channel in front of each of the layers
    :data:`GUILTY`, which read it with huge weights: in int8 few steps are left for the others."""
    model = onnx.load(BUNDLED / "residual.onnx")
    dead = ("blocks.1.first.0.weight_bias", "blocks.2.first.0.weight_bias")
    huge = {"blocks.1.second.0.weight": 400.0, "blocks.2.second.0.weight": 200.0}
    for tensor in model.graph.initializer:
        held = onnx.numpy_helper.to_array(tensor).copy()
        if tensor.name in dead:
            held[DEAD] = -1000.0
        if tensor.name in huge:
            held[:, DEAD] = huge[tensor.name]
        tensor.CopyFrom(onnx.numpy_helper.from_array(held, tensor.name))
    return model


def fill(folder: Path) -> None:
    """The damaged model, some calibration data, and some with labels."""
    onnx.save(damaged(), folder / "net.onnx")
    calib, held = np.load(BUNDLED / "digits_calib.npz"), np.load(BUNDLED / "digits_eval.npz")
    np.savez(folder / "data.npz", input=calib["input"][:120])
    np.savez(folder / "eval.npz", input=held["input"][:160], labels=held["labels"][:160])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    fill(tmp_path)
    return tmp_path


@dataclass(frozen=True, slots=True)
class Whole:
    """One uninterrupted search for a budget of 2 points, which many tests compare with."""

    folder: Path
    result: Result

    def put(self, name: str) -> None:
        """Its file, config and journal into the present folder, as if -o had been ``name``."""
        for file in self.folder.glob("out.onnx*"):
            shutil.copy(file, file.name.replace("out.onnx", name))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder, before = tmp_path_factory.mktemp("whole"), Path.cwd()
    fill(folder)
    os.chdir(folder)
    try:
        return Whole(folder, search(2.0))
    finally:
        os.chdir(before)


def drop_of(path: str) -> float:
    """Points of top-1 that the file at ``path`` loses, by onnxruntime alone, unoptimized."""
    with np.load("eval.npz") as held:
        x, labels = held["input"], held["labels"]
    exact, found = (
        reference(onnx.load(p), {"input": x})["logits"].argmax(axis=1) for p in ("net.onnx", path)
    )
    return 100 * float((exact == labels).mean() - (found == labels).mean())


def search(max_drop: float, output: str = "out.onnx", **options: Any) -> Result:
    given = {"eval_data": "eval.npz", "refine": "none", **options}
    return oq.search("net.onnx", "ort", "data.npz", output, max_drop=max_drop, **given)


def rows(path: str = JOURNAL) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def trials(path: str = JOURNAL) -> list[dict[str, Any]]:
    return [r for r in rows(path) if r["kind"] == "trial"]


def test_the_budget_is_met_with_the_damaged_layer_in_float(folder: Path, whole: Whole) -> None:
    whole.put("out.onnx")
    found = whole.result.report.search
    assert found is not None and found.met and found.drop <= 2.0 < found.plain_drop
    assert set(found.kept) <= set(GUILTY)
    assert 0 < found.int8_share < found.plain_share == 100.0
    file = onnx.load("out.onnx")
    assert drop_of("out.onnx") <= 2.0
    assert not oq.check(file, "ort")
    floats = {n.name for n in file.graph.node if set(n.input) & HUGE}
    assert floats == set(found.kept), "their weights are stored in float"
    assert found.tried == len(trials())


def test_the_config_beside_it_makes_the_same_file_again(folder: Path, whole: Whole) -> None:
    from oq.options.config import read_config

    whole.put("out.onnx")
    made = oq.quantize("net.onnx", **read_config("out.onnx.yaml"))
    made.save("again.onnx")
    assert Path("again.onnx").read_bytes() == Path("out.onnx").read_bytes()


def looped() -> onnx.ModelProto:
    """A classifier whose states pass twice through a layer that no int8 grid holds: the weights of
    a value that is always 0 are huge."""
    wide = normal(16, 16)
    wide[0], wide[:, 0] = 3000 * wide[0], 0
    text = """net (float[n,16] x) => (float[n,10] y) {
        h = Loop (count, go, x) <body = turn (int64 i, bool on, float[n,16] u)
            => (bool still, float[n,16] out) {
            still = Identity(on)
            m = MatMul(u, wide)
            out = Tanh(m)
        }>
        y = MatMul(h, w)
    }"""
    given = {"wide": wide, "w": normal(16, 10, seed=1)}
    return small(text, {**given, "count": np.asarray(2), "go": np.asarray(True)})


def test_the_layer_of_a_body_is_kept_in_float(tmp_path: Path) -> None:
    model, layer = looped(), "Loop_h/body/MatMul_m"
    x = normal(64, 16, seed=2)
    x[:, 0] = 0
    path = tmp_path / "out.onnx"
    made = oq.search(model, "ort", {"x": x}, path, max_drop=10.0, refine="none")
    found = made.report.search
    assert found is not None and found.met and found.drop <= 10 < found.plain_drop
    assert found.kept == (layer,) and 0 < found.int8_share < found.plain_share == 100.0
    assert layer in str(made.report)
    exact, kept = (reference(m, {"x": x})["y"] for m in (model, onnx.load(path)))
    assert (exact.argmax(axis=1) == kept.argmax(axis=1)).mean() > 0.9


def test_no_search_where_int8_meets_the_budget(folder: Path) -> None:
    found = search(100.0).report.search
    assert found is not None and found.met and found.tried == 1 and found.kept == ()
    assert [r["kind"] for r in rows()] == ["run", "trial"]
    assert Path("out.onnx").is_file()


def test_the_same_inputs_give_the_same_file(folder: Path, whole: Whole) -> None:
    whole.put("out.onnx")
    search(2.0, "two.onnx")
    assert Path("out.onnx").read_bytes() == Path("two.onnx").read_bytes()
    scores = [
        [{k: v for k, v in t.items() if k != "seconds"} for t in trials(path)]
        for path in (JOURNAL, "two.onnx.journal.jsonl")
    ]
    assert scores[0] == scores[1]


@pytest.mark.parametrize(
    ("stage", "after"), [("rank", 1), ("rank", 7), ("search", 1), ("search", 2), ("search", 3)]
)
def test_killed_and_resumed_equals_uninterrupted(
    folder: Path, whole: Whole, stage: str, after: int
) -> None:
    whole.put("whole.onnx")

    def kill(found: str, done: int, _total: int | None) -> None:
        if (found, done) == (stage, after):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(2.0, watch=kill)
    onnx.checker.check_model(onnx.load("out.onnx"))
    before = rows()
    resumed = search(2.0)
    assert Path("out.onnx").read_bytes() == Path("whole.onnx").read_bytes()
    assert rows()[: len(before)] == before, "nothing is measured twice"
    assert len(rows()) == len(rows("whole.onnx.journal.jsonl"))
    first, second = whole.result.report.search, resumed.report.search
    assert first is not None and second is not None
    assert second.resumed == sum(r["kind"] == "trial" for r in before)
    assert (second.kept, second.drop, second.tried) == (first.kept, first.drop, first.tried)


def test_a_finished_search_only_makes_its_file(folder: Path, whole: Whole) -> None:
    whole.put("out.onnx")
    held, before = Path("out.onnx").read_bytes(), Path(JOURNAL).read_text()
    Path("out.onnx").unlink()
    found = search(2.0).report.search
    assert found is not None and found.resumed == found.tried
    assert Path("out.onnx").read_bytes() == held and Path(JOURNAL).read_text() == before


def test_another_budget_uses_what_is_known_other_options_do_not(folder: Path, whole: Whole) -> None:
    whole.put("out.onnx")
    many = len(trials())
    looser = search(100.0).report.search
    assert looser is not None and looser.resumed == looser.tried == 1 and looser.kept == ()
    assert len(trials()) == many
    other = search(2.0, weights="mse").report.search
    assert other is not None and other.resumed == 0


def test_the_best_so_far_is_on_disk_all_the_time(folder: Path) -> None:
    """At every trial the file there agrees with labels as well as the journal's best says."""
    drops: list[float] = []

    def look(stage: str, done: int, _total: int | None) -> None:
        if stage == "search":
            drops.append(drop_of("out.onnx"))

    found = search(2.0, watch=look).report.search
    assert found is not None and len(drops) == found.tried
    met = [d <= 2.0 for d in drops]
    assert met == sorted(met), "once it is met, it stays met"


def test_the_time_limit_is_honoured_and_the_run_goes_on_later(folder: Path, whole: Whole) -> None:
    found = search(2.0, time_limit=0.0).report.search
    assert found is not None and not found.met and found.stopped == "the time limit was reached"
    assert found.tried == 1 and Path("out.onnx").is_file()
    later = search(2.0).report.search
    assert later is not None and later.met and later.stopped == ""
    whole.put("whole.onnx")
    assert Path("out.onnx").read_bytes() == Path("whole.onnx").read_bytes()


def test_refinement_goes_with_it(folder: Path) -> None:
    found = search(2.0, refine="bias")
    assert found.report.search is not None and found.report.search.met
    tried = trials()
    assert all(set(t["refined"]) <= set(tried[0]["refined"]) for t in tried)


def test_a_page_is_made_once_of_the_file_that_is_kept(folder: Path, whole: Whole) -> None:
    whole.put("plain.onnx")
    found = search(2.0, report="page.json").report.search
    assert found is not None and found.met
    # but for the fingerprint of statistics, of which a page has more
    assert onnx.load("out.onnx").graph == onnx.load("plain.onnx").graph
    page = Path("page.json").read_text()
    assert all(f"--keep-float '{name}'" in page for name in found.kept)
    with pytest.raises(OptionError, match=r"--report 'page\.txt': expected \.html or \.json"):
        search(2.0, report="page.txt")


def test_without_eval_data_agreement_is_used_and_said(folder: Path) -> None:
    found = search(7.0, eval_data=None)
    said = found.report.search
    assert said is not None and said.met
    assert "15 held-back calibration samples whose top-1 differs from the float" in said.judged
    verified = found.report.verification
    assert verified is not None
    assert said.drop == 100.0 - min(
        verified.deployed.classes[0].agreement, verified.literal.classes[0].agreement
    )
    assert "one sample is 6.7 points, more than the budget" not in said.judged
    tight = search(1.0, eval_data=None).report.search
    assert tight is not None and "one sample is 6.7 points, more than the budget" in tight.judged


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eval_data": "data.npz"}, "--eval-data data.npz has no labels, which --max-drop needs"),
        ({"eval_data": None, "labels": Path("l.csv")}, "--labels are those of --eval-data"),
        ({"verify": False}, "cannot go with --no-verify"),
        ({"max_drop": -1.0}, "--max-drop is -1 points; expected 0 or more"),
    ],
)
def test_what_cannot_be_searched(folder: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        search(**{"max_drop": 1.0, **options})
    assert not Path("out.onnx").exists()


def test_a_model_without_classes_has_no_drop(folder: Path) -> None:
    net = Net()
    onnx.save(net.model(net.conv(net.input("x"), "y")), "net.onnx")
    np.savez("data.npz", x=np.random.default_rng(0).normal(size=(24, 4, 8, 8)).astype("float32"))
    with pytest.raises(OptionError, match="needs a model whose outputs are scores of classes"):
        search(1.0, eval_data=None)


Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    oq = commands(monkeypatch, capsys)
    whole = ("quantize", "net.onnx", "-t", "ort", "-d", "data.npz", "-o", "out.onnx")

    def call(*args: str) -> tuple[int, str, str]:
        found = oq(*whole, "--refine", "none", *args)
        return found.code, found.out, found.err

    return call


def test_the_command_says_what_was_kept_and_what_it_costs(run: Cli) -> None:
    code, out, err = run("--max-drop", "2", "--eval-data", "eval.npz")
    assert (code, err) == (0, "")
    words = " ".join(out.split())
    assert "budget met: " in words and ", limit 2.00; with everything in int8, top-1 " in words
    assert "measured: top-1 accuracy on 160 samples of eval.npz" in words
    assert "kept float" in out and GUILTY[0] in out and "with everything in int8 100.0 %" in words
    assert f"journal {JOURNAL}" in words
    about = Path("out.onnx.yaml").read_text().splitlines()[1]
    assert about.startswith("# --max-drop 2 (top-1) keeps ") and about.endswith(" in float")


def test_an_impossible_budget_still_gives_a_file_and_exit_1(run: Cli) -> None:
    """One layer, damaged: in float there would be nothing left in int8."""
    net = Net()
    net.gemm(net.input("x", ("n", 4)), "y")
    net.constants["w_y"][:, 0] = 1e4
    x = np.random.default_rng(0).normal(size=(80, 4)).astype(np.float32)
    x[:, 0] = 0.0
    model = net.model("y")
    onnx.save(model, "net.onnx")
    labels = reference(model, {"x": x})["y"].argmax(axis=1)
    np.savez("data.npz", x=x[:40])
    np.savez("eval.npz", x=x, labels=labels)
    code, out, err = run("--max-drop", "1", "--eval-data", "eval.npz")
    assert code == 1 and Path("out.onnx").is_file()
    assert "budget      MISSED: " in out
    assert "oq: no file meets --max-drop 1: in the best one, which was written, top-1 fell" in err


def test_json_has_the_search(run: Cli) -> None:
    code, out, _ = run("--max-drop", "2", "--eval-data", "eval.npz", "--json")
    found = json.loads(out)["search"]
    assert code == 0 and found["met"] and set(found["kept"]) <= set(GUILTY)


def test_flags_that_need_a_budget(run: Cli) -> None:
    for flag, value in (("--eval-data", "eval.npz"), ("--labels", "l.csv"), ("--time-limit", "3")):
        code, _, err = run(flag, value)
        assert code == 2 and err == f"oq: {flag} is for --max-drop, which is not given\n"


def test_a_config_file_may_hold_the_budget(run: Cli) -> None:
    Path("q.yaml").write_text("max_drop: 2\neval_data: eval.npz\n")
    code, out, _ = run("--config", "q.yaml")
    assert code == 0 and "budget      met" in out
