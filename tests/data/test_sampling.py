"""Choosing samples: every draw and split is a partition, reproducible, and reads no more."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from oq.data.source import (
    open_source,
    random_source,
    split,
    subset,
)
from oq.errors import DataError, OptionError
from oq.numerics.values import Array
from tests.data.samples import FIXED, X, collect, info, items, rows

# ---- choosing samples


@settings(max_examples=60, deadline=None)
@given(count=st.integers(1, 40), samples=st.integers(1, 45), seed=st.integers(0, 3))
def test_subset_is_a_reproducible_sorted_draw(count: int, samples: int, seed: int) -> None:
    source = open_source({"x": rows(count)}, [X])
    drawn = subset(source, samples, seed)
    found = collect(drawn)
    assert found == sorted(set(found)) and len(found) == min(count, samples) == drawn.count
    assert found == collect(subset(source, samples, seed), size=1)
    assert collect(drawn, 2, 3, 7) == found[3:7]


def test_subset_depends_on_the_seed_and_reads_only_what_it_draws(tmp_path: Path) -> None:
    source = open_source({"x": rows(1000)}, [X])
    assert collect(subset(source, 10, 0)) != collect(subset(source, 10, 1))
    for number in range(9):
        Image.new("RGB", (2, 2), (number, 0, 0)).save(tmp_path / f"{number}.png")
    images = open_source(tmp_path, [info(("n", 3, 2, 2))], preprocess="raw")
    drawn = subset(images, 3, 7)
    (batch,) = drawn.batches(3)
    chosen = [int(image[0, 0, 0]) for image in batch.feeds["x"]]
    for number in set(range(9)) - set(chosen):
        (tmp_path / f"{number}.png").unlink()
    assert len(list(drawn.batches(1))) == 3


def test_subset_of_items() -> None:
    source = open_source(items([2, 3, 1, 4, 2]), [X])
    drawn = subset(source, 5, seed=0)
    found = collect(drawn)
    assert drawn.count == len(found) >= 5 and found == sorted(found)
    assert found == collect(subset(source, 5, seed=0))
    unknown = subset(open_source(lambda: items([2, 3, 1, 4, 2]), [X]), 5, seed=0)
    assert unknown.count is None
    assert collect(unknown) == [0, 1, 2, 3, 4]
    assert collect(unknown, start=2) == [2, 3, 4]
    assert collect(unknown, stop=2) == [0, 1]


def test_subset_stops_reading_a_generator_in_time() -> None:
    def endless() -> Iterator[dict[str, Array]]:
        yield from items([2, 2])
        raise AssertionError("read too far")

    assert collect(subset(open_source(endless(), [X]), 4, seed=0)) == [0, 1, 2, 3]
    assert collect(open_source(endless(), [X]), stop=3) == [0, 1, 2, 3]


def test_subset_below_one() -> None:
    with pytest.raises(OptionError, match=r"samples is 0; expected 1 or more"):
        subset(open_source({"x": rows(2)}, [X]), 0, 0)


@settings(max_examples=80, deadline=None)
@given(count=st.integers(2, 60), every=st.integers(2, 12))
def test_split_parts_the_rows(count: int, every: int) -> None:
    kept, held = split(open_source({"x": rows(count)}, [X]), every)
    step = min(every, count)
    assert collect(held) == list(range(step - 1, count, step))
    assert sorted(collect(kept) + collect(held)) == list(range(count))
    assert (kept.count, held.count) == (len(collect(kept)), len(collect(held)))
    assert collect(kept, 2, 1, 9) == collect(kept)[1:9]


@settings(max_examples=60, deadline=None)
@given(count=st.integers(8, 60), every=st.integers(2, 9))
def test_split_holds_back_whole_fixed_batches(count: int, every: int) -> None:
    kept, held = split(open_source({"x": rows(count)}, [FIXED]), every)
    assert held.dropped == 0 and collect(held)
    assert sorted(collect(kept) + collect(held)) == list(range(count - count % 4))


def test_split_of_a_subset_of_a_split() -> None:
    whole = open_source({"x": rows(50)}, [X])
    drawn = subset(split(whole, 5)[0], 20, seed=1)
    kept, held = split(drawn, 4)
    assert sorted(collect(kept) + collect(held)) == collect(drawn)
    assert not set(collect(drawn)) & set(collect(split(whole, 5)[1]))


def test_split_of_items() -> None:
    for data in (items([2, 3, 1, 4, 2]), lambda: items([2, 3, 1, 4, 2])):
        kept, held = split(open_source(data, [X]), 2)
        assert collect(kept) == [0, 1, 5, 10, 11]
        assert collect(held) == [2, 3, 4, 6, 7, 8, 9]
        again = split(kept, 2)
        assert collect(again[0]) == [0, 1, 10, 11] and collect(again[1]) == [5]
    assert kept.count is None
    assert split(open_source(items([2, 3]), [X]), 9)[1].count == 3


def test_split_messages() -> None:
    with pytest.raises(OptionError, match=r"held_back is 1; expected 2 or more"):
        split(open_source({"x": rows(9)}, [X]), 1)
    with pytest.raises(DataError, match=r"has 1 samples; expected 2 or more to hold some back"):
        split(open_source({"x": rows(1)}, [X]), 5)
    with pytest.raises(DataError, match=r"has 1 batches of 4; expected 2 or more"):
        split(open_source({"x": rows(7)}, [FIXED]), 5)


# ---- random numbers


def test_random_rows_do_not_depend_on_batching() -> None:
    inputs = [
        info(("n", 3, "h")),
        info(("n",), "int64", "ids"),
        info(("n", 4), "uint8", "pixels"),
        info(("n", 2), "bool", "mask"),
        info(("n", 2), "float16", "half"),
    ]
    source = random_source(inputs, 10, seed=3, sizes={"h": 5})
    (whole,) = source.batches(10)
    assert {key: (value.shape, value.dtype.name) for key, value in whole.feeds.items()} == {
        "x": ((10, 3, 5), "float32"),
        "ids": ((10,), "int64"),
        "pixels": ((10, 4), "uint8"),
        "mask": ((10, 2), "bool"),
        "half": ((10, 2), "float16"),
    }
    parts = [*source.batches(3, 0, 4), *source.batches(4, 4)]
    for key, value in whole.feeds.items():
        assert np.array_equal(np.concatenate([part.feeds[key] for part in parts]), value)
    (other,) = random_source(inputs, 10, seed=4, sizes={"h": 5}).batches(10)
    assert not np.array_equal(other.feeds["x"], whole.feeds["x"])
    assert set(whole.feeds["ids"].tolist()) == {0, 1}


def test_random_with_a_fixed_batch_or_without_a_common_one() -> None:
    fixed = random_source([info((4, 2))], 8, seed=0)
    assert [batch.feeds["x"].shape for batch in fixed.batches(1)] == [(4, 2), (4, 2)]
    odd = random_source([info((4, 2)), info((), "int64", "k"), info((3,), name="y")], 2, seed=0)
    found = [{key: value.shape for key, value in b.feeds.items()} for b in odd.batches(1)]
    assert found == [{"x": (4, 2), "k": (), "y": (3,)}] * 2


def test_random_messages() -> None:
    with pytest.raises(DataError, match=r"the model does not tell type and shape of input 'x'"):
        random_source([info(None)], 3, 0)
    with pytest.raises(OptionError, match=r"samples is 0; expected 1 or more"):
        random_source([X], 0, 0)
