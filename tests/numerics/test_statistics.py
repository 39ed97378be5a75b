"""The merge law, exactly, and what touches the extremes."""

from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from oq.numerics.statistics import (
    BUCKETS,
    EMPTY,
    MASK,
    Accumulator,
    Need,
    Statistics,
    bucket_edges,
    high_halves,
    merge,
    merge_all,
    observe,
    sorted_histogram,
    together,
)
from oq.numerics.values import Array
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
    data = [v for v in finite if abs(v) < MASK]
    found = observe(values)
    assert (found.count, found.nonfinite) == (len(data), len(values) - len(finite))
    assert found.masked == len(finite) - len(data)
    assert found.lo == min(data, default=np.inf)
    assert found.hi == max(data, default=-np.inf)


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


def test_the_sign_of_a_zero_leaves_no_trace() -> None:
    """min(0, -0) is whichever came first; the bytes of a cache must not depend on that."""
    for values in (floats(-0.0), floats(0.0, -0.0), floats(-0.0, 0.0)):
        found = observe(values, ALL)
        assert not np.signbit([found.lo, found.hi]).any()
        assert found.batches is not None and not np.signbit(found.batches).any()
        assert found.histogram is not None and found.histogram[0] == values.size


# ---- the histogram

ALL = frozenset(Need)


def reference_histogram(values: Array) -> Array:
    """Counts by the top 16 bits, one value after the other; -0 (and 1e-40 below it) is 0."""
    usable = [v for v in values.astype(np.float32) if abs(v) < MASK]  # NaN is not
    bits = [int(np.float32(v).view(np.uint32)) >> 16 for v in usable]
    return np.bincount(
        [0 if b == 0x8000 else b for b in bits] or np.zeros(0, np.int64), minlength=BUCKETS
    )


@given(st.lists(ANY_FLOATS, max_size=6), st.data())
def test_histograms_add_up_exactly_in_any_order_and_grouping(
    parts: list[Array], data: st.DataObject
) -> None:
    need = frozenset({Need.HISTOGRAM})
    whole = observe(np.concatenate([floats(), *parts]), need)
    shuffled = data.draw(st.permutations([observe(p, need) for p in parts]))
    cut = data.draw(st.integers(0, len(parts)))
    left = reduce(merge, shuffled[:cut], EMPTY)
    right = reduce(merge, shuffled[cut:], EMPTY)
    assert merge(left, right) == merge(right, left) == whole
    if whole.count:
        assert whole.histogram is not None and whole.histogram.dtype == np.int64
        expected = reference_histogram(np.concatenate([floats(), *parts]))
        assert np.array_equal(whole.histogram, expected)
        assert sorted_histogram(whole).sum() == whole.count


@given(st.lists(ANY_FLOATS, min_size=1, max_size=6), st.data())
def test_batches_are_kept_apart_and_in_the_order_of_the_samples(
    parts: list[Array], data: st.DataObject
) -> None:
    usable = [p[np.abs(p) < MASK] for p in parts]
    expected = [(8.0 * i, u.min(), u.max()) for i, u in enumerate(usable) if u.size]
    accumulators = [Accumulator(ALL), Accumulator(ALL)]
    for i in data.draw(st.permutations(range(len(parts)))):
        accumulators[data.draw(st.integers(0, 1))].add(parts[i], 8 * i)
    found = merge(*(a.statistics() for a in accumulators))
    rows = [] if found.batches is None else found.batches.tolist()
    assert rows == [list(map(float, row)) for row in expected]


def test_masks_and_what_is_not_finite_enter_neither_histogram_nor_batches() -> None:
    values = floats(0.5, -1e9, np.nan, np.inf, -np.inf, 2.0, float(np.finfo(np.float32).min))
    found = observe(values, ALL, 16)
    assert (found.count, found.masked, found.nonfinite) == (2, 2, 3)
    assert (found.lo, found.hi) == (0.5, 2.0)
    assert found.batches is not None and found.batches.tolist() == [[16.0, 0.5, 2.0]]
    assert np.array_equal(
        sorted_histogram(found).nonzero(),
        sorted_histogram(observe(floats(0.5, 2.0), ALL)).nonzero(),
    )


def test_values_just_below_a_mask_are_data() -> None:
    below = float(np.nextafter(np.float32(MASK), np.float32(0)))
    assert observe(floats(below, -below)).count == 2
    assert observe(floats(MASK, -MASK)).masked == 2


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_every_finite_float_lies_in_its_bucket(value: float) -> None:
    histogram = np.bincount(high_halves(floats(value)), minlength=BUCKETS)
    low, high = bucket_edges()
    (where,) = np.flatnonzero(sorted_histogram(Statistics(1, 0, value, value, 0, histogram)))
    assert low[where] <= value <= high[where]
    if abs(value) >= np.finfo(np.float32).tiny:
        assert high[where] - low[where] <= abs(value) / 128


