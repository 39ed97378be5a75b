"""Training in one call: nearer or unchanged, the same bytes after a kill, and what it says."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import oq
from oq.errors import DataError, OptionError
from oq.model.session import run
from oq.numerics.values import Array
from tests.command import commands
from tests.small import normal, small
from tests.training.test_qat import constants, digits, noise

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

BUNDLED = Path(oq.__file__).parents[1] / "models" / "bundled"
SEPARABLE, CALIB = BUNDLED / "separable.onnx", BUNDLED / "digits_calib.npz"
FAST: dict[str, Any] = {"samples": 64, "refine": "none", "verify": False}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Sums are added up in an order that depends on the number of threads."""
    torch.set_num_threads(1)


def tuned(target: str = "dpu", **options: Any) -> oq.Result:
    return oq.finetune(SEPARABLE, target, CALIB, **{**FAST, "epochs": 4, "lr": 0.005, **options})


def same(first: onnx.ModelProto, second: onnx.ModelProto) -> bool:
    made, wanted = constants(first), constants(second)
    return all(np.array_equal(made[n], v) for n, v in wanted.items()) and len(made) == len(wanted)


@pytest.mark.parametrize("target", ["dpu", "ort"])
def test_it_comes_nearer_than_the_file_it_starts_from(target: str) -> None:
    plain = oq.quantize(SEPARABLE, target, CALIB, **FAST)
    found = tuned(target)
    assert noise(found.model) < 0.95 * noise(plain.model)
    (outcome,) = found.report.refinement
    assert outcome.kept and outcome.after_db > outcome.before_db + 0.2
    assert "of 4 epochs is number" in outcome.note
    assert "training changed" in str(found.report)
    assert found.report.options["epochs"] == 4 and "minutes" not in found.report.options
    assert not [f for f in oq.check(found.model, target) if f.severity == "error"]


def test_where_no_epoch_is_better_the_refined_file_is_written() -> None:
    plain = oq.quantize(SEPARABLE, "dpu", CALIB, **FAST)
    found = tuned(lr=300.0, epochs=2)
    assert same(found.model, plain.model)
    (outcome,) = found.report.refinement
    assert not outcome.kept and "none of 2 epochs is better" in outcome.note


def test_the_best_epoch_is_kept_and_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last epoch is spoiled; what comes out is the state of the epoch that is named, whose
    noise is the least of all."""
    from oq.training import tuning

    judged, score = [], tuning.Tuner._score

    def spoiled(self: Any) -> Any:
        if self.at.epoch == 4:
            for parameter in self.qat.module.parameters():
                parameter.data.mul_(1.5)
        judged.append((score(self), self.qat.model()))
        return judged[-1][0]

    monkeypatch.setattr(tuning.Tuner, "_score", spoiled)
    found = tuned()
    decibels = [made.verdict.db for made, _ in judged]
    best = int(np.argmax(decibels))
    assert len(judged) == 5 and 0 < best < 4
    (outcome,) = found.report.refinement
    assert f"number {best}" in outcome.note and outcome.after_db == decibels[best]
    assert same(found.model, judged[best][1])


class Killed(Exception):
    pass


@pytest.mark.parametrize("scales", ["frozen", "learned"])
def test_resumed_it_ends_with_the_same_bytes(
    scales: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the middle of an epoch, twice."""
    monkeypatch.setattr("oq.training.tuning.SAVED_EVERY", 0.0)
    state = tmp_path / "state.safetensors"
    options: dict[str, Any] = {"augment": "crop", "scales": scales, "epochs": 3, "target": "ort"}
    whole = tuned(**options)

    def kill_at(wanted: int) -> Any:
        def watch(stage: str, done: int, total: int | None) -> None:
            if stage == "finetune" and done >= wanted:
                raise Killed

        return watch

    for moment in (32, 100):
        with pytest.raises(Killed):
            tuned(**options, state=state, watch=kill_at(moment))
    seen: list[int] = []

    def note(stage: str, done: int, _total: int | None) -> None:
        seen.extend([done] if stage == "finetune" and done else [])

    again = tuned(**options, state=state, watch=note)
    assert min(seen) > 56
    assert again.model.SerializeToString(deterministic=True) == whole.model.SerializeToString(
        deterministic=True
    )
    with pytest.raises(DataError, match="the state of another run"):
        tuned(**{**options, "lr": 0.01}, state=state)


