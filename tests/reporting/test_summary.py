"""The first keys of a JSON document, which docs/json.md promises."""

import dataclasses
from dataclasses import replace
from pathlib import Path

import pytest

import oq
from oq.comparison.deviation import Classification, OutputError
from oq.pipeline import Result
from oq.reporting.report import Report
from oq.reporting.search import Searched
from oq.reporting.summary import SCHEMA, Figures, Made, Tally, document, summarize, tally
from tests.damaged import X, damaged

DOCS = Path(oq.__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def made() -> Result:
    return oq.quantize(damaged(), "trt", {"x": X}, refine="bias")


@pytest.fixture(scope="module")
def report(made: Result) -> Report:
    return made.report


def test_figures_are_those_of_the_mode_that_the_target_means(report: Report) -> None:
    found = report.verification
    assert found is not None and found.mode == "literal"
    near, far = (OutputError("y", 0, 0, db, 1, 0) for db in (40.0, 30.0))
    votes = [Classification("y", 8, share, 100.0) for share in (100.0, 87.5)]
    deployed = replace(found.deployed, outputs=(near,), classes=(votes[0],), channels=())
    literal = replace(found.literal, outputs=(far,), classes=(votes[1],), channels=())
    both = replace(found, deployed=deployed, literal=literal)
    said = [summarize(replace(report, verification=replace(both, mode=mode)))
            for mode in ("deployed", "literal")]  # fmt: skip
    assert [(s["sqnr_db"], s["agreement"]) for s in said] == [(40.0, 100.0), (30.0, 87.5)]


def test_what_a_search_found_is_the_verdict(report: Report) -> None:
    searched = Searched(0.2, False, "", 1.0, 2.0, (), 99.0, 99.0, 3, 0, "", "j")
    said = summarize(replace(report, search=searched))
    assert (said["passed"], said["drop"], said["limit"]) == (False, 1.0, 0.2)
    assert said["reason"] == "top-1 fell 1.00 points (limit 0.20)"
    assert "MISSED: top-1 fell 1.00 points, limit 0.20" in str(replace(report, search=searched))


def test_without_verification_there_are_no_figures(report: Report) -> None:
    said = summarize(replace(report, verification=None))
    assert "passed" not in said and said["layers"] == 4


def test_the_ranges_of_the_file_are_named(report: Report) -> None:
    ranges = replace(report.refinement[0], step="ranges", kept=True)
    changed = replace(report, refinement=(ranges,))
    assert (summarize(report)["calibrator"], summarize(changed)["calibrator"]) == ("minmax", "mse")
    assert "; then ranges by mse" in " ".join(str(changed).split())


def test_a_check_is_counted(made: Result) -> None:
    found = tally(oq.judge(made.model))
    assert (found.passed, found.target, found.errors) == (True, "trt", 0)
    assert 0 < found.int8_kernels <= found.kernels


def test_the_summary_comes_first(report: Report) -> None:
    keys = list(document(summarize(report), report))
    assert keys[:2] == ["schema", "summary"]
    assert document(summarize(report), report)["summary"] == summarize(report)  # not the report's


def test_every_key_is_documented() -> None:
    text = (DOCS / "json.md").read_text(encoding="utf-8")
    assert f"`schema` is {SCHEMA}" in text
    for kind in (Figures, Made, Tally):
        for key in dataclasses.fields(kind):
            assert f"| `{key.name}` |" in text, key.name
