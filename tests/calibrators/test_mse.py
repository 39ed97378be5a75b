"""The clip of least squared error: the literature's numbers, and a search over the values."""

from math import erf, exp, pi, sqrt
from typing import Any

import numpy as np
import pytest

from oq.calibrators.mse import CALIBRATOR, Mse
from oq.numerics.statistics import EMPTY, Need, observe
from oq.numerics.values import INT8, INT8_AFFINE, INT8_NARROW, UINT8, QType
from tests import brute
from tests.small import floats

HISTOGRAM = frozenset({Need.HISTOGRAM})
INT4 = QType("int8", -7, 7, symmetric=True)
SIXTEEN = QType("uint8", 0, 15, symmetric=False)


def gaussian_error(clip: float, top: int) -> float:
    """E[(x - quantized(x))^2] of a standard normal on codes -top..top, cell by cell, from the
    integrals of the density (no sampling)."""
    step = clip / top

    def below(u: float) -> float:
        return 0.5 * (1 + erf(u / sqrt(2)))

    def density(u: float) -> float:
        return exp(-u * u / 2) / sqrt(2 * pi) if np.isfinite(u) else 0.0

    total = 0.0
    for code in range(-top, top + 1):
        a = -np.inf if code == -top else (code - 0.5) * step
        b = np.inf if code == top else (code + 0.5) * step
        point = code * step
        mass = below(b) - below(a)
        first = density(a) - density(b)
        edge_a = 0.0 if np.isinf(a) else a * density(a)
        edge_b = 0.0 if np.isinf(b) else b * density(b)
        total += mass + edge_a - edge_b - 2 * point * first + point**2 * mass
    return total


def best_gaussian_clip(top: int) -> float:
    clips = np.linspace(1.5, 5.5, 801)
    return float(clips[np.argmin([gaussian_error(float(c), top) for c in clips])])


def test_the_reference_agrees_with_the_literature() -> None:
    """ACIQ (Banner et al. 2019, section 3): 3.92 sigma at 8 bits, 2.55 at 4, for 2^M levels and a
    uniform noise model; the exact optimum of a grid with a code at 0 lies close by."""
    assert best_gaussian_clip(127) == pytest.approx(3.92, abs=0.15)
    assert best_gaussian_clip(7) == pytest.approx(2.55, abs=0.15)


@pytest.mark.parametrize(("qtype", "top"), [(INT8, 127), (INT8_NARROW, 127), (INT4, 7)])
@pytest.mark.parametrize("sigma", [1.0, 1e-3])
def test_a_gaussians_optimal_clip(qtype: QType, top: int, sigma: float) -> None:
    """Within 4 % of the optimum of the density, and with an error within 0.5 % of the least (the
    curve is flat there)."""
    x = (np.random.default_rng(1).standard_normal(4_000_000, np.float32) * sigma).astype(np.float32)
    clip = float(Mse().range(observe(x, HISTOGRAM), qtype).hi) / sigma
    best = best_gaussian_clip(top)
    assert clip == pytest.approx(best, rel=0.04)
    assert gaussian_error(clip, top) == pytest.approx(gaussian_error(best, top), rel=0.005)


@pytest.mark.parametrize("qtype", [INT8, UINT8, INT8_AFFINE, INT4, SIXTEEN], ids=str)
@pytest.mark.parametrize("name", brute.DISTRIBUTIONS)
def test_the_error_is_the_least_of_many(name: str, qtype: QType) -> None:
    """Against every share of the full range (100 of them), on the values themselves: 2 %."""
    x = brute.draw(name)
    lo, hi = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    found = Mse().range(observe(x, HISTOGRAM), qtype)
    assert lo <= found.lo <= 0 <= found.hi <= hi
    error = brute.square_of(x, float(found.lo), float(found.hi), qtype)
    reach = max(-lo, hi)
    for share in np.linspace(1.0, 0.1, 100):
        ends = (-share * reach, share * reach) if qtype.symmetric else (share * lo, share * hi)
        assert error <= 1.02 * brute.square_of(x, *ends, qtype) + 1e-12 * reach**2


def test_an_affine_grid_moves_each_end_alone() -> None:
    """One long tail, one short: only the long one is cut."""
    random = np.random.default_rng(0)
    x = np.concatenate([random.uniform(-1, 0, 50_000), random.exponential(0.3, 50_000)])
    x = x.astype(np.float32)
    found = Mse().range(observe(x, HISTOGRAM), SIXTEEN)
    assert float(found.lo) < -0.9
    assert float(found.hi) < 0.6 * x.max()


def test_mostly_zeros_with_a_long_tail() -> None:
    """A ReLU that is nearly always off: its zeros are exact on any grid and hold no clip wide."""
    random = np.random.default_rng(0)
    tail = random.lognormal(0, 1.5, 20_000)
    x = np.concatenate([np.zeros(400_000), tail]).astype(np.float32)
    for qtype in (UINT8, INT8):
        found = Mse().range(observe(x, HISTOGRAM), qtype)
        error = brute.square_of(x, 0.0, float(found.hi), qtype)
        best = min(
            brute.square_of(x, 0.0, float(s) * float(x.max()), qtype)
            for s in np.linspace(0.1, 1.0, 60)
        )
        assert error <= 1.02 * best


@pytest.mark.parametrize(
    ("values", "lo", "hi"),
    [
        ([3.7] * 20, 0.0, 3.7),
        ([-2.0], -2.0, 0.0),
        ([0.0], 0.0, 0.0),
        ([1.0, np.nan, np.inf, -1e9], 0.0, 1.0),
        ([np.nan], 0.0, 0.0),
    ],
)
@pytest.mark.parametrize("qtype", [INT8, UINT8], ids=str)
def test_degenerate_values(values: list[float], lo: float, hi: float, qtype: QType) -> None:
    found = Mse().range(observe(floats(*values), HISTOGRAM), qtype)
    assert [float(found.lo), float(found.hi)] == pytest.approx([lo, hi])


def test_no_values() -> None:
    assert float(Mse().range(EMPTY, INT8).hi) == 0.0


@pytest.mark.parametrize("settings", [{"steps": 1}, {"smallest": 0.0}, {"smallest": 1.0}])
def test_settings_are_checked(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"steps must be 2 or more and smallest in \(0, 1\)"):
        CALIBRATOR(**settings)
