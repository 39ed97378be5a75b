"""Statistics to a range that holds zero."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oq.numerics.calibrator import covering

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("lo", "hi", "range_"),
    [
        (-1.0, 2.0, (-1.0, 2.0)),
        (0.5, 2.0, (0.0, 2.0)),
        (-3.0, -1.0, (-3.0, 0.0)),
        (np.inf, -np.inf, (0.0, 0.0)),
    ],
)
def test_covering_by_hand(lo: float, hi: float, range_: tuple[float, float]) -> None:
    found = covering(lo, hi)
    assert (float(found.lo), float(found.hi)) == range_


@given(FINITE, FINITE)
def test_covering_is_the_smallest_interval_with_both_and_zero(first: float, second: float) -> None:
    lo, hi = min(first, second), max(first, second)
    found = covering(lo, hi)
    assert {float(found.lo), float(found.hi)} <= {lo, hi, 0.0}
    assert found.lo <= lo <= hi <= found.hi
    assert found.lo.shape == found.hi.shape == ()
