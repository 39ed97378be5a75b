"""The proof sees what is wrong on purpose, and lets pass what is one step off."""

from collections.abc import Callable, Iterable

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from oq.deployment.qoperator.convert import convert
from oq.deployment.qoperator.prove import prove
from oq.numerics.values import Array, Batch
from tests.qdq_cases import CASES, LEFT
from tests.small import random_feeds


def samples(model: onnx.ModelProto) -> Callable[[], Iterable[Batch]]:
    return lambda: [Batch(random_feeds(model, seed=seed)) for seed in range(2)]


def change(model: onnx.ModelProto, slot: int, edit: Callable[[Array], Array]) -> None:
    """Edit the constant at ``slot`` of the last integer operator."""
    node = [n for n in model.graph.node if n.op_type.startswith("QLinear")][-1]
    tensor = next(t for t in model.graph.initializer if t.name == node.input[slot])
    values = edit(numpy_helper.to_array(tensor))
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


@pytest.mark.parametrize("name", ["residual", "conv of int8", "matmul", "relu on a symmetric grid"])
def test_what_is_right_passes(name: str) -> None:
    model = CASES[name]().model
    stored, codes, outputs = prove(model, convert(model).model, samples(model))
    assert stored.passed and codes.passed and outputs.passed
    assert "all equal" in stored.figures and "codes of" in codes.what


def other_weight(codes: Array) -> Array:
    changed = codes.copy()
    changed[0, 0, 1, 1] = -changed[0, 0, 1, 1] - 90
    return changed


@pytest.mark.parametrize(
    ("slot", "edit"),
    [
        (4, lambda scale: scale * np.float32(1.1)),
        (8, lambda bias: bias + np.int32(4000)),
        (6, lambda scale: scale * np.float32(0.9)),
    ],
)
def test_one_constant_that_is_wrong_is_seen(slot: int, edit: Callable[[Array], Array]) -> None:
    model = CASES["conv"]().model
    made = convert(model).model
    change(made, slot, edit)
    _, codes, _ = prove(model, made, samples(model))
    assert not codes.passed
    assert "step" in codes.figures and "y_quantized" in codes.figures


def test_a_weight_that_is_wrong_is_seen_where_its_results_are_not() -> None:
    model = CASES["conv"]().model
    made = convert(model).model
    change(made, 3, other_weight)
    stored, codes, _ = prove(model, made, samples(model))
    assert codes.passed and not stored.passed
    assert stored.figures == "'w_codes' differs"


def test_a_step_in_front_does_not_speak_against_what_follows() -> None:
    """Differences grow through layers; each is asked again on the codes of the Q/DQ file."""
    model = CASES["residual"]().model
    made = convert(model).model
    first = next(n for n in made.graph.node if n.op_type == "QLinearConv")
    bias = onnx.helper.make_tensor("b", onnx.TensorProto.INT32, [8], [6] * 8)
    made.graph.initializer.append(bias)
    first.input.append("b")  # close to one step of the output: 6 sums of 0.02 * w_scale
    again = convert(model).model
    change(again, 6, lambda scale: scale * np.float32(2))
    assert "each from those" in prove(model, made, samples(model))[1].what
    assert prove(model, made, samples(model))[1].passed
    assert not prove(model, again, samples(model))[1].passed


def test_outputs_in_float_are_told() -> None:
    model = CASES["matmul to float"]().model
    made = convert(model).model
    change_scale = next(t for t in made.graph.initializer if t.name == "w_scale")
    values = numpy_helper.to_array(change_scale) * np.float32(1.01)
    change_scale.CopyFrom(numpy_helper.from_array(values, "w_scale"))
    found = prove(model, made, samples(model))[-1]
    assert found.what == "outputs" and "differ by 0.0" in found.figures


def test_what_ends_in_codes_is_compared_as_codes() -> None:
    model = LEFT["operands of two types"]()
    _, codes, _ = prove(model, convert(model).model, samples(model))
    assert codes.passed and codes.what == "codes of 3 tensors"
