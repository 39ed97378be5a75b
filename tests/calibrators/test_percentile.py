"""Percentiles, against ``numpy.percentile`` on the raw values."""

import numpy as np
import pytest

from oq.calibrators.percentile import CALIBRATOR, Percentile
from oq.numerics.statistics import EMPTY, Need, observe
from oq.numerics.values import INT8, UINT8, Array
from tests import brute
from tests.small import floats

HISTOGRAM = frozenset({Need.HISTOGRAM})
BUCKET = 1 / 128
"""Width of a bucket as a share of its value, at most."""


def between(found: object, x: Array, percent: float) -> bool:
    """Whether ``found`` is the percentile of ``x``: between the neighbours of that rank (tails are
    sparse, and there are as many conventions as libraries), give or take a bucket's width."""
    first = np.percentile(x, percent, method="lower")
    last = np.percentile(x, percent, method="higher")
    ranks = np.sort(x)
    low = ranks[max(np.searchsorted(ranks, first) - 1, 0)]
    high = ranks[min(np.searchsorted(ranks, last, side="right"), x.size - 1)]
    value = float(np.asarray(found))
    return bool(low - abs(low) * BUCKET <= value <= high + abs(high) * BUCKET)


KEPT = (100.0, 99.99, 99.9, 99.0, 90.0)


@pytest.mark.parametrize("kept", KEPT)
@pytest.mark.parametrize("name", brute.DISTRIBUTIONS)
def test_symmetric_grids_keep_that_share_of_the_magnitudes(name: str, kept: float) -> None:
    x = brute.draw(name)
    found = Percentile(kept).range(observe(x, HISTOGRAM), INT8)
    assert between(max(-float(found.lo), float(found.hi)), np.abs(x), kept)
    assert min(x.min(), 0) <= found.lo and found.hi <= max(x.max(), 0)


@pytest.mark.parametrize("kept", KEPT)
@pytest.mark.parametrize("name", brute.DISTRIBUTIONS)
def test_affine_grids_cut_half_of_the_rest_on_each_side(name: str, kept: float) -> None:
    x = brute.draw(name)
    found = Percentile(kept).range(observe(x, HISTOGRAM), UINT8)
    rest = (100 - kept) / 2
    assert found.lo == 0 or between(found.lo, x, rest)
    assert found.hi == 0 or between(found.hi, x, 100 - rest)
    assert found.lo < 0 or np.percentile(x, rest) >= 0
    assert found.hi > 0 or np.percentile(x, 100 - rest) <= 0


def test_each_side_by_itself() -> None:
    x = brute.draw("shifted")
    seen = observe(x, HISTOGRAM)
    found = Percentile(lower=99.0, upper=95.0).range(seen, UINT8)
    assert between(found.lo, x, 1.0) and between(found.hi, x, 95.0)
    one = Percentile(99.9, upper=90.0).range(seen, INT8)
    assert between(one.hi, x, 90.0) and between(one.lo, x, 0.05)


def test_everything_is_minmax() -> None:
    x = brute.draw("student")
    found = Percentile(100).range(observe(x, HISTOGRAM), UINT8)
    assert (float(found.lo), float(found.hi)) == (x.min(), x.max())


def test_a_lone_outlier_is_cut() -> None:
    x = np.append(np.random.default_rng(0).uniform(-1, 1, 100_000), 1e6).astype(np.float32)
    found = Percentile().range(observe(x, HISTOGRAM), INT8)
    assert 0.99 <= float(found.hi) <= 1.01


@pytest.mark.parametrize(
    ("values", "hi"), [([7.25] * 5, 7.25), ([0.0] * 5, 0.0), ([1.0, np.nan, np.inf, -1e9], 1.0)]
)
def test_degenerate_values(values: list[float], hi: float) -> None:
    for qtype in (INT8, UINT8):
        found = Percentile().range(observe(floats(*values), HISTOGRAM), qtype)
        assert (float(found.lo), float(found.hi)) == (0.0, hi)


def test_no_values() -> None:
    assert float(Percentile().range(EMPTY, INT8).hi) == 0.0


@pytest.mark.parametrize("name", ["percentile", "lower", "upper"])
@pytest.mark.parametrize("value", [50.0, 0.9999, 100.1])
def test_settings_are_checked(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{name} is {value}, not in percent in \(50, 100\]"):
        CALIBRATOR(**{name: value})
