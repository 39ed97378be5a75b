"""The merge law, exactly, and what touches the extremes."""

from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from oq.spec import Array
from oq.statistics import EMPTY, Statistics, merge, observe
from tests.small import floats

ANY_FLOATS = arrays.arrays(
    np.float32, st.integers(0, 12), elements=st.floats(width=32, allow_nan=True)
)


@given(st.lists(ANY_FLOATS, max_size=6), st.data())
def test_parts_in_any_order_and_grouping_give_the_whole(
    parts: list[Array], data: st.DataObject
) -> None:
    whole = observe(np.concatenate([floats(), *parts]))
    shuffled = data.draw(st.permutations([observe(p) for p in parts]))
    cut = data.draw(st.integers(0, len(parts)))
    left = reduce(merge, shuffled[:cut], EMPTY)
    right = reduce(merge, shuffled[cut:], EMPTY)
    assert merge(left, right) == whole
    assert merge(right, left) == whole


@given(ANY_FLOATS)
def test_observe_counts_and_excludes_what_is_not_finite(values: Array) -> None:
    finite = [float(v) for v in values if np.isfinite(v)]
    found = observe(values)
    assert (found.count, found.nonfinite) == (len(finite), len(values) - len(finite))
    assert found.lo == min(finite, default=np.inf)
    assert found.hi == max(finite, default=-np.inf)


def test_no_values_are_the_identity() -> None:
    some = Statistics(3, 1, -1.0, 2.0)
    for shape in ((0,), (4, 0, 3)):
        assert observe(np.zeros(shape, np.float32)) == EMPTY
    assert merge(EMPTY, some) == merge(some, EMPTY) == some


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "uint8", "int32", "int64", "bool"])
def test_any_real_dtype(dtype: str) -> None:
    values = np.asarray([[0, 1], [1, 0]]).astype(dtype)
    assert observe(values) == Statistics(4, 0, 0.0, 1.0)


def test_half_precision_extremes_are_exact() -> None:
    values = np.asarray([65504.0, -65504.0, 6e-8, np.inf, np.nan], np.float16)
    assert observe(values) == Statistics(3, 2, -65504.0, 65504.0)


def test_axes_do_not_matter() -> None:
    values = np.random.default_rng(0).standard_normal((3, 4, 5))
    assert observe(values) == observe(values.reshape(-1)) == observe(values.transpose(2, 0, 1))
