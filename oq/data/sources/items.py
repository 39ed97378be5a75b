"""Complete feeds from Python: iterables, data loaders, calibration readers, callables."""

import hashlib
import importlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from oq.data.sources.arrays import hash_arrays
from oq.data.sources.kept import Kept
from oq.data.sources.layout import LABELS, lay_out, required
from oq.data.sources.streams import Items
from oq.errors import DataError, one_line
from oq.imports import current_folder_importable
from oq.numerics.values import Array, Batch, TensorInfo

REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
"""``package.module:callable``"""

NO_REWIND = "{} has no rewind(): its feeds were kept from the first pass for the others"


def to_array(value: Any, name: str) -> Array:
    """``value`` as an array; a torch tensor is recognized by its methods, without importing torch.

    Raises:
        DataError: not something NumPy makes numbers of.
    """
    try:
        if hasattr(value, "detach"):
            value = value.detach().cpu().numpy()
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: cannot be made an array of numbers: {one_line(error)}") from error
    if array.dtype.hasobject and all(isinstance(v, str) for v in array.flat):
        return array.astype(np.str_)
    if array.dtype.hasobject:
        raise DataError(f"{name}: found {type(value).__name__}; expected numbers or strings")
    return array


def convert_item(item: Any, name: str, inputs: Sequence[TensorInfo]) -> Batch:
    """One item as a batch: a dict, an array, or a tuple ``(input, ..., labels)``.

    A dict has the input names as keys and optionally ``labels``.  A tuple or list has the inputs in
    the model's order, with or without labels at the end; ``(dict, labels)`` is accepted too.  A
    single array feeds a model with one input.

    Raises:
        DataError: any other item, or labels that do not go with the feeds.
    """
    labels: Array | None = None
    if isinstance(item, (tuple, list)):
        if len(item) == 2 and isinstance(item[0], Mapping):
            item, labels = item[0], to_array(item[1], f"{name}: the labels")
        else:
            item, labels = _name_tuple(item, name, inputs)
    elif not isinstance(item, Mapping):
        item = {name_input(name, inputs): item}
    arrays = {str(key): to_array(value, f"{name}: {key!r}") for key, value in item.items()}
    if labels is None and LABELS not in {info.name for info in inputs}:
        labels = arrays.pop(LABELS, None)
    batch = lay_out(Batch(arrays, labels), inputs)
    count = batch.rows
    if labels is not None and count is not None and labels.shape[:1] != (count,):
        raise DataError(
            f"{name}: labels have shape {labels.shape}; expected ({count},), one per sample"
        )
    return batch


def _name_tuple(
    item: Sequence[Any], name: str, inputs: Sequence[TensorInfo]
) -> tuple[dict[str, Any], Array | None]:
    """The values of a tuple by input name, and the labels where there is one value more."""
    inputs = required(inputs)
    extra = len(item) - len(inputs)
    if extra not in (0, 1):
        raise DataError(
            f"{name}: an item has {len(item)} values; expected {len(inputs)} for the inputs"
            f" {_names(inputs)}, and optionally labels"
        )
    labels = to_array(item[-1], f"{name}: the labels") if extra else None
    return dict(zip((i.name for i in inputs), item, strict=False)), labels


def _names(inputs: Sequence[TensorInfo]) -> str:
    return ", ".join(info.name for info in inputs)


def name_input(name: str, inputs: Sequence[TensorInfo]) -> str:
    """The input name for an array without a name.

    Raises:
        DataError: the model has several inputs.
    """
    inputs = required(inputs)
    if len(inputs) != 1:
        raise DataError(
            f"{name}: an array without a name; the model has {len(inputs)} inputs"
            f" ({_names(inputs)}), so give a dict or an .npz with these keys"
        )
    return inputs[0].name


