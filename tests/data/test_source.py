"""What a source promises the stages: batches that fit, reproducible choices, fingerprints."""

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from oq.data.preprocess import PRESETS
from oq.data.source import (
    fingerprint,
    fixed_batch,
    open_source,
    random_source,
    split,
    subset,
)
from oq.data.sources.batches import regroup
from oq.errors import DataError, OptionError
from oq.numerics.values import Batch, TensorInfo
from tests.data.samples import FIXED, X, collect, info, items, rows

# ---- fitting


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ([info((1, 3))], 1),
        ([info(("n", 3))], None),
        ([info((1, 3)), info(("n",))], 1),
        ([info((4, 3)), info(("n",))], None),
        ([info((1, 512)), info((2, 1, 128))], None),
        ([info((4, 3)), info((4,))], 4),
        ([info((4, 3)), info((2,))], None),
        ([info(()), info(None)], None),
        ([info((0, 3)), info((-1, 3))], None),
    ],
)
def test_fixed_batch(inputs: list[TensorInfo], expected: int | None) -> None:
    assert fixed_batch(inputs) == expected


PIXELS = np.zeros((2, 6, 5, 3), np.float32)
MISFITS: list[tuple[Any, list[TensorInfo], str]] = [
    (
        {"z": rows(3), "w": rows(3)},
        [X],
        r"dict: has 'z', 'w' where the model's inputs are 'x'; expected exactly these names, or say"
        r" which is which: --rename x=z --rename labels=w$",
    ),
    (
        {"x": rows(3)},
        [X, info((), name="y")],
        r"dict: has 'x' where the model's inputs are 'x', 'y'",
    ),
    ({"x": rows(3), "z": rows(3)}, [X], r"dict: has 'x', 'z' where the model's inputs are 'x'"),
    ({"x": rows(3)[0]}, [X], r"'x' has shape \(1,\); the model expects \(n, 2\); the first axis"),
    ({"x": rows(3)}, [info(("n", 3))], r"'x' has shape \(1, 2\); the model expects \(n, 3\)$"),
    ({"x": rows(3)}, [info((None, "a", 1))], r"expects \(\?, a, 1\); the first axis must be"),
    ({"x": PIXELS}, [info(("n", 3, 6, 5))], r"the channels come last here \(layout: nchw"),
    ({"x": PIXELS}, [info(("n", 5, 3, 6))], r"the channels come first here \(layout: nhwc"),
    (
        {"x": np.zeros((2, 2), np.uint8)},
        [X],
        r"'x' is uint8; the model expects float32; pixels need preprocessing first: --preprocess",
    ),
    ({"x": np.zeros((2, 2), np.int64)}, [X], r"'x' is int64; .* float32; convert it yourself if"),
    ({"x": rows(2)}, [info(("n", 2), "int64")], r"'x' is float32; .* int64; convert it yourself"),
    ({"x": rows(2)}, [info(("n", 2), "bool")], r"float32; .* bool; give it in that type"),
    ({"x": rows(2)}, [info(("n", 2), "nothing")], r"'x' is float32; the model expects nothing$"),
    (
        {"x": np.full((2, 2), 1e300)},
        [X],
        r"'x' is float64; .* float32, which cannot hold 1e\+300..1e\+300",
    ),
    (
        {"x": np.full((2, 2), 300)},
        [info(("n", 2), "uint8")],
        r"'x' is int64; the model expects uint8, which cannot hold 300..300; .* at sample 0",
    ),
    ({"x": rows(2), "labels": rows(2)}, [X], r"labels have shape \(1, 2\); expected .* \(1,\)"),
    ([{"x": rows(0)}], [X], r"list: sample 0 is a batch without samples"),
    ([], [X], r"list: has no samples for the model; expected at least one batch"),
    ({}, [X], r"dict: holds no arrays"),
    ({"x": rows(0)}, [X], r"dict: has no samples \(the first axis has length 0\)"),
    ({"x": rows(3)}, [FIXED], r"has only 3 samples, too few for the model's fixed batch of 4"),
]


