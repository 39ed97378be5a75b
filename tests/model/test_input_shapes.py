"""Shapes of inputs that a user gives: in the model, its plan, its data and its file."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import oq
from oq.errors import DataError, OptionError
from oq.model.input_shapes import common_inputs, with_shapes
from oq.model.proto_fields import inputs_of
from oq.numerics.values import Shape
from tests.small import normal, reference, small

TWO = small(
    """net (float[n,3,h,w] x, float[n,k] s, float[4] f) => (float[n,3,h,w] y) {
        y = Relu(x)
    }"""
)


def shapes_of(model: onnx.ModelProto) -> dict[str, Shape | None]:
    return {info.name: info.shape for info in inputs_of(model)}


def test_named_axes_get_their_size_in_every_input() -> None:
    found = shapes_of(with_shapes(TWO, {"x": (2, 3, None, 8)}))
    assert found == {"x": (2, 3, "h", 8), "s": (2, "k"), "f": (4,)}
    assert shapes_of(TWO)["x"] == ("n", 3, "h", "w"), "the model of the user stays as it is"


def test_sizes_that_differ_are_those_of_the_inputs_they_were_given_for() -> None:
    found = shapes_of(with_shapes(TWO, {"x": (2, 3, 4, 4), "s": (5, 6)}))
    assert found == {"x": (2, 3, 4, 4), "s": (5, 6), "f": (4,)}


def test_nothing_asked_nothing_done() -> None:
    assert with_shapes(TWO, None) is TWO and with_shapes(TWO, {}) is TWO


def test_an_input_of_unknown_rank() -> None:
    model = small("net (float x) => (float y) { y = Relu(x) }")
    model.graph.input[0].type.tensor_type.ClearField("shape")
    assert shapes_of(with_shapes(model, {"x": (1, None)})) == {"x": (1, None)}


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"z": (1,)}, "--shape z: the model has no such input; it has 'x', 's', 'f'"),
        ({"x": (1, 3)}, "--shape x=1x3 has 2 axes; the model's input has 4: nx3xhxw"),
        ({"x": (1, 4, 8, 8)}, "--shape x=1x4x8x8: the model fixes axis 1 at 3, not 4"),
        ({"f": (None,), "s": (0, 1)}, "--shape s=0x1: sizes are 1 or more, or \\? for an axis"),
    ],
)
def test_what_contradicts_the_model_is_refused(shapes: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        with_shapes(TWO, shapes)


def test_both_models_of_a_comparison() -> None:
    fixed = with_shapes(TWO, {"x": (1, 3, None, 8)})
    assert [i.shape for i in common_inputs(TWO, fixed)] == [(1, 3, "h", 8), (1, "k"), (4,)]
    assert [i.shape for i in common_inputs(fixed, TWO)] == [(1, 3, "h", 8), (1, "k"), (4,)]


# ---- through a run

NET = """net (float[n,3,h,w] x) => (float[n,m] y) {
    c = Conv(x, w1) r = Relu(c) s = Shape(r) k = Gather(s, zero) b = Unsqueeze(k, zero)
    to = Concat <axis = 0> (b, rest) f = Reshape(r, to) y = MatMul(f, w2)
}"""
CONSTANTS = {
    "w1": normal(8, 3, 3, 3) / 5,
    "zero": np.array(0),
    "rest": np.array([-1]),
    "w2": normal(8 * 36, 4, seed=1) / 9,
}


def net() -> onnx.ModelProto:
    text, constants = NET, dict(CONSTANTS)
    constants["zero1"] = np.array([0])
    return small(text.replace("Unsqueeze(k, zero)", "Unsqueeze(k, zero1)"), constants)


@pytest.mark.parametrize("target", ["trt", "coreml", "dpu", "ort"])
def test_random_data_the_plan_and_the_file_have_the_shape(target: str) -> None:
    """Axes of one pixel do not fit the window: without the shape there is nothing to run."""
    with pytest.raises(DataError, match="fails on a batch of x float32"):
        oq.quantize(net(), target, "random", samples=4, refine="none")
    result = oq.quantize(
        net(), target, "random", samples=8, refine="none", shape={"x": (2, 3, 8, 8)}
    )
    assert shapes_of(result.model) == {"x": (2, 3, 8, 8)}
    found = result.report.verification
    assert found is not None and found.literal.outputs[0].sqnr_db > 20
    feeds = {"x": normal(2, 3, 8, 8)}
    assert reference(result.model, feeds)["y"].shape == (2, 4)
    assert result.report.options["shape"] == {"x": [2, 3, 8, 8]}
    planned = oq.make_plan(net(), target, shape={"x": (2, 3, 8, 8)})
    assert {s.tensor for s in planned.sites} == {s.tensor for s in result.report.plan.sites}


def test_data_is_checked_against_it() -> None:
    with pytest.raises(DataError, match=r"shape \(1, 3, 9, 8\); the model expects \(n, 3, 8, 8\)"):
        oq.quantize(net(), "ort", {"x": normal(8, 3, 9, 8)}, shape={"x": (None, 3, 8, 8)})


def test_a_fixed_file_is_verified_on_batches_that_it_takes(tmp_path: Path) -> None:
    data = {"x": normal(12, 3, 8, 8)}
    result = oq.quantize(net(), "ort", data, refine="none", shape={"x": (1, 3, 8, 8)})
    assert oq.verify(net(), result.model, data, latency=False).samples == 12