class Once:
    """Opens an iterator that can be read one single time."""

    def __init__(self, iterator: Iterator[Any], name: str) -> None:
        self._iterator: Iterator[Any] | None = iterator
        self._name = name

    def __call__(self) -> Iterator[Any]:
        if self._iterator is None:
            raise DataError(
                f"{self._name}: can be read only once and is needed again; give a list, or a"
                " function that makes a new one each time it is called"
            )
        iterator, self._iterator = self._iterator, None
        return iterator


class _Reader:
    """Opens an onnxruntime CalibrationDataReader: ``get_next`` until None, ``rewind`` between."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader
        self._fresh = True

    def __call__(self) -> Iterator[Any]:
        if not self._fresh:
            self._reader.rewind()
        self._fresh = False
        return iter(self._reader.get_next, None)


def _open_any(value: Any, name: str) -> Iterator[Any]:
    """A fresh iterator over a reader or an iterable."""
    if hasattr(value, "get_next"):
        return iter(value.get_next, None)
    if not isinstance(value, Iterable):
        raise DataError(f"{name}: gave {type(value).__name__}; expected an iterable of dicts")
    return iter(value)


def stream_reader(reader: Any, inputs: Sequence[TensorInfo]) -> Items:
    """The feeds of an onnxruntime CalibrationDataReader; those of one that cannot ``rewind``, as
    its base class cannot, are kept (:mod:`oq.data.sources.kept`)."""
    name = type(reader).__name__
    convert = partial(convert_item, name=name, inputs=inputs)
    if hasattr(reader, "rewind"):
        return Items(name, _Reader(reader), convert)

    def take() -> Batch | None:
        item = reader.get_next()
        return None if item is None else convert(item)

    return Items(name, Kept(take), lambda batch: batch, note=NO_REWIND.format(name))


def stream_iterable(data: Iterable[Any], inputs: Sequence[TensorInfo]) -> Items:
    """The items of an iterable: a list, a generator, a torch DataLoader.

    A list or tuple is counted and can be fingerprinted; anything else is only read when needed.
    """
    name = type(data).__name__
    convert = partial(convert_item, name=name, inputs=inputs)
    if isinstance(data, (list, tuple)):
        sizes = tuple(convert(item).samples or 1 for item in data)
        return Items(name, partial(iter, data), convert, sizes, partial(_hash_items, data, convert))
    iterator = iter(data)
    if iterator is data:
        return Items(name, Once(iterator, name), convert, again=False)
    return Items(name, partial(iter, data), convert)


def _hash_items(data: Sequence[Any], convert: Callable[[Any], Batch]) -> str:
    digest = hashlib.sha256()
    for batch in map(convert, data):
        labels = {} if batch.labels is None else {LABELS: batch.labels}
        digest.update(hash_arrays({**batch.feeds, **labels}).encode())
    return digest.hexdigest()


def stream_callable(make: Callable[[], Any], name: str, inputs: Sequence[TensorInfo]) -> Items:
    """The items of ``make()``, which is called again every time the data is read."""

    def open_anew() -> Iterator[Any]:
        # The function is the user's, so what it raises is for the user to act on.
        try:
            yield from _open_any(make(), name)
        except DataError:
            raise
        except Exception as error:
            raise DataError(f"{name}: raised {type(error).__name__}: {one_line(error)}") from error

    return Items(name, open_anew, partial(convert_item, name=name, inputs=inputs))


def import_callable(reference: str) -> Callable[[], Any]:
    """The object ``package.module:callable``; the module may be in the current folder.

    Raises:
        DataError: the module cannot be imported, or has no such callable.
    """
    module_name, _, path = reference.partition(":")
    try:
        with current_folder_importable():
            found: Any = importlib.import_module(module_name)
    except Exception as error:
        raise DataError(
            f"{reference}: importing {module_name} raised {type(error).__name__}: {one_line(error)}"
        ) from error
    for part in path.split("."):
        if not hasattr(found, part):
            raise DataError(f"{reference}: {module_name} has no {path!r}")
        found = getattr(found, part)
    if not callable(found):
        raise DataError(f"{reference}: is a {type(found).__name__}; expected a function")
    make: Callable[[], Any] = found
    return make
