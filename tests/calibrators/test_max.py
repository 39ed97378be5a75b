"""The largest magnitude on both sides."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from oq.calibrators.max import CALIBRATOR, Max
from oq.numerics.grid import fit
from oq.numerics.statistics import EMPTY, observe
from oq.numerics.values import INT8, UINT8, Array
from tests.small import floats


@given(arrays.arrays(np.float32, st.integers(1, 30), elements=st.floats(-1e6, 1e6, width=32)))
def test_both_ends_are_the_largest_magnitude(x: Array) -> None:
    found = Max().range(observe(x), INT8)
    assert float(found.hi) == -float(found.lo) == np.abs(x).max()


def test_an_affine_grid_becomes_symmetric() -> None:
    grid = fit(Max().range(observe(floats(0.0, 2.0)), UINT8), UINT8)
    assert int(grid.zero_point) in (127, 128)  # 127.5 exactly, before float32's say
    assert float(grid.scale) == pytest.approx(4.0 / 255)


@pytest.mark.parametrize("values", [[], [np.nan], [0.0], [-1e9, np.inf]])
def test_nothing_usable(values: list[float]) -> None:
    found = CALIBRATOR().range(observe(floats(*values)) if values else EMPTY, INT8)
    assert float(found.lo) == float(found.hi) == 0.0
