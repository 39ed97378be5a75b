"""Where samples lie: every kind of data gives the same samples, in whatever form."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oq.data.source import open_source
from oq.data.sources.layout import fixed_batch, has_samples_axis
from oq.errors import DataError
from oq.numerics.values import Array, Shape, TensorInfo
from tests.data.samples import info
from tests.small import normal

COUNT = 5
FRAME = normal(COUNT, 1, 6)
STATE = normal(COUNT, 2, 1, 4, seed=1)
RATE = np.full(COUNT, 16_000, np.int64)
STREAMING = [info((1, 6), name="frame"), info((2, 1, 4), name="state"), info((), "int64", "rate")]
FREE = [info(("b", 6), name="frame"), info((2, "b", 4), name="state"), info((), "int64", "rate")]

Feeds = dict[str, Array]


def feeds_of(data: object, inputs: list[TensorInfo], size: int = 3) -> list[Feeds]:
    return [dict(batch.feeds) for batch in open_source(data, inputs).batches(size)]


def alone(i: int) -> Feeds:
    """Sample i as the model takes it."""
    return {"frame": FRAME[i], "state": STATE[i], "rate": RATE[i]}


STACKED = {"frame": FRAME, "state": STATE, "rate": RATE}
ROWS = {**STACKED, "frame": FRAME[:, 0]}


def npz(arrays: Feeds, folder: Path) -> Path:
    np.savez(folder / "d.npz", allow_pickle=False, **arrays)
    return folder / "d.npz"


def npz_folder(arrays: Feeds, folder: Path) -> Path:
    for i in range(COUNT):
        np.savez(folder / f"{i}.npz", allow_pickle=False, **alone(i))
    return folder


def loader(arrays: Feeds, folder: Path) -> list[Feeds]:
    """As a DataLoader collates them: batches of three, every value with one axis more."""
    return [{k: a[i : i + 3] for k, a in arrays.items()} for i in range(0, COUNT, 3)]


FORMS: dict[str, Callable[[Feeds, Path], object]] = {
    "dict": lambda arrays, folder: arrays,
    "npz": npz,
    "npz folder": npz_folder,
    "feeds": lambda arrays, folder: [alone(i) for i in range(COUNT)],
    "callable": lambda arrays, folder: lambda: (alone(i) for i in range(COUNT)),
    "loader": loader,
}


@pytest.mark.parametrize("arrays", [STACKED, ROWS], ids=["stacked", "rows"])
@pytest.mark.parametrize("inputs", [STREAMING, FREE], ids=["fixed", "free"])
@pytest.mark.parametrize("form", FORMS)
def test_one_sample_is_one_feed_in_every_form(
    form: str, inputs: list[TensorInfo], arrays: Feeds, tmp_path: Path
) -> None:
    found = feeds_of(FORMS[form](arrays, tmp_path), inputs)
    assert len(found) == COUNT
    for i, feeds in enumerate(found):
        for name, value in alone(i).items():
            np.testing.assert_array_equal(feeds[name], value)
            assert feeds[name].shape == value.shape


def test_what_fits_as_it_is_goes_to_every_sample() -> None:
    given = {"frame": FRAME[:, 0], "state": STATE[0], "rate": RATE[0]}
    for feeds in (found := feeds_of(given, STREAMING)):
        np.testing.assert_array_equal(feeds["state"], STATE[0])
        assert feeds["rate"].shape == () and feeds["frame"].shape == (1, 6)
    assert len(found) == COUNT
    assert len(feeds_of({**given, "state": STATE[0]}, FREE)) == COUNT  # b is 5 here and 1 there


def test_complete_feeds_are_passed_as_they_are() -> None:
    """A sequence whose first axis is time, and a state: nothing to cut."""
    inputs = [info(("time", 6), name="frame"), info((2, 1, 4), name="state")]
    one = {"frame": normal(7, 6), "state": STATE[0]}
    for data in (one, [one], lambda: iter([one])):
        (feeds,) = feeds_of(data, inputs, 2)
        assert feeds["frame"].shape == (7, 6)


def test_a_scalar_beside_samples_leaves_batches_whole() -> None:
    inputs = [info(("n", 6), name="x"), info((), "int64", "rate")]
    x = normal(COUNT, 6)
    for rate in (np.int64(16_000), np.asarray(16_000)):
        found = feeds_of({"x": x, "rate": rate}, inputs)
        assert [f["x"].shape[0] for f in found] == [3, 2]
    each = feeds_of({"x": x, "rate": np.array([8, 8, 16, 16, 16])}, inputs)
    assert [int(f["rate"]) for f in each] == [8, 8, 16, 16, 16]


def test_a_fixed_batch_is_filled_beside_a_scalar() -> None:
    inputs = [info((4, 6), name="x"), info((), name="gain")]
    found = feeds_of({"x": normal(10, 6), "gain": np.float32(2)}, inputs)
    assert [f["x"].shape for f in found] == [(4, 6), (4, 6)]


def test_labels_follow_their_samples() -> None:
    labels = np.arange(COUNT)
    source = open_source({**STACKED, "labels": labels}, STREAMING)
    assert [int(b.labels[0]) for b in source.batches(3) if b.labels is not None] == [*labels]
    assert source.count == COUNT


@pytest.mark.parametrize(
    ("shapes", "common"),
    [
        ([("n", 3), ()], True),
        ([(4, 3), (4,)], True),
        ([(1, 3), ("n",)], True),
        ([(4, 3), ("n",)], False),
        ([(1, 6), (2, 1, 4)], False),
        ([("b", 6), (2, "b", 4)], False),
    ],
)
def test_a_samples_axis(shapes: list[Shape], common: bool) -> None:
    assert has_samples_axis([info(s) for s in shapes]) == common


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({**STACKED, "state": STATE[:3]}, "differ in their number of samples .*'state' has 3"),
        ({**STACKED, "state": STATE[:, 0, 0, 0]}, r"state' has shape \(\)?.*expects \(2, 1, 4\)"),
        ({**STACKED, "frame": np.float32(0)}, "'frame' is a single value"),
    ],
)
def test_messages(arrays: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_source(arrays, STREAMING)


# ---- strings and truth values

WORDS = [info(("n", 6), name="x"), info(("n",), "str", "word"), info(("n",), "bool", "on")]


@pytest.mark.parametrize("kind", [np.str_, object])
def test_strings_beside_numbers(kind: Any, tmp_path: Path) -> None:
    given: Any = {
        "x": normal(4, 6),
        "word": np.array(["a", "bc", "", "\u00e9"], kind),
        "on": np.array([True, False, True, True]),
    }
    forms = [
        given,
        [given],
        lambda: ({k: v[i : i + 1] for k, v in given.items()} for i in range(4)),
    ]
    if kind is np.str_:
        forms.append(npz(given, tmp_path))
    for data in forms:
        found = feeds_of(data, WORDS)
        assert [w for f in found for w in f["word"].tolist()] == ["a", "bc", "", "\u00e9"]
        assert all(f["on"].dtype == bool for f in found)


def test_a_number_for_a_string_is_refused() -> None:
    with pytest.raises(DataError, match="'word' is float32; the model expects str"):
        open_source({"x": normal(4, 6), "word": normal(4), "on": np.ones(4, bool)}, WORDS)


def test_fixed_batch_needs_a_samples_axis() -> None:
    assert fixed_batch(STREAMING) is None
    assert fixed_batch([info((4, 3)), info(())]) == 4
