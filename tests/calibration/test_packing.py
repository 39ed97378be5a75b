"""Packed statistics: nothing lost, and few bytes."""

from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oq.calibration.packing import digest, from_bytes, join_bytes, pack, to_bytes, unpack
from oq.numerics.statistics import EMPTY, Need, Statistics, merge, merge_all, observe
from oq.numerics.values import Array
from tests.small import normal

BOTH = frozenset({Need.HISTOGRAM, Need.BATCHES})
NEEDS = [frozenset(), BOTH, frozenset({Need.BATCHES}), frozenset({Need.HISTOGRAM})]


@st.composite
def statistics(draw: st.DrawFn) -> Statistics:
    """Of several batches of odd numbers, each of one of two types."""
    needs, found = draw(st.sampled_from(NEEDS)), EMPTY
    for first in draw(st.lists(st.integers(0, 2**40), max_size=4)):
        dtype = draw(st.sampled_from([np.float32, np.float64]))
        values = draw(st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=5))
        found = merge(found, observe(np.array(values, dtype), needs, first))
    return found


@given(st.lists(statistics(), max_size=5))
def test_nothing_is_lost(found: list[Statistics]) -> None:
    named = {f"é/{i}": one for i, one in enumerate(found)}
    assert from_bytes(to_bytes(named)) == named
    assert list(from_bytes(to_bytes(named))) == list(named)
    assert digest(unpack(pack(named))) == digest(named)
    assert to_bytes(named) == to_bytes(unpack(pack(named)))


@given(st.lists(st.tuples(statistics(), statistics(), statistics()), max_size=4), st.integers(1, 3))
def test_joined_as_bytes_they_are_merged(rows: list[tuple[Statistics, ...]], many: int) -> None:
    parts = [{f"t{i}": row[p] for i, row in enumerate(rows)} for p in range(many)]
    joined = from_bytes(join_bytes([to_bytes(part) for part in parts]))
    assert joined == reduce(merge_all, parts)


def batches(count: int, needs: frozenset[Need]) -> dict[str, Statistics]:
    found = {f"t{i}": EMPTY for i in range(20)}
    for first in range(count):
        for i, name in enumerate(found):
            values = normal(64, seed=100 * first + i)
            found[name] = merge(found[name], observe(values, needs, 16 * first))
    return found


@pytest.mark.parametrize(("needs", "most"), [(NEEDS[0], 150), (NEEDS[3], 2200)])
def test_they_are_small(needs: frozenset[Need], most: int) -> None:
    """Bytes per tensor; 64 K counters of 8 bytes are half a million."""
    assert len(to_bytes(batches(20, needs))) < most * 20


def test_batches_take_8_bytes_each() -> None:
    """Two float32; what tensors have in common, the batches' first samples, is there once."""
    few, many = (len(to_bytes(batches(n, NEEDS[2]))) for n in (10, 60))
    assert (many - few) / 50 / 20 < 8.0


def test_double_extremes_stay_double() -> None:
    values: Array = np.array([0.1, 1.0])
    found = {"x": observe(values, BOTH), "y": observe(values.astype(np.float32), BOTH)}
    assert from_bytes(to_bytes(found)) == found
    assert "lows_highs_64" in pack(found)
