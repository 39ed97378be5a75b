"""Names of axes of outputs hold, or are left out."""

import numpy as np
import onnx
import pytest

import oq
from oq.model.free_outputs import free_outputs, freed_outputs
from oq.model.proto_fields import read_type
from tests.small import normal, small

FEEDS = {"x": normal(1, 3, 4)}


def net(first: str, second: str, end: str = "Concat <axis = 1> (h, h)") -> onnx.ModelProto:
    """Outputs ``a`` of 3 rows and ``b`` of 6, or of as many as ``end`` makes."""
    text = f"""net (float[n,s,4] x) => (float[n,{first},4] a, float[n,{second},4] b) {{
        h = MatMul(x, w) a = Relu(h) b = {end} }}"""
    return small(text, {"w": normal(4, 4)})


def shapes(model: onnx.ModelProto) -> list[object]:
    return [read_type(value).shape for value in model.graph.output]


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        ("t", "t", [("n", None, 4), ("n", None, 4)]),  # 3 and 6
        ("s", "s", [("n", "s", 4), ("n", "s", 4)]),  # not looked at: an input has it
        ("t", "u", [("n", "t", 4), ("n", "u", 4)]),
    ],
)
def test_a_name_that_stands_for_two_lengths_is_left_out(
    first: str, second: str, wanted: list[object]
) -> None:
    model = net(first, second)
    freed = free_outputs(model, FEEDS)
    assert shapes(freed) == wanted
    assert freed_outputs(model, freed) == ({"a": "t", "b": "t"} if first == second == "t" else {})
    assert shapes(model)[0] == ("n", first, 4)


def test_names_that_hold_stay_and_without_samples_all_do() -> None:
    held = net("t", "t", "Neg(h)")
    assert free_outputs(held, FEEDS) is held
    wrong = net("t", "t")
    assert free_outputs(wrong, None) is wrong
    assert free_outputs(wrong, {"x": np.zeros((1, 3, 5), np.float32)}) is wrong  # it fails


def test_a_quantized_file_does_not_declare_what_does_not_hold() -> None:
    made = oq.quantize(net("t", "t"), "ort", {"x": normal(16, 3, 4)}, refine="none").model
    first, second = (read_type(value).shape or () for value in made.graph.output)
    assert first[1] != second[1] or first[1] is None
