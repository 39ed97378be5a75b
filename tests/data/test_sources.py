"""Every kind of rows: the same samples as plain NumPy slicing, bounded memory, every message."""

import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from oq.data.preprocess import PRESETS, Preprocess
from oq.data.source import open_source
from oq.data.sources.images import ImageTable, find_images
from oq.data.sources.pixels import DecodedImages, decode
from oq.errors import DataError, OptionError
from oq.numerics.values import Array, TensorInfo
from tests.data.samples import COUNT, LABELS, XS, YS, X, Y, concat
from tests.real import CIFAR, needs_real


def save_npz(path: Path, **arrays: Any) -> Path:
    np.savez_compressed(path, **arrays)
    return path


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same 13 samples as each kind of rows."""
    root = tmp_path_factory.mktemp("data")
    np.savez(root / "stored.npz", x=XS, y=YS, labels=LABELS)
    save_npz(root / "deflated.npz", x=XS, y=YS, labels=LABELS)
    folder = root / "folder"
    folder.mkdir()
    for number, (start, stop) in enumerate([(0, 1), (1, 6), (6, 8), (8, 13)]):
        part = slice(start, stop)
        save_npz(folder / f"{number}.npz", x=XS[part], y=YS[part], labels=LABELS[part])
    return {
        "stored": root / "stored.npz",
        "deflated": str(root / "deflated.npz"),
        "folder": folder,
        "dict": {"x": XS, "y": YS, "labels": LABELS},
    }


@pytest.mark.parametrize("kind", ["stored", "deflated", "folder", "dict"])
@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 20), start=st.integers(0, 15), stop=st.none() | st.integers(0, 15))
def test_any_batching_gives_the_rows_of_a_slice(
    opened: dict[str, Any], kind: str, size: int, start: int, stop: int | None
) -> None:
    source = open_source(opened[kind], [X, Y])
    assert source.count == COUNT
    batches = list(source.batches(size, start, stop))
    assert np.array_equal(concat(batches), XS[start:stop])
    if batches:
        assert np.array_equal(concat(batches, "y"), YS[start:stop])
        labels = [batch.labels for batch in batches if batch.labels is not None]
        assert np.array_equal(np.concatenate(labels), LABELS[start:stop])
    sizes = [len(batch.feeds["x"]) for batch in batches]
    assert all(found == size for found in sizes[:-1])
    assert all(found <= size for found in sizes)


def test_npy_and_bare_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", XS)
    np.save(tmp_path / "f.npy", np.asfortranarray(XS))
    for data in (tmp_path / "a.npy", tmp_path / "f.npy", XS):
        batches = list(open_source(data, [X]).batches(4))
        assert np.array_equal(concat(batches), XS)
        assert [len(batch.feeds["x"]) for batch in batches] == [4, 4, 4, 1]


def test_big_endian_is_made_native(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", XS.astype(">f4"))
    found = concat(list(open_source(tmp_path / "a.npy", [X]).batches(4)))
    assert np.array_equal(found, XS) and found.dtype.isnative


def test_files_of_different_sample_shapes_stay_apart(tmp_path: Path) -> None:
    save_npz(tmp_path / "a.npz", x=np.zeros((3, 2), np.float32))
    save_npz(tmp_path / "b.npz", x=np.ones((3, 5), np.float32))
    source = open_source(tmp_path, [TensorInfo("x", "float32", ("n", "length"))])
    assert [b.feeds["x"].shape for b in source.batches(2)] == [(2, 2), (1, 2), (2, 5), (1, 5)]


@pytest.mark.parametrize("compressed", [True, False])
def test_memory_does_not_depend_on_the_number_of_samples(tmp_path: Path, compressed: bool) -> None:
    info = [TensorInfo("x", "float32", ("n", 64, 64))]
    save: Callable[..., None] = np.savez_compressed if compressed else np.savez
    peaks = []
    for count in (100, 1000):
        save(tmp_path / f"{count}.npz", x=np.zeros((count, 64, 64), np.float32))
        source = open_source(tmp_path / f"{count}.npz", info)
        tracemalloc.start()
        assert sum(len(batch.feeds["x"]) for batch in source.batches(4)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # 100 samples are 1.6 MB, 1000 are 16 MB; a batch is 64 kB.
    assert peaks[1] < 1.2 * peaks[0]
    assert max(peaks) < 1_500_000


def test_npz_messages(tmp_path: Path) -> None:
    def fails(path: Path, message: str) -> None:
        with pytest.raises(DataError, match=message) as caught:
            list(open_source(path, [X]).batches(4))
        assert "\n" not in str(caught.value)

    path = tmp_path / "a.npz"
    path.write_bytes(b"not a zip")
    fails(path, r"a.npz: cannot be read as an .npz, damaged or cut short")
    np.savez(path, x=np.zeros((500, 2), np.float32))
    path.write_bytes(path.read_bytes()[:2000])
    fails(path, r"a.npz: cannot be read as an .npz, damaged or cut short")
    np.savez(path, x=np.array([1, None]))
    fails(path, r"array 'x' holds Python objects or fields; expected numbers")
    np.savez(path, x=np.zeros(3, [("a", "f4"), ("b", "f4")]))
    fails(path, r"array 'x' holds Python objects or fields; expected numbers")
    with pytest.warns(UserWarning, match="format 3.0"):
        np.savez(path, x=np.zeros(3, [("\u03b1", "f4")]))
    fails(path, r"array 'x' has fields or an unknown format; expected numbers")
    np.savez(path, x=np.asfortranarray(XS))
    fails(path, r"array 'x' is stored in Fortran order.*ascontiguousarray")
    np.savez(path, x=np.float32(3))
    fails(path, r"array 'x' is a single value; its first axis must be samples")
    np.savez(path, x=XS, labels=LABELS[:5])
    fails(path, r"differ in their number of samples \(first axis\): 'x' has 13, 'labels' has 5")
    np.savez(path, x=XS[:0])
    fails(path, r"has no samples \(the first axis has length 0\)")
    np.savez(path)
    fails(path, r"holds no arrays; expected one per model input")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00\x08\x00{'shape'")
    fails(path, r"a.npz: cannot be read as an .npz")


def test_npz_with_a_flipped_bit(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros((50, 2), np.float32))
    content = bytearray(path.read_bytes())
    content[300] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"damaged or cut short: Bad CRC-32"):
        list(open_source(path, [X]).batches(4))


def test_npz_member_shorter_than_its_header_says(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", XS)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", (tmp_path / "a.npy").read_bytes()[:-8])
    with pytest.raises(DataError, match=r"array 'x' ends before its last sample"):
        list(open_source(tmp_path / "a.npz", [X]).batches(4))


def test_npy_messages(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(b"no")
    with pytest.raises(DataError, match=r"a.npy: cannot be read as an .npy of numbers"):
        open_source(path, [X])
    np.save(path, np.array([None]), allow_pickle=True)
    with pytest.raises(DataError, match=r"a.npy: cannot be read as an .npy of numbers"):
        open_source(path, [X])
    np.save(path, XS[:0])
    with pytest.raises(DataError, match=r"has no samples"):
        open_source(path, [X])
    np.save(path, XS)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DataError, match=r"a.npy: cannot be read as an .npy of numbers"):
        open_source(path, [X])
    with path.open("wb") as file:
        np.savez(file, x=XS)
    with pytest.raises(DataError, match=r"is an .npz by its content"):
        open_source(path, [X])
    np.save(path, XS)
    with pytest.raises(DataError, match=r"the model has 2 inputs \(x, y\), so give a dict or an"):
        open_source(path, [X, Y])


def test_npz_folder_with_unlike_files(tmp_path: Path) -> None:
    save_npz(tmp_path / "a.npz", x=XS)
    save_npz(tmp_path / "b.npz", x=XS, labels=LABELS)
    with pytest.raises(DataError, match=r"b.npz: has 'x', 'labels' where .*a.npz has 'x'"):
        open_source(tmp_path, [X])


def test_folders_and_paths_that_are_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has none of these; expected a folder of images"):
        open_source(tmp_path, [X])
    save_npz(tmp_path / "a.npz", x=XS)
    Image.new("RGB", (2, 2)).save(tmp_path / "b.png")
    with pytest.raises(DataError, match=r"has .npz files and images; expected a folder of"):
        open_source(tmp_path, [X])
    with pytest.raises(DataError, match=r"gone.npz: no such file or folder; expected an .npz"):
        open_source("gone.npz", [X])
    with pytest.raises(DataError, match=r"data is an empty text; expected an .npz"):
        open_source("", [X])
    (tmp_path / "c.csv").write_text("1")
    with pytest.raises(DataError, match=r"c.csv: is a .csv file; expected an .npz"):
        open_source(tmp_path / "c.csv", [X])
    with pytest.raises(DataError, match=r"data is a int; expected an .npz.*iterable of dicts"):
        open_source(3, [X])


# ---- images


def make_images(root: Path, count: int = 5, size: tuple[int, int] = (6, 4)) -> Array:
    """``count`` PNGs in ``root``; axes (image, h, w, c)."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, *size, 3)).astype(np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(root / f"{number}.png")
    return pixels


