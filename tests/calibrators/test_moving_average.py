"""The moving average, against a plain loop over the batches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from oq.calibrators.moving_average import CALIBRATOR, MovingAverage
from oq.numerics.statistics import EMPTY, Accumulator, Need, observe
from oq.numerics.values import INT8, UINT8, Array
from tests.small import floats

BATCHES = frozenset({Need.BATCHES})
BATCH = arrays.arrays(np.float32, st.integers(1, 6), elements=st.floats(-100, 100, width=32))


@given(st.lists(BATCH, min_size=1, max_size=8), st.floats(0.001, 1.0), st.data())
def test_it_is_the_loop_whatever_order_the_workers_took(
    batches: list[Array], weight: float, data: st.DataObject
) -> None:
    lo, hi = float(batches[0].min()), float(batches[0].max())
    for batch in batches[1:]:
        lo = (1 - weight) * lo + weight * float(batch.min())
        hi = (1 - weight) * hi + weight * float(batch.max())
    accumulator = Accumulator(BATCHES)
    for i in data.draw(st.permutations(range(len(batches)))):
        accumulator.add(batches[i], 10 * i)
    found = MovingAverage(weight).range(accumulator.statistics(), UINT8)
    assert float(found.lo) == pytest.approx(min(lo, 0.0), rel=1e-9, abs=1e-9)
    assert float(found.hi) == pytest.approx(max(hi, 0.0), rel=1e-9, abs=1e-9)


def test_one_odd_batch_moves_it_a_little() -> None:
    accumulator = Accumulator(BATCHES)
    for i, top in enumerate([1.0, 1.0, 101.0]):
        accumulator.add(floats(-1.0, top), i)
    found = MovingAverage().range(accumulator.statistics(), INT8)
    assert [float(found.lo), float(found.hi)] == pytest.approx([-1.0, 2.0])


def test_a_constant_of_one_keeps_the_last_batch() -> None:
    accumulator = Accumulator(BATCHES)
    for i, top in enumerate([5.0, 1.0, 3.0]):
        accumulator.add(floats(top), i)
    assert float(MovingAverage(1.0).range(accumulator.statistics(), INT8).hi) == 3.0


def test_masks_and_batches_of_nothing_usable_are_passed_over() -> None:
    accumulator = Accumulator(BATCHES)
    accumulator.add(floats(np.nan, -1e9), 0)
    accumulator.add(floats(4.0, -1e9, np.inf), 1)
    found = MovingAverage().range(accumulator.statistics(), INT8)
    assert (float(found.lo), float(found.hi)) == (0.0, 4.0)


def test_without_batches_it_is_minmax() -> None:
    assert float(MovingAverage().range(observe(floats(-1.0, 2.0)), INT8).hi) == 2.0
    assert float(MovingAverage().range(EMPTY, INT8).hi) == 0.0


@pytest.mark.parametrize("value", [0.0, -0.1, 1.5])
def test_settings_are_checked(value: float) -> None:
    with pytest.raises(ValueError, match=rf"averaging_constant is {value}, not in \(0, 1\]"):
        CALIBRATOR(averaging_constant=value)
