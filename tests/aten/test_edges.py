"""Which differences of codes are of float32 sums, and which are mistakes."""

import numpy as np
import pytest

from oq.model.graph import Graph
from oq.numerics.values import Array
from tests.small import floats, normal, small

pytest.importorskip("torch")
from oq.aten.edges import Grid, grids_of

HALF = Grid("x", (-128, 127), np.asarray(0.5, np.float32), np.asarray(3))


def edges(values: list[float], codes: list[int]) -> list[bool]:
    found: Array = HALF.on_edge(floats(*values), np.asarray(codes))
    return [bool(v) for v in found]


def test_a_value_between_two_codes_is_on_the_edge_where_it_became_the_even_one() -> None:
    """0.25 is half a step: 3 + 0, not 3 + 1; 0.75 is 3 + 2."""
    assert edges([0.25, 0.25, 0.75, -0.25], [3, 4, 5, 3]) == [True, False, True, True]


def test_a_value_beside_the_edge_may_become_the_nearer_code_alone() -> None:
    assert edges([0.2499, 0.2501, 0.2501], [3, 4, 3]) == [True, True, False]


def test_values_far_from_edges_are_on_none() -> None:
    assert not any(edges([0.0, 0.1, 0.4, -3.0, 500.0], [3, 3, 4, -3, 127]))


def test_grids_per_channel_broadcast_and_computed_ones_are_left_out() -> None:
    text = """net (float[2,3,4] x, float s) => (int8[2,3,4] q, int8[2,3,4] r, int8[2,3,4] t) {
        q = QuantizeLinear <axis = 1> (x, many, zeros)
        r = QuantizeLinear(x, s, zero)
        t = QuantizeLinear <axis = -1> (x, four, fours)
    }"""
    constants = {
        "many": floats(0.5, 1, 2), "zeros": np.asarray([0, 1, 2], np.int8),
        "zero": np.asarray(0, np.int8),
        "four": floats(1, 2, 3, 4), "fours": np.zeros(4, np.int8),
    }  # fmt: skip
    found = grids_of(Graph(small(text, constants, opset=21, ir=10)).view())
    assert set(found) == {"q", "t"} and found["q"].data == "x"
    assert found["q"].scale.shape == found["q"].zero.shape == (1, 3, 1)
    assert found["t"].scale.shape == (1, 1, 4)
    assert found["q"].on_edge(normal(2, 3, 4), np.zeros((2, 3, 4))).shape == (2, 3, 4)