IMAGES = [TensorInfo("x", "float32", ("n", 3, "h", "w"))]


def test_image_folder(tmp_path: Path) -> None:
    pixels = make_images(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "4.png").rename(tmp_path / "sub" / "4.PNG")
    (tmp_path / ".hidden.png").write_text("")
    (tmp_path / "labels.csv").write_text(
        "file,label\nsub/4.PNG,4\n" + "".join(f"{n}.png,{n}\n" for n in range(9))
    )
    source = open_source(tmp_path, IMAGES, preprocess="raw", labels=tmp_path / "labels.csv")
    batches = list(source.batches(2, 1))
    assert np.array_equal(concat(batches), pixels[1:].transpose(0, 3, 1, 2).astype(np.float32))
    labels = [batch.labels for batch in batches if batch.labels is not None]
    assert np.concatenate(labels).tolist() == [1, 2, 3, 4]


def test_images_that_fit_in_memory_are_decoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = make_images(tmp_path)
    read: list[str] = []

    def counted(path: Path, options: Preprocess, where: str) -> Array:
        read.append(path.name)
        return decode(path, options, where)

    monkeypatch.setattr("oq.data.sources.images.decode", counted)
    table = ImageTable(
        "few", tmp_path, find_images(tmp_path), "x", PRESETS["raw"], decoded=DecodedImages(160)
    )
    for _ in range(2):
        found = concat(list(table.take(range(5), 2)))
        assert np.array_equal(found, pixels.transpose(0, 3, 1, 2).astype(np.float32))
    fit = 160 // pixels[0].nbytes
    assert fit == 2 and len(read) == 5 + (5 - fit)
    assert read[5:] == ["2.png", "3.png", "4.png"]


