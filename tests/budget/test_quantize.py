"""``oq.quantize`` within a budget, by top-1 and by metrics of the user's."""

from pathlib import Path

import numpy as np
import pytest

import oq
from oq import pipeline
from oq.comparison.metrics import open_metric, paired
from oq.errors import OptionError
from tests.damaged import X, damaged
from tests.small import reference

CALIB = {"x": X}


def test_without_a_budget_it_is_the_pipeline() -> None:
    found = oq.quantize(damaged(), "ort", CALIB, refine="none")
    plain = pipeline.quantize(damaged(), "ort", CALIB, refine="none")
    assert found.model == plain.model and found.report.search is None
    with pytest.raises(OptionError, match=r"^time_limit is for max_drop, which is not given$"):
        oq.quantize(damaged(), "ort", CALIB, time_limit=3.0)
    with pytest.raises(TypeError, match="unexpected keyword argument 'max_dorp'"):
        oq.quantize(damaged(), "ort", CALIB, max_dorp=3.0)  # type: ignore[call-arg]


@pytest.mark.parametrize("labelled", [False, True])
def test_a_budget_of_the_users_metric_keeps_the_damaged_layer(
    tmp_path: Path, labelled: bool
) -> None:
    model = damaged()
    judged = {"x": X} if labelled else None
    found = oq.quantize(
        *(model, "ort", CALIB),
        refine="none",
        max_drop=0.002,
        metric="cosine",
        eval_data=judged,
    )
    said = found.report.search
    assert said is not None and said.met and said.plain_drop > 0.002 >= said.drop
    assert said.kept == ("n_b",) and said.metric == "cosine"
    assert (said.journal, found.report.output) == ("", None)
    exact, mine = (reference(m, {"x": X})["y"].ravel() for m in (model, found.model))
    cosine = float(exact @ mine / np.linalg.norm(exact) / np.linalg.norm(mine))
    assert 1 - cosine == pytest.approx(said.drop if labelled else 1 - cosine, abs=2e-3)
    assert (
        "budget met: cosine fell 0.00" in " ".join(str(found.report).split()) or said.drop < 0.005
    )
    found.save(tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").is_file()


def test_metrics_without_a_finite_best_have_no_drop() -> None:
    metric = paired(open_metric("sqnr")).start()
    metric.update({"y": X}, {"y": X + 1}, None)
    assert isinstance(metric.value(), float)
    with pytest.raises(OptionError, match=r"^--metric 'sqnr' is infinite for a perfect model"):
        oq.quantize(damaged(), "ort", CALIB, refine="none", max_drop=1.0, metric="sqnr")


def test_a_drop_of_one_number_starts_from_a_perfect_copy() -> None:
    scores = np.eye(4, dtype=np.float32)
    flipped = scores[[0, 1, 3, 2]]
    metric = paired(open_metric("top1")).start()
    metric.update({"y": scores}, {"y": flipped}, None)
    assert metric.value() == (100.0, 50.0)
    metric = paired(open_metric("top1")).start()
    metric.update({"y": scores}, {"y": flipped}, np.array([0, 1, 2, 0]))
    assert metric.value() == (75.0, 50.0)


def test_verify_judges_by_it(tmp_path: Path) -> None:
    made = oq.quantize(damaged(), "ort", CALIB, refine="none", verify=False).model
    found = oq.verify(damaged(), made, CALIB, metrics=["cosine"], max_drop=0.5, latency=False)
    score = found.scores[0]
    assert score.exact == pytest.approx(1.0) and score.drop == pytest.approx(1 - score.value)
