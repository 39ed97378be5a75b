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
from oq.calibrators.minmax import MinMax
from oq.numerics.calibrator import ErrorGains
from oq.numerics.grid import fit
from oq.numerics.statistics import EMPTY, Need, merge, observe
from oq.numerics.values import INT8, INT8_AFFINE, UINT8, Array, QType
from oq.planning import registry

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
    assert list(inspect.signature(made.range).parameters) == ["statistics", "qtype", "readers"]


@pytest.mark.parametrize("name", NAMES)
def test_its_line_in_the_list_is_short(name: str) -> None:
    line = registry.summary("calibrators", name)
    assert 20 <= len(line) <= 100


WIDER = {"fixed", "max"}
"""By definition not bound to the data: a given range, and a symmetric one."""


@pytest.mark.parametrize("qtype", QTYPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(first=VALUES, second=VALUES)
def test_a_range_is_a_function_of_the_values_in_any_order_and_partition(
    name: str, qtype: QType, first: Array, second: Array
) -> None:
    calibrator = registry.calibrator(name)
    needs = calibrator.needs
    whole = observe(np.concatenate([first, second]), needs)
    parts = merge(observe(second[::-1], needs, first.size), observe(first, needs))
    if Need.BATCHES in needs:  # these depend on the partition, by definition
        whole = parts
        parts = merge(observe(first, needs), observe(second[::-1], needs, first.size))
    found, again = (
        calibrator.range(whole, qtype, ErrorGains()),
        calibrator.range(parts, qtype, ErrorGains()),
    )
    assert np.array_equal(found.lo, again.lo) and np.array_equal(found.hi, again.hi)
    if name not in WIDER:
        # Never wider than the data, so that no code is given to what cannot come.
        assert whole.lo >= 0 or found.lo >= whole.lo
        assert whole.hi <= 0 or found.hi <= whole.hi
    assert found.lo <= 0 <= found.hi


@pytest.mark.parametrize("qtype", QTYPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "values",
    [[], [0.0] * 9, [3.0] * 9, [-3.0] * 9, [np.nan, np.inf], [1.0, np.nan], [1e-45], [3e38, -3e38]],
)
def test_awkward_values_still_make_a_grid(name: str, qtype: QType, values: list[float]) -> None:
    """No values, only zeros, one value only, nothing finite, denormal and enormous values."""
    calibrator = registry.calibrator(name)
    seen = observe(np.asarray(values, np.float32), calibrator.needs) if values else EMPTY
    grid = fit(calibrator.range(seen, qtype, ErrorGains()), qtype)
    assert np.isfinite(grid.scale).all() and (grid.scale > 0).all()


def test_minmax_clips_nothing() -> None:
    found = MinMax().range(observe(np.asarray([0.5, -1.25, 7.0], np.float32)), INT8)
    assert (float(found.lo), float(found.hi)) == (-1.25, 7.0)
    positive = MinMax().range(observe(np.asarray([2.0, 3.0], np.float32)), UINT8)
    assert (float(positive.lo), float(positive.hi)) == (0.0, 3.0)
