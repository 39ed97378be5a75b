"""Min-max covers what was seen, and nothing more."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from oq.calibrators.minmax import CALIBRATOR, MinMax
from oq.numerics.grid import fake_quantize, fit
from oq.numerics.statistics import EMPTY, observe
from oq.numerics.values import INT8, UINT8, Array, QType
from tests.small import floats


@given(
    arrays.arrays(np.float32, st.integers(1, 30), elements=st.floats(-1e6, 1e6, width=32)),
    st.sampled_from([INT8, UINT8]),
)
def test_range_ends_at_values_that_were_seen_or_zero(x: Array, qtype: QType) -> None:
    found = MinMax().range(observe(x), qtype)
    assert float(found.lo) == min(x.min(), 0.0)
    assert float(found.hi) == max(x.max(), 0.0)
    grid = fit(found, qtype)
    assert np.abs(fake_quantize(x, grid) - x).max() <= 0.501 * grid.scale


def test_no_values_and_only_nonfinite_ones_give_the_range_of_zero() -> None:
    for statistics in (EMPTY, observe(floats(np.nan, np.inf))):
        found = MinMax().range(statistics, UINT8)
        assert float(found.lo) == float(found.hi) == 0.0


def test_it_is_exported_without_settings() -> None:
    assert CALIBRATOR() == MinMax()
