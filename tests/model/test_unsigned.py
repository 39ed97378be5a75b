"""int8 pairs as uint8 ones: no value changes."""

import numpy as np
import pytest

from oq.model.graph import Graph
from oq.model.unsigned import make_unsigned
from tests.qdq_cases import CASES, Pairs, conv
from tests.small import random_feeds, reference


@pytest.mark.parametrize(
    "name", ["conv of int8", "add of an int8 constant", "average, padded, int8"]
)
def test_no_value_changes(name: str) -> None:
    model = CASES[name]().model
    graph = Graph(model)
    assert make_unsigned(graph) >= 2
    made, feeds = graph.to_model(), random_feeds(model)
    weights = {t.name: t for t in model.graph.initializer if t.name == "w_codes"}
    left = {t.name: t for t in made.graph.initializer if t.name == "w_codes"}
    assert left == ({} if "constant" in name else weights)
    wanted, found = reference(model, feeds), reference(made, feeds)
    for output, values in found.items():
        np.testing.assert_array_equal(values, wanted[output])


def test_codes_that_others_read_stay_int8() -> None:
    p = Pairs("int8", 3)
    model = p.model(p.pair(conv(p, (5, 5)), "y"))
    model.graph.output.add(name="y_quantized").type.tensor_type.elem_type = 3
    graph = Graph(model)
    assert make_unsigned(graph) == 1
    assert graph.view().tensors["y_quantized"].dtype == "int8"
    found = reference(graph.to_model(), random_feeds(model))
    assert found["y_quantized"].dtype == np.int8


def test_uint8_is_left_alone() -> None:
    assert make_unsigned(Graph(CASES["residual"]().model)) == 0
