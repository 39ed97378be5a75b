"""The best of the others, under a score computed on the values themselves."""

import numpy as np
import pytest

from oq.calibrators.auto import CALIBRATOR, CANDIDATES, Auto
from oq.calibrators.minmax import MinMax
from oq.numerics.calibrator import ErrorGains
from oq.numerics.statistics import EMPTY, Need, observe
from oq.numerics.values import INT8, UINT8, Array, QType, Range
from tests import brute
from tests.small import floats

HISTOGRAM = frozenset({Need.HISTOGRAM})
INT4 = QType("int8", -7, 7, symmetric=True)


def score(x: Array, found: Range, qtype: QType, readers: ErrorGains) -> float:
    if found.lo == found.hi:
        return 0.0
    errors = brute.error(x, *brute.numbers(float(found.lo), float(found.hi), qtype), qtype)
    return readers.noise * float(errors.var()) + readers.bias * float(errors.mean()) ** 2


@pytest.mark.parametrize(
    "readers", [ErrorGains(), ErrorGains(1.0, 0.0), ErrorGains(0.01, 100.0)], ids=str
)
@pytest.mark.parametrize("qtype", [INT8, UINT8, INT4], ids=lambda q: f"{q}{q.qmax}")
@pytest.mark.parametrize("name", brute.DISTRIBUTIONS)
def test_no_candidate_scores_better(name: str, qtype: QType, readers: ErrorGains) -> None:
    """Within 3 %, and a hundredth of a step in the mean: it sees buckets, the reference values."""
    x = brute.draw(name)
    seen = observe(x, HISTOGRAM)
    found = Auto().range(seen, qtype, readers)
    mine = score(x, found, qtype, readers)
    step = float(found.hi - found.lo) / (qtype.qmax - qtype.qmin)
    for candidate in CANDIDATES:
        theirs = score(x, candidate.range(seen, qtype, readers), qtype, readers)
        assert mine <= 1.03 * theirs + (readers.noise + readers.bias) * (0.01 * step) ** 2


def test_readers_decide_between_clipping_and_covering() -> None:
    """Rare values on one side: to clip them shifts the mean, to cover them costs noise."""
    x = np.random.default_rng(0).uniform(-1, 1, 200_000).astype(np.float32)
    x[:100] = 10.0
    seen = observe(x, HISTOGRAM)
    forgiving = Auto().range(seen, INT4, ErrorGains(noise=1.0, bias=0.0))
    strict = Auto().range(seen, INT4, ErrorGains(noise=1.0, bias=1e6))
    assert float(forgiving.hi) < 3.0
    assert float(strict.hi) == 10.0


def test_nothing_clips_when_clipping_buys_nothing() -> None:
    x = floats(*([0.0] * 50 + [6.0] * 50))
    found = Auto().range(observe(x, HISTOGRAM), UINT8)
    assert float(found.hi) == float(MinMax().range(observe(x), UINT8).hi) == 6.0


@pytest.mark.parametrize("values", [[], [np.nan, np.inf], [-1e9]])
def test_nothing_usable(values: list[float]) -> None:
    seen = observe(floats(*values), HISTOGRAM) if values else EMPTY
    assert float(CALIBRATOR().range(seen, INT8).hi) == 0.0
