"""The factors that AMD's sources print, and the search against one by hand."""

import math

import pytest

from oq.dpu.mean_factors import mean_factors, mean_gain


@pytest.mark.parametrize(
    ("side", "factors", "gain"),
    [
        (3, (7, 6), 0.984375),
        (5, (10, 8), 0.9765625),
        (6, (7, 8), 0.984375),
        (7, (21, 10), 1.0048828125),
        (14, (21, 12), 1.0048828125),
    ],
)
def test_windows_the_hardware_knows_by_heart(
    side: int, factors: tuple[int, int], gain: float
) -> None:
    assert mean_factors(side * side) == factors
    assert mean_gain(side * side) == gain


@pytest.mark.parametrize("side", [1, 2, 4, 8, 16])
def test_powers_of_two_are_exact(side: int) -> None:
    assert mean_gain(side * side) == 1.0
    assert mean_factors(side * side) == (1, 2 * int(math.log2(side)))


def test_the_others_are_searched() -> None:
    # 2**12 / 100 = 40.96 -> 41; 2**14 / 144 = 113.8 -> 114 -> 57 / 2**13
    assert mean_factors(100) == (41, 12) and mean_gain(100) == pytest.approx(1.000977, abs=1e-6)
    assert mean_factors(144) == (57, 13) and mean_gain(144) == pytest.approx(1.001953, abs=1e-6)


@pytest.mark.parametrize("count", [2, 12, 18, 63, 121, 400, 512])
def test_no_admitted_shift_is_better(count: int) -> None:
    n, m = mean_factors(count)
    last = math.ceil(math.log2(128 * count)) - 1
    assert 0 <= m <= last
    errors = [abs(round(2**i / count) / 2**i - 1 / count) for i in range(last + 1)]
    assert abs(n / 2**m - 1 / count) == min(errors) and errors.index(min(errors)) == m
