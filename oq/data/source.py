"""Calibration and evaluation data from any supported source, as batches that fit the model.

    source = open_source("calib.npz", inputs)
    for batch in source.batches(8):
        ...

Everything streams: no source is ever loaded as a whole, and memory depends only on the batch.
"""

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from oq.data.preprocess import Preprocess, list_presets, read_preprocess
from oq.data.sampling import random_source, split, subset
from oq.data.sources.arrays import make_table, open_npy
from oq.data.sources.fitted import Fitted, Source, fingerprint, has_labels
from oq.data.sources.images import ImageTable, find_images, gray_note, read_labels
from oq.data.sources.items import (
    REFERENCE,
    Once,
    import_callable,
    name_input,
    stream_callable,
    stream_iterable,
    stream_reader,
    to_array,
)
from oq.data.sources.layout import fixed_batch, required
from oq.data.sources.names import read_names
from oq.data.sources.npz import open_npz, open_npz_folder
from oq.data.sources.streams import Chosen, Items, Rows
from oq.data.sources.testsets import find_sets, stream_sets
from oq.distributed.blocks import is_dataset, open_dataset
from oq.errors import DataError, OptionError
from oq.numerics.values import Array, TensorInfo

__all__ = [
    "Data",
    "Fitted",
    "Source",
    "fingerprint",
    "fixed_batch",
    "has_labels",
    "open_source",
    "random_source",
    "split",
    "subset",
]


class Reader(Protocol):
    """onnxruntime's CalibrationDataReader."""

    def get_next(self) -> Any:
        """The next feeds, None at the end."""


Data: TypeAlias = (
    str
    | os.PathLike[str]
    | Array
    | Mapping[str, Any]
    | Iterable[Any]
    | Reader
    | Fitted
    | Callable[[], Iterable[Any] | Reader]
)
"""What :func:`open_source` takes."""

_log = logging.getLogger(__name__)

ACCEPTED = (
    "an .npz, an .npy, a folder of images, of .npz or of test_data_set_*,"
    " or package.module:callable"
)


def open_source(
    data: object,
    inputs: Sequence[TensorInfo],
    *,
    preprocess: Preprocess | str | Path | None = None,
    labels: str | Path | None = None,
    rename: Mapping[str, str] | None = None,
) -> Fitted:
    """The samples in ``data`` for a model with ``inputs``.

    ``data`` is one of

    * an ``.npz``: keys are input names, optionally ``labels``;
    * an ``.npy``, for a model with one input;
    * a folder of images (``preprocess``; ``labels`` a CSV ``file,label``), of ``.npz`` files, of
      ONNX ``test_data_set_*`` folders, or one such folder;
    * ``package.module:callable``, or a callable, giving an iterable of feeds, called anew each
      time the data is read;
    * an array, a dict of arrays, an iterable of feeds (a list, a generator, a torch DataLoader),
      an onnxruntime CalibrationDataReader;
    * a ``ray.data.Dataset``, whose columns are called as the inputs are;
    * a source that was opened before.

    Where arrays hold samples, :mod:`oq.data.sources.layout` says.

    ``preprocess`` also applies to uint8 images in arrays.  ``rename``: input, or ``labels`` -> the
    array that is for it, where the names differ (:mod:`oq.data.sources.names`).  What can be read
    again at no cost is checked against the model here, with its first batch; everything else while
    it is read.

    Raises:
        DataError: the data cannot be read or does not fit the model.
        OptionError: ``preprocess``, ``labels`` or ``rename`` make no sense here.
        MissingExtra: images without Pillow.
    """
    options = None if preprocess is None else read_preprocess(preprocess)
    names = read_names(rename, inputs)
    if isinstance(data, Fitted) and not rename:
        names = data.names
    stream, options = _open_stream(data, names.called(inputs), options, labels)
    optional, several = len(required(inputs)) < len(inputs), len(required(inputs)) > 1
    if optional or not (several or isinstance(data, Fitted)):
        stream, fed = _fed(stream)
        if not isinstance(data, Fitted):
            names = names.with_lone(fed, inputs)
        pairs = zip(inputs, names.called(inputs), strict=True)
        inputs = [info for info, own in pairs if not info.optional or own.name in fed]
    if names.note:
        _log.info("%s: %s", stream.name, names.note)
    source = Fitted(stream, tuple(inputs), options, names)
    if stream.count is not None:
        _check_first(source)
    return source


Stream: TypeAlias = Rows | Items | Chosen


