"""Which sizes a file is made on and tried at."""

import numpy as np
import pytest

from oq.data.source import open_source
from oq.numerics.values import TensorInfo

torch = pytest.importorskip("torch")
from oq.aten.sizes import example, free_axes, variants  # noqa: E402

INPUTS = (
    TensorInfo("x", "float32", ("n", 3, "h")),
    TensorInfo("m", "float32", ("n", "h")),
)


def test_axes_of_one_name_go_together() -> None:
    axes = free_axes(INPUTS)
    assert axes.groups == {"n": ((0, 0), (1, 0)), "h": ((0, 2), (1, 1))}
    assert axes.of_inputs == [[0, 2], [0, 1]]
    found = [(name, [tuple(t.shape) for t in given]) for name, given in
             variants([torch.zeros(2, 3, 5), torch.zeros(2, 5)], axes)]  # fmt: skip
    assert found == [
        ("n", [(4, 3, 5), (4, 5)]),
        ("n", [(1, 3, 5), (1, 5)]),
        ("h", [(2, 3, 10), (2, 10)]),
    ]


def test_axes_without_a_name_are_each_their_own() -> None:
    axes = free_axes([TensorInfo("x", "float32", (None, 0, 4))])
    assert axes.groups == {"x[0]": ((0, 0),), "x[1]": ((0, 1),)}


def test_no_free_axis_has_size_1() -> None:
    """Torch would take it for one that is always 1."""
    arrays = {"x": np.zeros((1, 3, 1), np.float32), "m": np.zeros((1, 1), np.float32)}
    found = example(open_source(arrays, INPUTS), free_axes(INPUTS))
    assert [tuple(t.shape) for t in found] == [(2, 3, 2), (2, 2)]
