"""Arrays whose names are not the inputs': mapped by the user, or one array for one input."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from oq.data.source import fingerprint, open_source, split, subset
from oq.errors import DataError, OptionError
from oq.numerics.values import Array, TensorInfo
from tests.data.samples import LABELS, XS, YS, X, Y, concat, info, rows

Arrays = Mapping[str, Array]

OTHERS: Arrays = {"images": XS, "count": YS, "classes": LABELS}
NAMES = {"x": "images", "y": "count", "labels": "classes"}


class Reader:
    """One sample a call; it cannot rewind."""

    def __init__(self, arrays: Arrays) -> None:
        self.arrays, self.rest = arrays, iter(range(len(XS)))

    def get_next(self) -> Arrays | None:
        at = next(self.rest, None)
        return None if at is None else {k: a[at : at + 1] for k, a in self.arrays.items()}


def feeds(arrays: Arrays) -> Iterator[Arrays]:
    yield {k: a[:5] for k, a in arrays.items()}
    yield {k: a[5:] for k, a in arrays.items()}


def in_file(arrays: Arrays, folder: Path) -> str:
    np.savez(folder / "a.npz", **arrays)  # type: ignore[arg-type]
    return str(folder / "a.npz")


def in_folder(arrays: Arrays, folder: Path) -> Path:
    for i, part in enumerate(feeds(arrays)):
        np.savez(folder / f"{i}.npz", **part)  # type: ignore[arg-type]
    return folder


KINDS: dict[str, Callable[[Arrays, Path], Any]] = {
    "npz": in_file,
    "folder": in_folder,
    "dict": lambda arrays, _: arrays,
    "list": lambda arrays, _: list(feeds(arrays)),
    "generator": lambda arrays, _: feeds(arrays),
    "callable": lambda arrays, _: lambda: feeds(arrays),
    "reader": lambda arrays, _: Reader(arrays),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_data_is_renamed(tmp_path: Path, kind: str) -> None:
    found = list(open_source(KINDS[kind](OTHERS, tmp_path), [X, Y], rename=NAMES).batches(4))
    assert np.array_equal(concat(found), XS) and np.array_equal(concat(found, "y"), YS)
    given = [batch.labels for batch in found if batch.labels is not None]
    assert np.array_equal(np.concatenate(given), LABELS)


@pytest.mark.parametrize("kind", KINDS)
def test_one_array_is_for_one_input_and_a_note_says_so(tmp_path: Path, kind: str) -> None:
    named = {"images": XS, "labels": LABELS}
    source = open_source(KINDS[kind](named, tmp_path), [X])
    assert "'images', is taken for the only input, 'x'" in source.notes[0]
    found = list(source.batches(4))
    assert np.array_equal(concat(found), XS)
    assert all(batch.labels is not None for batch in found)


def test_labels_of_another_name_leave_one_array_for_one_input() -> None:
    data = {"images": XS, "classes": LABELS}
    found = next(open_source(data, [X], rename={"labels": "classes"}).batches(13))
    assert np.array_equal(found.feeds["x"], XS)
    assert found.labels is not None and np.array_equal(found.labels, LABELS)
    assert open_source({"x": XS}, [X]).notes == ()


def test_test_data_sets_are_renamed(tmp_path: Path) -> None:
    for number, key in enumerate(("count", "images")):  # not in the order of the inputs
        tensor = onnx.numpy_helper.from_array(OTHERS[key], key)
        (tmp_path / f"input_{number}.pb").write_bytes(tensor.SerializeToString())
    source = open_source(tmp_path, [X, Y], rename={"x": "images", "y": "count"})
    assert np.array_equal(concat(list(source.batches(1))), XS)


def test_names_may_be_swapped() -> None:
    found = next(open_source({"a": rows(2), "b": rows(2) + 9}, [info(("n", 2), name="a"),
        info(("n", 2), name="b")], rename={"a": "b", "b": "a"}).batches(2))  # fmt: skip
    assert np.array_equal(found.feeds["a"], rows(2) + 9)


def test_states_keep_their_layout_under_another_name() -> None:
    inputs = [info((1, 2)), info((2, 1, 3), name="state")]
    data = {"x": rows(5), "h": np.zeros((2, 1, 3), np.float32)}
    batches = list(open_source(data, inputs, rename={"state": "h"}).batches(1))
    assert [b.feeds["state"].shape for b in batches] == [(2, 1, 3)] * 5
    lone = open_source({"h": np.zeros((4, 2, 1, 3), np.float32)}, inputs[1:])  # stacked
    assert [b.feeds["state"].shape for b in lone.batches(1)] == [(2, 1, 3)] * 4


REFUSED: list[tuple[Any, list[TensorInfo], dict[str, str], str]] = [
    ({"x": XS, "z": XS}, [X], {}, r"names, or say which is which|expected exactly these names$"),
    ({"a": XS, "b": XS}, [X, Y], {}, r"which is which: --rename x=a --rename y=b$"),
    ({"a": XS}, [X], {"x": "b"}, r"dict: has 'a'; expected 'b' too, which --rename x=b names"),
    ({"a": XS, "x": XS}, [X], {"x": "a"}, r"has 'x' and 'a', which --rename makes 'x' too"),
    (
        {"x": XS, "labels": LABELS, "y": LABELS},
        [X],
        {"labels": "y"},
        r"has 'labels' and 'y', which --rename makes 'labels' too",
    ),
]


@pytest.mark.parametrize(("data", "inputs", "names", "message"), REFUSED)
def test_what_stays_unclear_is_refused(
    data: Any, inputs: list[TensorInfo], names: dict[str, str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        open_source(data, inputs, rename=names)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"images": "x"}, r"no input 'images'; .* turned round it is --rename x=images$"),
        ({"xs": "images"}, r"no input 'xs'; accepted are 'x', 'y' and 'labels', .*is it 'x'\?$"),
        ({"x": "a", "y": "a"}, r"the array 'a' is for 'x' and 'y'; expected one of them"),
    ],
)
def test_names_that_say_nothing_are_refused(names: dict[str, str], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        open_source(OTHERS, [X, Y], rename=names)


def test_names_go_with_a_source() -> None:
    source = open_source(OTHERS, [X, Y], rename=NAMES)
    for part in (subset(source, 6, 0), split(source, 4)[1], open_source(source, [X, Y])):
        assert "x" in next(part.batches(1)).feeds
    swapped = {"x": "b", "y": "a"}
    both = {"a": XS[:, 0].copy(), "b": XS[:, 1].copy()}
    inputs = [info(("n",)), info(("n",), name="y")]
    prints = {fingerprint(open_source(both, inputs, rename=n))
              for n in (swapped, {"x": "a", "y": "b"})}  # fmt: skip
    assert len(prints) == 2