def _open_stream(
    data: object,
    inputs: Sequence[TensorInfo],
    options: Preprocess | None,
    labels: str | Path | None,
) -> tuple[Stream, Preprocess | None]:
    """The stream of ``data``, and the preprocessing still to be applied."""
    if isinstance(data, str) and not data:  # as a path that is the current folder
        raise DataError(f"data is an empty text; expected {ACCEPTED}")
    folder = Path(data) if isinstance(data, (str, os.PathLike)) else None
    if labels is not None and (folder is None or not folder.is_dir()):
        raise OptionError(
            "labels: a CSV of labels goes with a folder of images; arrays have theirs under the"
            " key 'labels' (--rename labels=NAME for another)"
        )
    if folder is not None and folder.is_dir():
        return _open_folder(folder, inputs, options, None if labels is None else Path(labels))
    if isinstance(data, Fitted):
        return data.stream, data.preprocess if options is None else options
    if isinstance(data, (str, os.PathLike)):
        return _open_file(os.fspath(data), inputs), options
    return _open_object(data, inputs), options


def _fed(stream: Stream) -> tuple[Stream, frozenset[str]]:
    """The names in the first feed, and the stream that still has that feed."""
    if isinstance(stream, Items) and not stream.again:
        items = stream.open()
        first = next(items, None)
        names = () if first is None else stream.convert(first).feeds
        whole = iter(()) if first is None else chain([first], items)
        return replace(stream, open=Once(whole, stream.name)), frozenset(names)
    found = next(stream.read(1, 0, 1), None)
    return stream, frozenset() if found is None else frozenset(found[1].feeds)


def _check_first(source: Fitted) -> None:
    """Read the first batch, so that data of the wrong kind is refused before any work is done."""
    for _ in source.batches(1):
        return


def _open_file(text: str, inputs: Sequence[TensorInfo]) -> Rows | Items:
    path = Path(text)
    openers: dict[str, Callable[[], Rows]] = {
        ".npz": lambda: Rows(open_npz(path, text, inputs)),
        ".npy": lambda: Rows(open_npy(path, text, name_input(text, inputs), inputs)),
    }
    if path.is_file():
        if path.suffix.lower() not in openers:
            raise DataError(f"{text}: is a {path.suffix or 'nameless'} file; expected {ACCEPTED}")
        return openers[path.suffix.lower()]()
    if REFERENCE.fullmatch(text):
        return stream_callable(import_callable(text), text, inputs)
    raise DataError(f"{text}: no such file or folder; expected {ACCEPTED}")


def _open_folder(
    root: Path, inputs: Sequence[TensorInfo], options: Preprocess | None, labels: Path | None
) -> tuple[Rows | Items, Preprocess | None]:
    """The stream of a folder by what it holds, and the preprocessing still to be applied."""
    name = str(root)
    sets, arrays, images = find_sets(root), sorted(root.glob("*.npz")), find_images(root)
    kinds = {"test data sets": sets, ".npz files": arrays, "images": images}
    found = [kind for kind, members in kinds.items() if members]
    if len(found) != 1:
        words = " and ".join(found) or "none of these"
        raise DataError(
            f"{name}: has {words}; expected a folder of images, of .npz files or of test_data_set_*"
        )
    if labels is not None and not images:
        raise OptionError(
            f"labels: a CSV of labels goes with a folder of images; {name} has {found[0]}"
        )
    if sets:
        return stream_sets(root, sets, name, inputs), options
    if arrays:
        return Rows(open_npz_folder(root, name, inputs)), options
    if options is None:
        raise DataError(
            f"{name}: a folder of images needs the preprocessing of the model's training: "
            "--preprocess"
            f" FILE.yaml, or one of {list_presets()}"
        )
    feed = name_input(name, inputs)
    known = None if labels is None else read_labels(labels, images)
    note = "" if options.colour == "gray" else gray_note(root, images)
    return Rows(ImageTable(name, root, images, feed, options, known), note=note), None


def _open_object(data: Any, inputs: Sequence[TensorInfo]) -> Rows | Items:
    """The stream of a Python object."""
    kind = type(data).__name__
    if is_dataset(data):
        return Rows(open_dataset(data, [info.name for info in required(inputs)]))
    if isinstance(data, Mapping):
        arrays = {str(key): to_array(value, f"{kind}: {key!r}") for key, value in data.items()}
        return Rows(make_table(kind, arrays, inputs))
    if isinstance(data, np.ndarray) or hasattr(data, "detach"):
        return Rows(make_table(kind, {name_input(kind, inputs): to_array(data, kind)}, inputs))
    if hasattr(data, "get_next"):
        return stream_reader(data, inputs)
    if isinstance(data, Iterable):
        return stream_iterable(data, inputs)
    if callable(data):
        return stream_callable(data, getattr(data, "__name__", kind), inputs)
    raise DataError(f"data is a {kind}; expected {ACCEPTED}, arrays, or an iterable of dicts")
