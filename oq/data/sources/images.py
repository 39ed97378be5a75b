"""A folder of images as rows, decoded on demand, and their labels from a CSV."""

import csv
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from oq.data.preprocess import Preprocess
from oq.data.sources.arrays import hash_files
from oq.data.sources.batches import chunk
from oq.data.sources.pixels import DecodedImages, decode, encode, fit, is_gray
from oq.errors import DataError, one_line
from oq.numerics.values import Array, Batch

SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)


def find_images(root: Path) -> tuple[str, ...]:
    """The images below ``root``, subfolders included, as sorted paths relative to it."""
    found = (
        path.relative_to(root)
        for path in root.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file()
    )
    return tuple(sorted(p.as_posix() for p in found if not any(q.startswith(".") for q in p.parts)))


LOOKED_AT = 256
"""Images whose headers are read beforehand, spread over all."""


def gray_note(root: Path, files: Sequence[str]) -> str:
    """What to say of gray images where colour is expected; "" where there are none."""
    some = files[:: max(1, len(files) // LOOKED_AT)]
    gray = sum(is_gray(root / file) for file in some)
    if not gray:
        return ""
    return f"{gray} of {len(some)} images are gray: their one channel is repeated for RGB"


@dataclass(frozen=True, slots=True)
class ImageTable:
    """Images by name; ``labels`` has axes (image,)."""

    name: str
    root: Path
    files: tuple[str, ...]
    feed: str
    preprocess: Preprocess
    labels: Array | None = None
    decoded: DecodedImages = field(default_factory=DecodedImages, repr=False, compare=False)

    @property
    def count(self) -> int:
        return len(self.files)

    def take(self, rows: Iterable[int], size: int) -> Iterator[Batch]:
        for part in chunk(rows, size):
            pixels = self._stack([self.files[row] for row in part])
            labels = None if self.labels is None else self.labels[list(part)]
            yield Batch({self.feed: pixels}, labels)

    def _stack(self, files: list[str]) -> Array:
        images = [self._read(file) for file in files]
        for file, image in zip(files, images, strict=True):
            if image.shape != images[0].shape:
                raise DataError(
                    f"{self.name}: {file} becomes {image.shape} where {files[0]} becomes"
                    f" {images[0].shape}; images of different sizes need 'resize' and 'crop' in"
                    " the preprocessing, or --batch-size 1 where the model takes any size"
                )
        return np.stack(images)

    def _read(self, file: str) -> Array:
        return encode(self.decoded.get(file, lambda: self._decode(file)), self.preprocess)

    def _decode(self, file: str) -> Array:
        where = f"{self.name}: {file}"
        return fit(decode(self.root / file, self.preprocess, where), self.preprocess, where)

    def locate(self, row: int) -> str:
        return self.files[row]

    def digest(self) -> str:
        labels = b"" if self.labels is None else self.labels.tobytes()
        pixels = f"{hash_files(self.root, self.files)} {self.preprocess!r}".encode()
        return hashlib.sha256(pixels + labels).hexdigest()


def read_labels(path: Path, files: Iterable[str]) -> Array:
    """The class index of each file, from a CSV with the header ``file,label``; axes (file,).

    Rows for other files are ignored: one CSV may serve several folders.

    Raises:
        DataError: another header, a label that is no integer, or a file without a label.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            table = _read_rows(path.name, lines)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path.name}: cannot be read as a labels CSV: {one_line(error)}"
        ) from error
    files = list(files)
    missing = [file for file in files if file not in table]
    if missing:
        raise DataError(
            f"{path.name}: no label for {len(missing)} of {len(files)} images, the first is"
            f" {missing[0]}; expected a row 'file,label' for each"
        )
    return np.array([table[file] for file in files], dtype=np.int64)


def _read_rows(name: str, lines: Iterable[str]) -> Mapping[str, int]:
    """File name to label."""
    reader = csv.DictReader(lines)
    if reader.fieldnames is None or not {"file", "label"} <= set(reader.fieldnames):
        found = ",".join(reader.fieldnames or ())
        raise DataError(f"{name}: the header is {found!r}; expected 'file,label'")
    table: dict[str, int] = {}
    for row in reader:
        try:
            table[row["file"]] = int(row["label"])
        except (TypeError, ValueError):
            raise DataError(
                f"{name}, line {reader.line_num}: the label is {row['label']!r}; expected a class"
                " index, an integer"
            ) from None
    return table
