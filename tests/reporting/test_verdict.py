"""PASS or FAIL, by figures worked out by hand."""

from dataclasses import replace

import pytest

import oq
from oq.comparison.compare import Verification
from oq.comparison.deviation import Classification, OutputError
from oq.comparison.metrics import Score
from oq.reporting.verdict import judge_drop
from tests.damaged import X, damaged


@pytest.fixture(scope="module")
def sound() -> Verification:
    return oq.verify(damaged(), damaged(), {"x": X}, latency=False)


@pytest.mark.parametrize(
    ("limit", "drop", "passed", "said"),
    [
        (1.0, 1.0, True, "PASS top-1 fell 1.00 points (limit 1.00)"),
        (0.2, 1.0, False, "FAIL top-1 fell 1.00 points (limit 0.20)"),
        (0.5, -0.25, True, "PASS top-1 rose 0.25 points (limit 0.50)"),
        (None, 3.0, True, "PASS top-1 fell 3.00 points (no limit given)"),
        (0.0, 0.0, True, "PASS top-1 is unchanged (limit 0.00)"),
    ],
)
def test_points(
    sound: Verification, limit: float | None, drop: float, passed: bool, said: str
) -> None:
    votes = Classification("y", 100, 99.0, 100.0, 80.0, 80.0 - drop)
    judged = replace(sound, literal=replace(sound.literal, classes=(votes,)))
    found = judge_drop(replace(judged, limit=limit))
    assert (found.passed, found.drop, found.limit, str(found)) == (passed, drop, limit, said)


def test_without_labels(sound: Verification) -> None:
    found = judge_drop(sound)
    assert found.passed and found.drop is None
    assert str(found) == "PASS not collapsed; the data has no labels"


def test_a_collapsed_model_fails_whatever_the_limit(sound: Verification) -> None:
    lost: OutputError = replace(sound.deployed.outputs[0], sqnr_db=1.0)
    broken = replace(sound, deployed=replace(sound.deployed, outputs=(lost,)))
    found = judge_drop(replace(broken, limit=50.0))
    assert not found.passed
    assert str(found).startswith("FAIL collapsed: output ")


def test_the_worse_mode_and_the_metric_asked_for_decide(sound: Verification) -> None:
    scores = (Score("iou", "deployed", 0.70, 0.75), Score("iou", "literal", 0.72, 0.75))
    found = judge_drop(replace(sound, scores=scores, limit=0.04))
    assert str(found) == "FAIL iou fell 0.05 (limit 0.04)"


def test_what_verify_returns_ends_with_the_verdict(sound: Verification) -> None:
    """In Python, where there is no command line to say it."""
    votes = Classification("y", 100, 99.0, 100.0, 80.0, 79.0)
    judged = replace(sound, literal=replace(sound.literal, classes=(votes,)), limit=0.5)
    assert not judged.passed and sound.passed
    assert str(judged).splitlines()[-1] == "FAIL top-1 fell 1.00 points (limit 0.50)"
