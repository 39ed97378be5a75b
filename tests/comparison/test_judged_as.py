"""Whose word counts: an engine's, a target's, or the file's own."""

import pytest

from oq.comparison.judged_as import JudgedAs, as_target, judged_as
from oq.engines import engine
from oq.errors import OptionError
from oq.planning import registry
from oq.reporting.notes import engine_note


@pytest.mark.parametrize(
    ("named", "target", "own", "found"),
    [
        (None, None, None, JudgedAs("onnxruntime", "deployed", "", "")),
        (None, None, "dpu", JudgedAs("dpu", "deployed", "dpu", "dpu")),
        (None, None, "trt", JudgedAs("onnxruntime", "literal", "trt", "trt")),
        (None, "ort", "trt", JudgedAs("onnxruntime", "deployed", "ort", "trt")),
        ("openvino", None, "trt", JudgedAs("openvino", "deployed", "", "trt")),
        ("openvino", "trt", "ort", JudgedAs("openvino", "deployed", "trt", "ort")),
    ],
)
def test_as_what_a_file_is_judged(
    named: str | None, target: str | None, own: str | None, found: JudgedAs
) -> None:
    assert judged_as(named, target, own) == found


def test_a_target_that_is_none() -> None:
    with pytest.raises(OptionError, match=r"^no target 'tensorrt'"):
        judged_as(None, "tensorrt", "ort")


def test_a_target_whose_engine_is_missing_is_judged_by_its_nodes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = registry.target("openvino")
    monkeypatch.setattr(engine, "find_spec", lambda name: object())
    assert as_target(target) == JudgedAs("openvino", "deployed", "openvino", "openvino")
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    assert as_target(target) == JudgedAs("onnxruntime", "literal", "openvino", "openvino")
    (note,) = engine_note(target)
    assert note.startswith("openvino is not installed (pip install openvino): ")
    assert engine_note(registry.target("ort")) == ()
