"""Whose word counts: an engine's, a target's, or the file's own."""

import pytest

from oq.comparison.judged_as import JudgedAs, judged_as
from oq.errors import OptionError


@pytest.mark.parametrize(
    ("engine", "target", "own", "found"),
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
    engine: str | None, target: str | None, own: str | None, found: JudgedAs
) -> None:
    assert judged_as(engine, target, own) == found


def test_a_target_that_is_none() -> None:
    with pytest.raises(OptionError, match=r"^no target 'tensorrt'"):
        judged_as(None, "tensorrt", "ort")