def test_the_seed_decides_everything() -> None:
    first, second, other = (tuned(augment="crop", epochs=2, seed=s).model for s in (0, 0, 1))
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(
        deterministic=True
    )
    assert not same(first, other)


def test_minutes_hold_the_number_of_epochs() -> None:
    short = tuned(minutes=0.001, epochs=None)
    assert short.report.options["epochs"] == 1
    assert tuned(minutes=60.0, epochs=2).report.options["epochs"] == 2


def test_labels_are_learned_from() -> None:
    """With other names for the classes, answers move to the labels, away from the float model."""
    with np.load(CALIB) as arrays:
        images, labels = arrays["input"][:128], arrays["labels"][:128]
    given = {"input": images, "labels": (labels + 1) % 10}
    options: dict[str, Any] = {**FAST, "samples": None, "epochs": 12, "lr": 0.6, "loss": "labels"}
    found = oq.finetune(SEPARABLE, "ort", given, **options)
    plain = oq.quantize(SEPARABLE, "ort", given, **FAST)
    shares = [agreement(m.model, images, given["labels"]) for m in (plain, found)]
    assert shares[0] < 0.1 and shares[1] > shares[0] + 0.1
    assert "loss with labels" in found.report.refinement[0].note


def agreement(model: onnx.ModelProto, images: Array, labels: Array) -> float:
    answer = next(iter(run(model, {"input": images}).values()))
    return float((answer.reshape(len(images), -1).argmax(1) == labels).mean())


def test_models_of_one_fixed_size_and_complete_feeds() -> None:
    """Batches of the file's own size, several to a step."""
    text = """net (float[4,6] x) => (float[4,5] y) {
        a = MatMul(x, w)
        y = Relu(a)
    }"""
    model = small(text, {"w": normal(6, 5, seed=1)})
    found = oq.finetune(
        model, "trt", {"x": normal(64, 6, seed=2)}, refine="none", epochs=6, lr=0.005
    )
    (outcome,) = found.report.refinement
    assert outcome.after_db >= outcome.before_db and found.model.graph.input[0].name == "x"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"loss": "hinge"}, "--loss 'hinge': expected mse, kl, labels"),
        ({"augment": "cutout"}, "--augment 'cutout': expected none, flip, crop"),
        ({"format": "qoperator"}, "Q/DQ are trained"),
        ({"report": "page.html"}, "oq verify MODEL FILE --report"),
        ({"scales": "free"}, "scales 'free': expected frozen or learned"),
    ],
)
def test_what_is_refused(options: Any, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        tuned("ort", **options)


def test_data_must_be_read_again_and_have_what_is_learned() -> None:
    stream = ({"input": digits("calib", 1)} for _ in range(24))
    with pytest.raises(DataError, match="reads the samples again"):
        oq.finetune(SEPARABLE, "ort", stream, **FAST)
    with pytest.raises(OptionError, match="has no labels, which --loss labels needs"):
        oq.finetune(SEPARABLE, "ort", {"input": digits("calib", 32)}, loss="labels", **FAST)


def test_the_command_leaves_a_file_its_config_and_no_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    oq_run = commands(monkeypatch, capsys)
    words = ("finetune", SEPARABLE, "-t", "dpu", "-o", "a.onnx")
    flags = ("-d", CALIB, "--samples", "64", "--refine", "none", "--epochs", "3", "--lr", "0.02")
    done = oq_run(*words, *flags)
    assert done.code == 0, done.err
    assert "finetune: kept" in done.out and "epochs" in done.out, done.out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.onnx", "a.onnx.yaml"]
    assert "oq finetune" in (tmp_path / "a.onnx.yaml").read_text()
    again = oq_run("finetune", SEPARABLE, "--config", "a.onnx.yaml", "-o", "b.onnx")
    assert again.code == 0, again.err
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    wrong = oq_run("quantize", SEPARABLE, "--config", "a.onnx.yaml", "-o", "c.onnx")
    assert wrong.code == 2 and "config key 'epochs' is not for oq quantize" in wrong.err
