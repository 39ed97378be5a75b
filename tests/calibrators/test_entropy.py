"""The KL threshold, against the textbook's loops on the raw values."""

import numpy as np
import pytest

from oq.calibrators.entropy import CALIBRATOR, Entropy, best_threshold, divergence, in_equal_bins
from oq.numerics.histogram import to_histogram
from oq.numerics.statistics import EMPTY, Need, observe
from oq.numerics.values import INT8, UINT8, Array
from tests import brute
from tests.small import floats

HISTOGRAM = frozenset({Need.HISTOGRAM})


def textbook_divergence(counts: list[float], kept: int, levels: int) -> float:
    """Migacz 2017, slide 38, line by line; levels of ``kept / levels`` bins."""
    p = counts[:kept]
    p[-1] += sum(counts[kept:])
    q = [0.0] * kept
    for level in range(levels):
        bins = [i for i in range(kept) if i * levels // kept == level]
        occupied = [i for i in bins if counts[i] > 0]
        for i in occupied:
            q[i] = sum(counts[j] for j in bins) / len(occupied)
    found = 0.0
    for a, b in zip(p, q, strict=True):
        if a > 0:
            if b == 0 or sum(q) == 0:
                return float("inf")
            found += a / sum(p) * np.log(a / sum(p) * sum(q) / b)
    return float(found)


def textbook_threshold(x: Array, levels: int, bins: int, stride: int) -> float:
    """Over thresholds in ``levels, levels + stride, ... bins`` bins."""
    reach = float(np.abs(x).max())
    counts = np.histogram(np.abs(x), bins, (0, reach))[0].astype(float).tolist()
    counts[0] = counts[1]
    kept = min(
        [*range(levels, bins, stride), bins],
        key=lambda n: textbook_divergence(list(counts), n, levels),
    )
    return float(kept * reach / bins)


@pytest.mark.parametrize("seed", range(5))
def test_divergence_is_the_textbooks(seed: int) -> None:
    random = np.random.default_rng(seed)
    counts = random.poisson(random.exponential(3, 40)).astype(float)
    for kept in (16, 17, 30, 40):
        expected = textbook_divergence(counts.tolist(), kept, 16)
        found = divergence(counts, kept, 16, counts.sum())
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)
    every = [textbook_divergence(counts.tolist(), n, 16) for n in range(16, 41)]
    assert best_threshold(counts, 16) == 16 + int(np.argmin(every))


def many(name: str) -> Array:
    """So many values that the divergence is a smooth curve: with few it is all noise."""
    random = np.random.default_rng(0)
    normal = random.standard_normal(4_000_000, np.float32)
    exponential = random.standard_exponential(4_000_000, np.float32)
    return {
        "gaussian": normal,
        "relu": np.maximum(normal, 0),
        "exponential": exponential,
        "laplace": exponential * np.sign(normal),
        "negative": -exponential * 1e-3,
    }[name].astype(np.float32)


@pytest.mark.parametrize("name", ["gaussian", "relu", "exponential", "laplace", "negative"])
def test_threshold_is_that_of_the_raw_values(name: str) -> None:
    """Within 5 % of the textbook's on 512 bins of the values themselves, 64 levels."""
    x = many(name)
    found = Entropy(bins=512, levels=64, stride=4).range(observe(x, HISTOGRAM), INT8)
    expected = textbook_threshold(x, 64, 512, 4)
    assert max(-float(found.lo), float(found.hi)) == pytest.approx(expected, rel=0.05)


def test_long_tails_are_cut_and_short_ones_are_not() -> None:
    heavy, flat = brute.draw("student"), brute.draw("uniform")
    assert Entropy().range(observe(heavy, HISTOGRAM), INT8).hi < 0.5 * np.abs(heavy).max()
    assert Entropy().range(observe(flat, HISTOGRAM), INT8).hi > 0.95


def test_both_signs_count_alike() -> None:
    """The bins of x and -x together are twice those of |x|."""
    x = np.abs(brute.draw("gaussian"))
    reach = float(x.max())
    one = in_equal_bins(to_histogram(observe(x, HISTOGRAM)), 2048, reach)
    both = in_equal_bins(to_histogram(observe(np.concatenate([x, -x]), HISTOGRAM)), 2048, reach)
    np.testing.assert_allclose(both, 2 * one, rtol=1e-6, atol=1e-6)
    assert both.sum() == pytest.approx(2 * x.size)


@pytest.mark.parametrize("name", ["gaussian", "shifted", "relu6", "uniform", "laplace"])
def test_equal_bins_are_a_histogram(name: str) -> None:
    """64 bins, each several buckets wide or cut across one: within 1 % of all values."""
    x = brute.draw(name)
    reach = float(np.abs(x).max())
    found = in_equal_bins(to_histogram(observe(x, HISTOGRAM)), 64, reach)
    expected = np.histogram(np.abs(x), 64, (0, reach))[0]
    np.testing.assert_allclose(found, expected, atol=0.01 * x.size)
    assert found.sum() == pytest.approx(x.size)
    assert np.abs(found - expected).sum() < 0.03 * x.size


def test_the_zeros_of_a_relu_do_not_matter() -> None:
    x = brute.draw("relu")
    more = np.concatenate([x, np.zeros(10 * x.size, np.float32)])
    first, second = (Entropy().range(observe(v, HISTOGRAM), UINT8) for v in (x, more))
    assert float(first.hi) == float(second.hi)
    assert float(first.lo) == 0.0


def test_levels_default_to_the_grids_own() -> None:
    x = observe(brute.draw("relu"), HISTOGRAM)
    assert float(Entropy().range(x, INT8).hi) == float(Entropy(levels=128).range(x, INT8).hi)
    assert float(Entropy().range(x, UINT8).hi) == float(Entropy(levels=256).range(x, UINT8).hi)
    two_sided = observe(brute.draw("laplace"), HISTOGRAM)
    assert float(Entropy().range(two_sided, UINT8).hi) == float(
        Entropy(levels=128).range(two_sided, UINT8).hi
    )


@pytest.mark.parametrize(
    ("values", "lo", "hi"),
    [
        ([5.0] * 9, 0.0, 5.0),
        ([-5.0], -5.0, 0.0),
        ([0.0, 0.0], 0.0, 0.0),
        ([1.0, np.nan, np.inf, -1e9], 0.0, 1.0),
    ],
)
def test_degenerate_values(values: list[float], lo: float, hi: float) -> None:
    found = Entropy().range(observe(floats(*values), HISTOGRAM), INT8)
    assert (float(found.lo), float(found.hi)) == (lo, hi)


def test_no_values() -> None:
    assert float(Entropy().range(EMPTY, INT8).hi) == 0.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bins": 100}, "bins must be 256 or more"),
        ({"stride": 0}, "stride 1 or more"),
        ({"levels": 4096}, r"levels \(4096\) must be fewer than bins \(2048\)"),
    ],
)
def test_settings_are_checked(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CALIBRATOR(**settings)
