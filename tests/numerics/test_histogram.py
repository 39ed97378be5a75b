"""Errors integrated over a histogram, against the same errors summed over the values."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from oq.numerics.grid import Grid, fit
from oq.numerics.histogram import (
    Histogram,
    magnitudes,
    merge_small_buckets,
    quantization_error,
    to_histogram,
)
from oq.numerics.statistics import EMPTY, Need, observe
from oq.numerics.values import INT8, INT8_AFFINE, INT8_NARROW, UINT8, Array, QType, Range
from tests import brute
from tests.small import floats

INT4 = QType("int8", -7, 7, symmetric=True)
QTYPES = (UINT8, INT8, INT8_AFFINE, INT8_NARROW, INT4)
histogram = partial(observe, needs=frozenset({Need.HISTOGRAM}))


def grid_of(values: Array, qtype: QType, share: float) -> Grid:
    lo, hi = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    return fit(Range(np.asarray(lo * share), np.asarray(hi * share)), qtype)


@pytest.mark.parametrize("share", [1.0, 0.6, 0.2])
@pytest.mark.parametrize("qtype", QTYPES, ids=lambda q: f"{q}{q.qmin}")
@pytest.mark.parametrize("name", brute.DISTRIBUTIONS)
def test_errors_are_those_of_the_values(name: str, qtype: QType, share: float) -> None:
    """Within 2 % of the mean square (a bucket is at most 1/128 wide), and within 2 % of its root
    for the mean; exact values (0, 6, constants) leave less than a 1e-9th of a step."""
    values = brute.draw(name)
    grid = grid_of(values, qtype, share)
    errors = brute.error(values, float(grid.scale), int(grid.zero_point), qtype)
    found = quantization_error(to_histogram(histogram(values)), grid)
    floor = (1e-9 * float(grid.scale)) ** 2
    assert found.square == pytest.approx((errors**2).mean(), rel=0.02, abs=floor)
    assert found.mean == pytest.approx(
        errors.mean(), abs=0.02 * errors.std() + 1e-9 * grid.scale + 0.001 * abs(errors.mean())
    )
    assert found.variance == pytest.approx(errors.var(), rel=0.02, abs=1e-3 * found.square + floor)


def test_uniform_data_has_the_textbook_error() -> None:
    """step^2 / 12 and no mean, when nothing is clipped."""
    low = np.arange(-64.0, 64.0)
    values = Histogram(low, low + 1, np.ones(128))
    found = quantization_error(
        values, Grid(INT8, np.asarray(4.0, np.float32), np.asarray(0, np.int8))
    )
    assert found.square == pytest.approx(4.0**2 / 12)
    assert found.mean == pytest.approx(0, abs=1e-12)


def test_no_values_have_no_error() -> None:
    grid = fit(Range(np.asarray(-1.0), np.asarray(1.0)), INT8)
    nothing = Histogram(np.zeros(0), np.zeros(0), np.zeros(0))
    assert quantization_error(nothing, grid).square == 0.0
    assert quantization_error(merge_small_buckets(nothing, 0.1), grid).square == 0.0
    with pytest.raises(ValueError, match="without a histogram"):
        to_histogram(EMPTY)


@given(arrays.arrays(np.float32, st.integers(1, 40), elements=st.floats(-1e6, 1e6, width=32)))
def test_buckets_hold_all_values_in_order_and_end_at_the_extremes(values: Array) -> None:
    found = to_histogram(histogram(values))
    assert found.counts.sum() == values.size and (found.counts > 0).all()
    assert (found.low <= found.high).all()
    assert (np.diff(found.low) >= 0).all() and (found.low[1:] >= found.high[:-1]).all()
    # up to a denormal that shares its bucket with zero
    assert found.low[0] == pytest.approx(values.min(), abs=1e-40)
    assert found.high[-1] == pytest.approx(values.max(), abs=1e-40)


def test_a_pile_at_an_end_is_a_bucket_of_no_width() -> None:
    values = np.concatenate([np.full(900, 6.0), np.linspace(0, 5.9, 100)]).astype(np.float32)
    found = to_histogram(histogram(values))
    assert (found.low[-1], found.high[-1], found.counts[-1]) == (6.0, 6.0, 900)


@pytest.mark.parametrize("name", brute.DISTRIBUTIONS)
def test_coarsening_keeps_counts_and_nearly_keeps_errors(name: str) -> None:
    values = brute.draw(name)
    fine = to_histogram(histogram(values))
    reach = float(np.abs(values).max())
    joined = merge_small_buckets(fine, reach * 2.0**-12)
    assert joined.counts.sum() == fine.counts.sum()
    assert len(joined.counts) <= len(fine.counts)
    assert joined.low.min() == fine.low.min() and joined.high.max() == fine.high.max()
    assert (
        (np.abs(joined.low) >= reach * 2.0**-12) | (np.abs(joined.high) >= reach * 2.0**-12)
    ).sum() >= len(joined.counts) - 2
    for qtype in (UINT8, INT8):
        grid = grid_of(values, qtype, 1.0)
        before, after = quantization_error(fine, grid), quantization_error(joined, grid)
        assert after.square == pytest.approx(
            before.square, rel=0.02, abs=1e-3 * float(grid.scale) ** 2
        )


def test_magnitudes_fold_the_negative_side() -> None:
    found = magnitudes(
        Histogram(
            np.asarray([-4.0, -1.0, 0.5]), np.asarray([-2.0, 0.0, 3.0]), np.asarray([1.0, 2.0, 3.0])
        )
    )
    assert found.low.tolist() == [0.0, 0.5, 2.0]
    assert found.high.tolist() == [1.0, 3.0, 4.0]
    assert found.counts.tolist() == [2.0, 3.0, 1.0]


@given(arrays.arrays(np.float32, st.integers(1, 40), elements=st.floats(-1e6, 1e6, width=32)))
def test_magnitudes_are_the_tally_of_absolute_values(values: Array) -> None:
    found, expected = (
        magnitudes(to_histogram(histogram(values))),
        to_histogram(histogram(np.abs(values))),
    )
    assert found.low.min() >= 0 and found.high.max() == expected.high[-1]
    assert by_bucket(found) == by_bucket(expected)


def test_a_subnormal_below_zero_lies_in_its_bucket() -> None:
    """-1e-45 shares the bucket of 0, as -0 does; the bucket reaches down to it."""
    found = to_histogram(histogram(np.array([-1e-45, 0.0], np.float32)))
    assert found.low[0] == np.float32(-1e-45) and found.high[0] == 0.0
    assert magnitudes(found).high.max() == np.float32(1e-45)


def by_bucket(values: Histogram) -> dict[int, float]:
    """Counts by the top 16 bits of each bucket's middle."""
    counts: dict[int, float] = {}
    middle = np.abs((values.low + values.high) / 2).astype(np.float32)
    for bits, count in zip(middle.view(np.uint32) >> 16, values.counts, strict=True):
        counts[int(bits)] = counts.get(int(bits), 0.0) + count
    return counts


def test_one_value_is_exact() -> None:
    grid = fit(Range(np.asarray(0.0), np.asarray(10.0)), UINT8)
    values = floats(3.3)
    found = quantization_error(to_histogram(histogram(values)), grid)
    expected = brute.error(values, float(grid.scale), int(grid.zero_point), UINT8)
    assert found.mean == pytest.approx(expected[0])
    assert found.variance == pytest.approx(0, abs=1e-15)