@pytest.mark.parametrize(("data", "inputs", "message"), MISFITS)
def test_what_does_not_fit_is_refused_at_once(
    data: Any, inputs: list[TensorInfo], message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        open_source(data, inputs)
    assert "\n" not in str(caught.value)


def test_non_finite_values_are_counted_and_located(tmp_path: Path) -> None:
    values = rows(9)
    values[5] = np.nan, np.inf
    values[7, 0] = -np.inf
    message = r"'x' has {} values that are NaN or infinite, the first in {}; expected finite values"
    with pytest.raises(DataError, match=message.format(3, "sample 5")):
        collect(open_source({"x": values}, [X]), size=9)
    with pytest.raises(DataError, match=message.format(2, "sample 5")):
        collect(open_source({"x": values}, [X]), size=2, start=3)
    with pytest.raises(DataError, match=message.format(2, "sample 5")):
        collect(open_source(lambda: [{"x": values[:4]}, {"x": values[4:6]}], [X]), start=3)
    np.savez(tmp_path / "a.npz", x=values[:3])
    np.savez(tmp_path / "b.npz", x=values[3:])
    with pytest.raises(DataError, match=message.format(3, "sample 2 of b.npz")):
        collect(open_source(tmp_path, [X]), size=9)
    held = split(open_source({"x": values}, [X]), 2)[1]
    with pytest.raises(DataError, match=message.format(3, "sample 5")):
        collect(held, size=9)


@pytest.mark.parametrize(
    ("found", "wanted"),
    [("float64", "float32"), ("float32", "float16"), ("int32", "int64"), ("int64", "uint8")],
)
def test_safe_conversions_are_made_and_logged(
    found: str, wanted: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    source = open_source({"x": rows(3).astype(found)}, [info(("n", 2), wanted)])
    (batch,) = source.batches(3)
    assert batch.feeds["x"].dtype == wanted
    assert np.array_equal(batch.feeds["x"], rows(3))
    assert f"'x' is {found}; the model expects {wanted}, converted" in caplog.text


def test_unknown_shapes_and_types_take_anything() -> None:
    (batch,) = open_source({"x": np.zeros((3, 1), np.uint8)}, [info(None, None)]).batches(3)
    assert batch.feeds["x"].shape == (3, 1)


def test_feeds_are_plain_arrays_in_c_order(tmp_path: Path) -> None:
    np.save(tmp_path / "f.npy", np.asfortranarray(rows(6)))
    (batch,) = open_source(tmp_path / "f.npy", [X]).batches(6)
    assert type(batch.feeds["x"]) is np.ndarray and batch.feeds["x"].flags.c_contiguous
    (batch,) = open_source([{"x": np.float32(3)}], [info(())]).batches(1)
    assert batch.feeds["x"].shape == ()


def test_feeds_come_in_the_models_order() -> None:
    data = {"y": rows(2), "x": rows(2)}
    (batch,) = open_source(data, [X, info(("n", 2), name="y")]).batches(2)
    assert list(batch.feeds) == ["x", "y"]


def test_batch_size_below_one() -> None:
    with pytest.raises(OptionError, match=r"batch size is 0; expected 1 or more"):
        open_source({"x": rows(2)}, [X]).batches(0)


# ---- a fixed batch


@pytest.mark.parametrize("form", ["rows", "items", "callable"])
def test_fixed_batch_is_forced_and_the_rest_is_counted(
    form: str, caplog: pytest.LogCaptureFixture
) -> None:
    forms: dict[str, Any] = {
        "rows": {"x": rows(11)},
        "items": items([1, 5, 4, 1]),
        "callable": lambda: items([9, 2]),
    }
    source = open_source(forms[form], [FIXED])
    assert [len(batch.feeds["x"]) for batch in source.batches(3)] == [4, 4]
    assert collect(source) == list(range(8))
    assert source.dropped == (None if form == "callable" else 3)
    assert "3 samples do not fill the model's fixed batch of 4 and are left out" in caplog.text


def test_nothing_is_dropped_without_a_fixed_batch() -> None:
    assert open_source({"x": rows(11)}, [X]).dropped == 0


def test_feeds_without_a_common_first_axis_are_passed_whole() -> None:
    inputs = [info(("n", 2)), info((1, 2), name="y")]
    feeds = [{"x": rows(8), "y": rows(1)}, {"x": rows(2), "y": rows(1)}]
    found = [batch.feeds["x"].shape for batch in open_source(feeds, inputs).batches(1)]
    assert found == [(8, 2), (2, 2)]
    with pytest.raises(DataError, match=r"'y' has shape \(2, 2\); the model expects \(1, 2\)"):
        open_source([{"x": rows(8), "y": rows(2)}], inputs)


@settings(max_examples=60, deadline=None)
@given(
    kinds=st.lists(st.tuples(st.integers(1, 5), st.sampled_from([2, 3])), max_size=8),
    size=st.integers(1, 6),
)
def test_regroup_loses_only_what_it_counts(kinds: list[tuple[int, int]], size: int) -> None:
    parts = [Batch({"x": np.full((n, width), i)}) for i, (n, width) in enumerate(kinds)]
    total = sum(n for n, _ in kinds)
    loose = list(regroup(parts, size, exact=False))
    assert [row.tolist() for b in loose for row in b.feeds["x"]] == [
        row.tolist() for b in parts for row in b.feeds["x"]
    ]
    groups = regroup(parts, size, exact=True)
    given_out = 0
    while True:
        try:
            assert len(next(groups).feeds["x"]) == size
        except StopIteration as end:
            assert given_out * size + end.value == total
            break
        given_out += 1


# ---- fingerprints


def test_fingerprints_are_of_the_samples(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=rows(5))
    np.save(tmp_path / "a.npy", rows(5))
    (tmp_path / "b").mkdir()
    np.savez(tmp_path / "b" / "a.npz", x=rows(5))
    np.savez(tmp_path / "b" / "b.npz", x=rows(5))
    changed = rows(5)
    changed[3, 1] += 1
    loose = np.asfortranarray(rows(5))
    known = [
        tmp_path / "a.npz",
        tmp_path / "a.npy",
        tmp_path / "b",
        {"x": rows(5)},
        {"x": changed},
        {"x": rows(5), "labels": np.arange(5)},
        [{"x": rows(5)}],
        [{"x": rows(3)}, {"x": rows(5)[3:]}],
    ]
    digests = [fingerprint(open_source(data, [X])) for data in known]
    assert len(set(digests)) == len(known)
    assert all(len(digest) == 64 for digest in digests)
    assert digests == [fingerprint(open_source(data, [X])) for data in known]
    assert fingerprint(open_source({"x": loose}, [X])) == digests[3]


def test_fingerprints_of_choices_and_of_what_cannot_be_read_twice(tmp_path: Path) -> None:
    for data in ({"x": rows(9)}, items([1, 2, 2, 4])):
        source = open_source(data, [X])
        kept, held = split(source, 2)
        found = [kept, held, subset(source, 3, 0), subset(source, 3, 5), subset(kept, 2, 0), source]
        assert len({fingerprint(choice) for choice in found}) == len(found)
    for unread in (lambda: items([1]), iter(items([1]))):
        source = open_source(unread, [X])
        assert fingerprint(source) == fingerprint(split(source, 2)[0]) == "unknown"
    assert fingerprint(random_source([X], 3, 0)) == "unknown"
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    image = [info(("n", 3, 2, 2))]
    presets = {
        fingerprint(open_source(tmp_path, image, preprocess=p)) for p in PRESETS if p[0] in "ru"
    }
    assert len(presets) == 2
    pixels = {"x": np.zeros((2, 2, 2, 3), np.uint8)}
    assert fingerprint(open_source(pixels, image, preprocess="unit")) != fingerprint(
        open_source(pixels, image, preprocess="raw")
    )


# ---- the module itself


def test_an_open_source_can_be_opened_for_another_model() -> None:
    source = open_source({"x": rows(8)}, [X])
    again = open_source(source, [FIXED])
    assert [len(batch.feeds["x"]) for batch in again.batches(1)] == [4, 4]
    with pytest.raises(DataError, match=r"has 'x' where the model's inputs are 'z'"):
        open_source(source, [info(("n", 2), name="z")])


def test_import_is_light() -> None:
    heavy = "{'onnx', 'onnxruntime', 'torch', 'PIL', 'yaml'}"
    code = f"import sys, oq.data.source; print({heavy} & {{m.split('.')[0] for m in sys.modules}})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
