"""A Concat stays in float where one grid would leave an operand hardly a level."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oq
from oq.calibration.apart import concats_apart
from oq.numerics.statistics import EMPTY, Statistics
from oq.planning import registry
from oq.planning.overrides import Overrides
from oq.planning.setup import plan_model
from tests.odd_models import detector
from tests.small import normal


def measured(lo: float, hi: float) -> Statistics:
    return Statistics(10, 0, lo, hi)


@pytest.mark.parametrize(
    ("boxes", "scores", "apart"),
    [
        (measured(-100, 540), measured(0, 1), True),
        (measured(0, 17), measured(0, 1), True),
        (measured(0, 15), measured(0, 1), False),
        (measured(500, 540), measured(-30, 4), False),  # a range includes 0
        (measured(0, 540), measured(0, 0), False),  # a dead operand has nothing to lose
        (measured(0, 540), EMPTY, False),
    ],
)
def test_ranges_that_one_grid_does_not_hold(
    boxes: Statistics, scores: Statistics, apart: bool
) -> None:
    planned = plan_model(detector(), registry.target("ort"), Overrides())
    operands = planned.view.node("n_found").inputs
    seen = dict(zip(operands, (boxes, scores), strict=True))
    found = concats_apart(planned.view, planned.plan, seen)
    assert set(found) == ({"n_found"} if apart else set())


@pytest.mark.parametrize("target", registry.names("targets"))
def test_a_detector_keeps_its_scores(target: str) -> None:
    made = oq.quantize(detector(), target, {"x": normal(64, 4, 16, 16)})
    found = made.report.verification
    assert found is not None and found.collapse == ()
    (parts,) = found.literal.channels
    assert parts is not None and parts.judged == 7 and parts.sqnr_db > 15
    reasons = {s.node: s.reason for s in made.report.plan.skips}
    assert "of 256 levels" in reasons.get("n_found", "") or target == "trt"
    assert oq.check(made.model, target) == ()


def test_naive_quantizes_it_and_the_channels_tell() -> None:
    made = oq.quantize(detector(), "ort", {"x": normal(64, 4, 16, 16)}, mode="naive")
    found = made.report.verification
    assert found is not None and found.literal.outputs[0].sqnr_db > 25
    assert "has lost 3 of 7 channels" in found.collapse[0]


def test_data_that_is_read_once_changes_nothing() -> None:
    feeds = ({"x": np.asarray(x)[None]} for x in normal(16, 4, 16, 16))
    made = oq.quantize(detector(), "ort", feeds, verify=False, refine="none", calibrator="mse")
    assert made.report.plan.sites


@pytest.mark.parametrize("target", ["ort", "coreml"])
def test_what_oq_calibrate_measured_is_all_that_quantize_asks_for(
    tmp_path: Path, target: str
) -> None:
    data, cache = {"x": normal(64, 4, 16, 16)}, tmp_path / "c"
    oq.calibrate(detector(), target, data, cache)
    how: Any = {"cache": cache, "verify": False, "refine": "none"}
    given, alone = (oq.quantize(detector(), target, d, **how) for d in (data, None))
    assert any("of 256 levels" in s.reason for s in given.report.plan.skips)
    assert given.report.plan == alone.report.plan
