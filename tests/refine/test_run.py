"""A step is kept only where samples it has not seen gain, and the report tells it."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

import oq
from oq.errors import OptionError
from oq.refine import order, run
from oq.refine.judge import Judge, Verdict
from oq.refine.order import choose_steps
from oq.refine.run import refine
from oq.refine.step import Step
from oq.refine.subject import Change, Subject
from oq.wording import to_json
from tests.refine.nets import NETS, batches, subject
from tests.small import normal, small

HELD = batches(2, seed=11)
DATA = {"x": np.concatenate([b["x"] for b in batches(8, seed=3)])}


def spoil(subject: Subject) -> Change:
    """A step that makes everything worse."""
    return Change({"b_a": subject.constant("b_a") + 5}, "spoiled")


def unused(_subject: Subject, _calibrator: str | None) -> Subject:
    raise AssertionError("only early steps are calibrated again")


def test_a_step_that_harms_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = {"spoil": Step("", spoil), **order.STEPS}
    monkeypatch.setattr(run, "STEPS", steps)
    before = subject(NETS["separable"]())
    found = refine(("spoil", "bias"), before, HELD, unused)
    first, second = found.outcomes
    assert (first.kept, first.note) == (False, "spoiled")
    assert first.after_db < first.before_db - 3
    assert second.kept and second.before_db == first.before_db < second.after_db
    judge = Judge(before.model, before.view, HELD)
    assert judge.compare(found.subject.quantized()).db == second.after_db
    assert np.abs(found.subject.constant("b_a") - before.constant("b_a")).max() < 1


@dataclass
class Scripted:
    """A judge that finds the next of the figures it was given."""

    figures: list[float]
    tensors: tuple[str, ...] = ("y",)
    measure: str = "output SQNR"

    def compare(self, _model: onnx.ModelProto) -> Verdict:
        return Verdict(self.figures.pop(0))


def judged_by(
    figures: list[float], monkeypatch: pytest.MonkeyPatch
) -> dict[str, tuple[bool, float, float]]:
    """step -> (kept, before, after) of an early step in front of a late one."""
    early = Step("", lambda s: Change({"b_a": s.constant("b_a") + 1}), early=True)
    late = Step("", lambda s: Change({"b_b": s.constant("b_b") + 1}))
    monkeypatch.setattr(run, "STEPS", {"early": early, "late": late})
    monkeypatch.setattr(run, "Judge", lambda *_: Scripted(figures))
    found = refine(("early", "late"), subject(NETS["separable"]()), HELD, lambda s, _: s)
    assert not figures
    return {o.step: (o.kept, o.before_db, o.after_db) for o in found.outcomes}


def test_a_step_that_noise_hid_is_tried_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    found = judged_by([3.0, 2.9, 9.0, 14.0], monkeypatch)
    assert found == {"early": (True, 9.0, 14.0), "late": (True, 3.0, 9.0)}
    found = judged_by([3.0, 2.9, 9.0, 8.0], monkeypatch)
    assert found == {"early": (False, 9.0, 8.0), "late": (True, 3.0, 9.0)}


def test_a_step_that_changes_nothing_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "STEPS", {"idle": Step("", lambda _: Change({}, "no bias"))})
    monkeypatch.setattr(run, "Judge", lambda *_: Scripted([3.0]))
    begun = subject(NETS["separable"]())
    found = refine(("idle",), begun, HELD, unused)
    assert [str(outcome) for outcome in found.outcomes] == ["idle: not tried, no bias"]
    assert found.subject is begun


def test_a_step_that_nothing_hid_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not judged_by([12.0, 11.9, 13.0], monkeypatch)["early"][0]
    assert not judged_by([3.0, 2.9, 2.8], monkeypatch)["early"][0]


@pytest.mark.parametrize("count", [63, 64])
def test_no_range_is_clipped_on_a_few_samples(count: int) -> None:
    x = np.random.default_rng(0).normal(size=(count, *DATA["x"].shape[1:])).astype(np.float32)
    found = oq.quantize(NETS["separable"](), "ort", {"x": x}, refine="ranges", verify=False)
    (outcome,) = found.report.refinement
    few = "63 samples are too few to estimate rare values; 64 are needed"
    assert (outcome.note == few) == (count < 64)
    assert outcome.kept <= (count >= 64)


def test_the_file_holds_what_was_kept() -> None:
    """The written model is as good as the report says, and better than without refinement."""
    model = NETS["separable"]()
    plain = oq.quantize(model, "ort", DATA, refine="none", verify=False)
    refined = oq.quantize(model, "ort", DATA, verify=False)
    outcome = next(o for o in refined.report.refinement if o.step == "bias")
    view = subject(model).view
    judge = Judge(model, view, batches(8, seed=5))
    assert outcome.kept
    assert judge.compare(refined.model).db > judge.compare(plain.model).db + 0.5
    assert plain.report.refinement == ()


def test_refinement_is_deterministic() -> None:
    first, second = (oq.quantize(NETS["separable"](), "ort", DATA) for _ in range(2))
    assert first.model.SerializeToString() == second.model.SerializeToString()


def test_a_finished_cache_without_data_says_what_was_not_tried(tmp_path: Path) -> None:
    model, cache = NETS["separable"](), tmp_path / "c.cache"
    oq.quantize(model, "ort", DATA, cache=cache)
    (outcome, *_) = oq.quantize(model, "ort", cache=cache).report.refinement
    assert not outcome.kept and outcome.note == "there are no samples"
    text = str(oq.quantize(model, "ort", cache=cache).report)
    assert "no step was tried: there are no samples" in text


def test_the_report_tells_each_step() -> None:
    report = oq.quantize(NETS["separable"](), "ort", DATA, refine="bias").report
    assert "bias: kept, output SQNR" in str(report)
    (row,) = json.loads(json.dumps(to_json(report)))["refinement"]
    assert row["step"] == "bias" and row["kept"] is True
    assert row["before_db"] < row["after_db"] and row["seconds"] > 0


def test_names_are_checked_and_ordered() -> None:
    assert choose_steps(None, ("bias",)) == ("bias",)
    assert choose_steps("none", ("bias",)) == ()
    assert choose_steps(list(order.STEPS)[::-1], ()) == tuple(order.STEPS)
    with pytest.raises(OptionError, match="--refine 'magic': expected none or some of"):
        choose_steps("bias,magic", ())


def test_a_model_without_float_outputs_has_nothing_to_judge() -> None:
    text = """net (float[n,8] x) => (int64[n] y) {
        p = MatMul(x, w) s = Squeeze(p, last) c = Greater(s, least) y = Cast<to = 7>(c)
    }"""
    constants = {"w": normal(8, 1), "last": np.array([1]), "least": np.array(0, np.float32)}
    model = small(text, constants)
    done = oq.quantize(model, "ort", {"x": normal(32, 8, seed=1)}, refine="bias")
    assert [o.note for o in done.report.refinement] == ["the model has no float output"]


def test_where_nothing_is_quantized_no_step_is_tried() -> None:
    made = oq.quantize(small("net (float[n,4] x) => (float[n,4] y) { y = Sin(x) }"), "dpu", LINES)
    assert {outcome.note for outcome in made.report.refinement} == {"nothing is quantized"}
    assert "refined     no step was tried: nothing is quantized\nrules" in str(made)


LINES = {"x": normal(16, 4)}