def test_bucket_edges_ascend_without_gaps_and_mirror() -> None:
    low, high = bucket_edges()
    assert low.shape == high.shape == (2 * 0x7F80,)
    assert np.array_equal(low[1:], high[:-1])
    assert (np.diff(low)[np.diff(low) != 0] > 0).all() and (high > low).all()
    assert np.array_equal(low, -high[::-1])


@pytest.mark.parametrize("size", [1, 30, 49, 50, 51, 99, 100, 101, 250, 1001])
def test_counting_in_pieces_is_counting(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Arrays below half a chunk wait for others; larger ones are cut; axes in any order."""
    monkeypatch.setattr("oq.numerics.statistics.CHUNK", 100)
    values = np.random.default_rng(0).standard_normal((7, 11, 13)).astype(np.float32)
    flat, accumulator = values.transpose(2, 0, 1).reshape(-1), Accumulator(ALL)
    for start in range(0, flat.size, size):
        accumulator.add(flat[start : start + size], start)
    found = accumulator.statistics()
    assert found.histogram is not None
    assert np.array_equal(found.histogram, reference_histogram(values.reshape(-1)))
    assert found == accumulator.statistics()
    buffer = np.empty(30, np.float32)
    again = Accumulator(ALL)
    for value in (1.0, 2.0, 3.0):
        buffer[:] = value
        again.add(buffer, int(value))
    expected = reference_histogram(np.repeat(floats(1.0, 2.0, 3.0), 30))
    assert np.array_equal(again.statistics().histogram, expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "uint8", "int64", "bool"])
def test_a_histogram_of_any_real_dtype(dtype: str) -> None:
    values = np.asarray([[0, 1], [1, 0]]).astype(dtype)
    found = observe(values, ALL)
    assert found.histogram is not None
    assert np.array_equal(found.histogram, reference_histogram(values.reshape(-1)))


def test_only_what_is_needed_is_kept() -> None:
    plain = observe(floats(1.0, 2.0))
    assert plain.histogram is None and plain.batches is None
    with pytest.raises(ValueError, match="without a histogram"):
        sorted_histogram(plain)
    assert observe(floats(1.0), frozenset({Need.BATCHES})).histogram is None
    assert observe(floats(1.0), frozenset({Need.HISTOGRAM})).batches is None


def test_statistics_taken_earlier_do_not_change_later() -> None:
    accumulator = Accumulator(ALL)
    accumulator.add(floats(1.0), 0)
    early = accumulator.statistics()
    accumulator.add(floats(1.0, 5.0), 1)
    assert early == observe(floats(1.0), ALL)


def test_equality_looks_at_every_field() -> None:
    one = observe(floats(1.0, 2.0), ALL)
    assert one == observe(floats(2.0, 1.0), ALL)
    for other in (
        observe(floats(1.0, 2.0), ALL, 1),  # other batches
        observe(floats(1.0, 2.0), frozenset({Need.BATCHES})),  # no histogram
        observe(floats(1.0, 1.0), ALL),
        observe(floats(1.0, 2.0, -1e9), ALL),
    ):
        assert one != other
    assert one != "something else"


def test_tensors_of_either_side_survive_a_merge() -> None:
    a, b, c = (observe(floats(v), ALL, i) for i, v in enumerate((1.0, 2.0, 3.0)))
    assert merge_all({"x": a, "y": b}, {"y": c, "z": c}) == {"x": a, "y": merge(b, c), "z": c}


def test_tensors_together_are_one_tensor() -> None:
    """What a Concat of both would have given, batch by batch."""
    random = np.random.default_rng(5)
    needs = frozenset({Need.HISTOGRAM, Need.BATCHES})
    a, b = random.normal(size=(2, 6, 7)).astype(np.float32)
    parts, whole = [Accumulator(needs), Accumulator(needs)], Accumulator(needs)
    for first in (0, 2, 4):
        rows = slice(first, first + 2)
        parts[0].add(a[rows], first)
        parts[1].add(b[rows], first)
        whole.add(np.concatenate([a[rows], b[rows]]), first)
    assert together([p.statistics() for p in parts]) == whole.statistics()
    assert together([parts[0].statistics()]) == parts[0].statistics()
    assert together([]) == EMPTY
