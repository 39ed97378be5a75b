"""Every file in ``calibrators/`` obeys the contract, the day it appears."""

import dataclasses
import inspect
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import oq.calibrators
from oq import registry
from oq.calibrator import Readers
from oq.calibrators.minmax import MinMax
from oq.grid import fit
from oq.spec import INT8, INT8_AFFINE, UINT8, Array, QType
from oq.statistics import Need, Statistics, merge, observe

FOLDER = Path(oq.calibrators.__path__[0])
NAMES = sorted(p.stem for p in FOLDER.glob("*.py") if p.stem != "__init__")
QTYPES = (UINT8, INT8, INT8_AFFINE)
VALUES = arrays(np.float32, st.integers(1, 50), elements=st.floats(-1e6, 1e6, width=32))


def test_the_folder_is_what_the_registry_offers() -> None:
    assert registry.names("calibrators") == tuple(NAMES)
    assert "minmax" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_frozen_dataclass_whose_fields_have_defaults(name: str) -> None:
    made = registry.calibrator(name)
    assert dataclasses.is_dataclass(made)
    for field in dataclasses.fields(made):
        assert field.default is not dataclasses.MISSING
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, field.name, field.default)
    assert made == registry.calibrator(name)
    assert hash(made) == hash(registry.calibrator(name))
    parameters = list(inspect.signature(made.range).parameters)
    assert parameters == ["statistics", "qtype", "readers"]
    assert isinstance(made.needs, frozenset) and all(isinstance(n, Need) for n in made.needs)


@pytest.mark.parametrize("name", NAMES)
def test_its_line_in_the_list_is_short(name: str) -> None:
    line = registry.summary("calibrators", name)
    assert 20 <= len(line) <= 100


@pytest.mark.parametrize("qtype", QTYPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15, deadline=None)
@given(first=VALUES, second=VALUES)
def test_a_range_is_a_function_of_the_values_in_any_order_and_partition(
    name: str, qtype: QType, first: Array, second: Array
) -> None:
    calibrator = registry.calibrator(name)
    needs = calibrator.needs

    def find(statistics: Statistics) -> tuple[float, float]:
        found = calibrator.range(statistics, qtype, Readers())
        assert found.lo <= 0 <= found.hi
        return float(found.lo), float(found.hi)

    parts = [observe(first, needs), observe(second[::-1], needs, len(first))]
    found = find(merge(*parts))
    assert find(merge(*parts[::-1])) == found
    whole = observe(np.concatenate([first, second]), needs)
    if Need.BATCHES not in needs:
        assert find(whole) == found
    if name != "fixed":
        # Never beyond the largest value: no code is given to what cannot come.
        assert max(-found[0], found[1]) <= max(-whole.lo, whole.hi, 0)


@pytest.mark.parametrize("qtype", QTYPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "values",
    [[], [0.0] * 9, [3.0] * 9, [-3.0] * 9, [np.nan, np.inf], [1.0, np.nan], [1e-45], [3e38, -3e38]],
)
def test_awkward_values_still_make_a_grid(name: str, qtype: QType, values: list[float]) -> None:
    """No values, only zeros, one value only, nothing finite, denormal and enormous values."""
    calibrator = registry.calibrator(name)
    statistics = observe(np.asarray(values, np.float32), calibrator.needs)
    grid = fit(calibrator.range(statistics, qtype, Readers()), qtype)
    assert np.isfinite(grid.scale).all() and (grid.scale > 0).all()


def test_minmax_clips_nothing() -> None:
    found = MinMax().range(observe(np.asarray([0.5, -1.25, 7.0], np.float32)), INT8)
    assert (float(found.lo), float(found.hi)) == (-1.25, 7.0)
    positive = MinMax().range(observe(np.asarray([2.0, 3.0], np.float32)), UINT8)
    assert (float(positive.lo), float(positive.hi)) == (0.0, 3.0)
