"""A step is kept only where samples it has not seen gain, and the report tells it."""

import json
from pathlib import Path

import numpy as np
import pytest

import oq
from oq.errors import OptionError
from oq.refine import order, run
from oq.refine.judge import Judge, judged
from oq.refine.order import choose_steps
from oq.refine.run import refine
from oq.refine.step import Change, Step
from oq.refine.subject import Subject
from oq.report import to_json
from tests.graphs import Net
from tests.refine.nets import NETS, batches, subject

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
    assert judge.sqnr_db(found.subject.quantized()) == second.after_db
    assert np.abs(found.subject.constant("b_a") - before.constant("b_a")).max() < 1


def test_the_file_holds_what_was_kept() -> None:
    """The written model is as good as the report says, and better than without refinement."""
    model = NETS["separable"]()
    plain = oq.quantize(model, "ort", DATA, refine="none", verify=False)
    refined = oq.quantize(model, "ort", DATA, verify=False)
    outcome = next(o for o in refined.report.refinement if o.step == "bias")
    view = subject(model).view
    judge = Judge(model, view, batches(8, seed=5))
    assert outcome.kept
    assert judge.sqnr_db(refined.model) > judge.sqnr_db(plain.model) + 0.5
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
    assert "not tried, there are no samples" in text


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


def test_scores_are_judged_in_front_of_the_softmax() -> None:
    net = Net()
    net.node("Softmax", [net.gemm(net.input("x", ("n", 4)), "g")], "y")
    assert judged(net.view("y", "g")) == ("g",)
    assert judged(net.view("y")) == ("g",)
