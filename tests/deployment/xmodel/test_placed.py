"""Layouts: where values lie after Reshape and Transpose, against NumPy's own."""

import itertools

import numpy as np
import pytest

from oq.deployment.xmodel.placed import (
    Placed,
    dims_in,
    flattened,
    gathered,
    reshaped,
    turned,
)

BEFORE = (1, 6, 4, 5)
AFTER = (
    (1, 6, 20),
    (1, 2, 3, 4, 5),
    (1, 120),
    (24, 5),
    (1, 6, 1, 2, 2, 5),
    (6, 4, 5, 1),
    (1, 1, 6, 4, 5, 1),
)


@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("layout", list(itertools.permutations(range(4))))
def test_a_reshape_leaves_values_where_they_lie(
    layout: tuple[int, ...], after: tuple[int, ...]
) -> None:
    values = np.arange(120).reshape(BEFORE)
    found = reshaped(BEFORE, layout, after)
    near = gathered(BEFORE, layout, after)
    whole = reshaped(BEFORE, near, after)
    assert sorted(near) == [0, 1, 2, 3] and whole is not None
    for lying, made in ((layout, found), (near, whole)):
        if made is not None:
            there = values.transpose(lying).reshape(dims_in(after, made))
            np.testing.assert_array_equal(there, values.reshape(after).transpose(made))


def test_a_transpose_moves_nothing() -> None:
    values, layout, perm = np.arange(120).reshape(BEFORE), (0, 2, 3, 1), (3, 0, 2, 1)
    behind = values.transpose(perm)
    np.testing.assert_array_equal(behind.transpose(turned(layout, perm)), values.transpose(layout))


def test_features_of_a_flattened_image() -> None:
    values = np.arange(120).reshape(BEFORE)
    placed = Placed("op", dims_in(BEFORE, (0, 2, 3, 1)), (0, 2, 3, 1))
    assert placed.shape == BEFORE
    np.testing.assert_array_equal(flattened(placed), values.transpose(0, 2, 3, 1).ravel())