def test_image_messages(tmp_path: Path) -> None:
    make_images(tmp_path)
    with pytest.raises(DataError, match=r"--preprocess FILE.yaml, or one of imagenet, imagenet-tf"):
        open_source(tmp_path, IMAGES)
    two = [*IMAGES, Y]
    with pytest.raises(DataError, match=r"the model has 2 inputs \(x, y\)"):
        open_source(tmp_path, two, preprocess="raw")
    Image.new("RGB", (9, 9)).save(tmp_path / "1.png")
    with pytest.raises(
        DataError, match=r"1.png becomes \(3, 9, 9\) where 0.png becomes \(3, 6, 4\)"
    ):
        list(open_source(tmp_path, IMAGES, preprocess="raw").batches(2))
    sizes = [
        b.feeds["x"].shape[2:] for b in open_source(tmp_path, IMAGES, preprocess="raw").batches(1)
    ]
    assert sizes == [(6, 4), (9, 9), (6, 4), (6, 4), (6, 4)]
    last = [TensorInfo("x", "float32", ("n", 6, 4, 3))]
    with pytest.raises(DataError, match=r"\(1, 3, 6, 4\); the model .*first here \(layout: nhwc"):
        open_source(tmp_path, last, preprocess="raw")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,label\n", r"l.csv: the header is 'name,label'; expected 'file,label'"),
        ("", r"l.csv: the header is ''; expected 'file,label'"),
        ("file,label\n0.png,cat\n", r"l.csv, line 2: the label is 'cat'; expected a class index"),
        ("file,label\n0.png\n", r"l.csv, line 2: the label is None; expected a class index"),
        ("file,label\n0.png,1\n", r"l.csv: no label for 4 of 5 images, the first is 1.png"),
    ],
)
def test_label_messages(tmp_path: Path, text: str, message: str) -> None:
    make_images(tmp_path)
    path = tmp_path / "l.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        open_source(tmp_path, IMAGES, preprocess="raw", labels=path)


def test_labels_go_with_images(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("file,label\n")
    with pytest.raises(OptionError, match=r"labels: a CSV of labels goes with a folder of images"):
        open_source(XS, [X], labels=tmp_path / "l.csv")
    save_npz(tmp_path / "a.npz", x=XS)
    with pytest.raises(OptionError, match=r"folder of images; .* has .npz files"):
        open_source(tmp_path, [X], labels=tmp_path / "l.csv")
    folder = tmp_path / "images"
    folder.mkdir()
    make_images(folder)
    with pytest.raises(DataError, match=r"gone.csv: cannot be read as a labels CSV"):
        open_source(folder, IMAGES, preprocess="raw", labels=tmp_path / "gone.csv")


def test_uint8_arrays_are_preprocessed(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 6, 4, 3)).astype(np.uint8)
    np.savez(tmp_path / "a.npz", x=pixels)
    expected = (pixels.astype(np.float64) / 255).astype(np.float32).transpose(0, 3, 1, 2)
    for data in (tmp_path / "a.npz", {"x": pixels}, [{"x": pixels}]):
        source = open_source(data, IMAGES, preprocess="unit")
        assert np.array_equal(concat(list(source.batches(2))), expected)
    with pytest.raises(DataError, match=r"preprocessing needs uint8 images .*; found 'x': float32"):
        open_source({"x": expected}, IMAGES, preprocess="unit")


@needs_real
def test_real_npz() -> None:
    path = CIFAR / "eval.npz"
    source = open_source(path, [TensorInfo("input", "float32", ("batch", 3, 32, 32))])
    with np.load(path, allow_pickle=False) as whole:
        images, labels = whole["input"], whole["labels"]
    assert source.count == len(images)
    at = 0
    for batch in source.batches(64):
        count = len(batch.feeds["input"])
        assert np.array_equal(batch.feeds["input"], images[at : at + count])
        assert batch.labels is not None
        assert np.array_equal(batch.labels, labels[at : at + count])
        at += count
    assert at == len(images)
