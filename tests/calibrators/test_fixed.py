"""Ranges that are known: pixels, and outputs of Softmax and Tanh."""

import pytest

from oq.calibrators.fixed import CALIBRATOR, FixedRange
from oq.numerics.grid import fit
from oq.numerics.statistics import EMPTY, observe
from oq.numerics.values import INT8, UINT8
from tests.small import floats


def test_pixels_get_the_scale_of_a_byte_whatever_was_seen() -> None:
    for seen in (EMPTY, observe(floats(-7.0, 300.0))):
        grid = fit(FixedRange().range(seen, UINT8), UINT8)
        assert float(grid.scale) == pytest.approx(1 / 255)
        assert int(grid.zero_point) == 0


def test_a_symmetric_grid() -> None:
    grid = fit(FixedRange(-1, 1).range(EMPTY, INT8), INT8)
    assert float(grid.scale) == pytest.approx(1 / 127)


@pytest.mark.parametrize(("lo", "hi"), [(0.5, 1.0), (-1.0, -0.5), (0.0, 0.0)])
def test_settings_are_checked(lo: float, hi: float) -> None:
    with pytest.raises(ValueError, match="hold 0 and more than 0"):
        CALIBRATOR(lo=lo, hi=hi)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_bounds_must_be_finite(value: float) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        CALIBRATOR(hi=value)
