"""Checks that a batch fits the model: names, rank, sizes, type, finite values, one message for
each.

Types are converted only within their kind and only if every value fits: float64 to float32, int32
to int64.  uint8 to float32 is refused: it nearly always means pixels that were not divided by 255,
which calibration would not notice.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from oq.data.preprocess import list_presets
from oq.data.sources.layout import LABELS, is_size, required
from oq.errors import DataError
from oq.numerics.values import FLOAT_DTYPES, STRING, Array, Batch, Shape, TensorInfo

_log = logging.getLogger(__name__)

LABEL_AXES = (1, 3, 4)
"""Numbers of axes that labels may have: (sample,), (sample, height, width), and one more."""


@dataclass(frozen=True, slots=True)
class Place:
    """The origin of a batch, for messages: the data, the number of its first sample, the word for a
    sample."""

    name: str
    first: int
    locate: Callable[[int], str]


def fit_batch(batch: Batch, inputs: Sequence[TensorInfo], place: Place, regrouped: bool) -> Batch:
    """``batch`` with the feeds in the model's order and types.

    ``regrouped``: the batch will be regrouped to the model's fixed size, so its own number of
    samples does not matter.

    Raises:
        DataError: the batch does not fit; see the module.
    """
    _check_names(batch.feeds, inputs, place.name)
    count = batch.rows
    if count == 0:
        raise DataError(f"{place.name}: {place.locate(place.first)} is a batch without samples")
    if batch.labels is not None and (
        batch.labels.ndim not in LABEL_AXES or count not in (None, len(batch.labels))
    ):
        raise DataError(
            f"{place.name}: labels have shape {batch.labels.shape}; expected one per sample,"
            f" ({'samples' if count is None else count},), or one per pixel, (sample, height,"
            " width)"
        )
    free = regrouped and count is not None
    feeds = {
        info.name: _fit_array(
            batch.feeds[info.name], info, place, free and info.name not in batch.alike
        )
        for info in inputs
        if info.name in batch.feeds
    }
    return Batch(feeds, batch.labels, batch.alike)


def _check_names(feeds: Mapping[str, Array], inputs: Sequence[TensorInfo], name: str) -> None:
    wanted = [info.name for info in required(inputs)]
    if not set(wanted) <= set(feeds) <= {info.name for info in inputs}:
        found = ", ".join(map(repr, feeds)) or "nothing"
        raise DataError(
            f"{name}: has {found} where the model's inputs are"
            f" {', '.join(map(repr, wanted))}; expected exactly these names"
            f"{_renaming(feeds, inputs)}"
        )


def _renaming(feeds: Mapping[str, Array], inputs: Sequence[TensorInfo]) -> str:
    """How to say which array is for which input, where there are some of both."""
    free = [info.name for info in required(inputs) if info.name not in feeds]
    others = [name for name in feeds if name not in {info.name for info in inputs}]
    if not free or len(others) < len(free):
        return ""
    flags = " ".join(f"--rename {i}={a}" for i, a in zip(free, others, strict=False))
    labels = f" --rename {LABELS}={others[-1]}" if len(others) == len(free) + 1 else ""
    return f", or say which is which: {flags}{labels}"


def _fit_array(array: Array, info: TensorInfo, place: Place, free: bool) -> Array:
    """One feed, checked and of the model's type; ``free`` leaves the first axis unchecked."""
    if info.shape is not None:
        _check_shape(array, info.name, info.shape, place, free)
    _check_finite(array, info.name, place)
    if info.dtype is not None:
        array = _fit_dtype(array, info.name, info.dtype, place)
    # A plain array in C order, whatever it is a view of: sessions bind its memory.
    return np.asarray(array, order="C")


def _write_shape(shape: Shape) -> str:
    words = [str(axis) if is_size(axis) or isinstance(axis, str) else "?" for axis in shape]
    return f"({', '.join(words)}{',' if len(words) == 1 else ''})"


def _fits(found: tuple[int, ...], wanted: Shape) -> bool:
    return len(found) == len(wanted) and all(
        not is_size(want) or have == want for have, want in zip(found, wanted, strict=True)
    )


def _check_shape(array: Array, key: str, shape: Shape, place: Place, free: bool) -> None:
    wanted = (None, *shape[1:]) if free and shape else shape
    found = array.shape
    if _fits(found, wanted):
        return
    hint = ""
    if len(found) == len(shape) - 1:
        hint = "; the first axis must be the samples"
    elif len(found) == 4 and _fits((found[0], found[3], found[1], found[2]), wanted):
        hint = "; the channels come last here (layout: nchw, or transpose the array)"
    elif len(found) == 4 and _fits((found[0], found[2], found[3], found[1]), wanted):
        hint = "; the channels come first here (layout: nhwc, or transpose the array)"
    else:
        hint = _image_hint(found, wanted)
    raise DataError(
        f"{place.name}: input {key!r} has shape {found}; the model expects"
        f" {_write_shape(shape)}{hint}"
    )


def _image_hint(found: tuple[int, ...], wanted: Shape) -> str:
    """Which keys of --preprocess FILE.yaml make images (sample, channel, height, width) fit."""
    if len(found) != 4 or len(wanted) != 4 or found[1] not in (1, 3):
        return ""
    keys = []
    if wanted[1] in (1, 3) and wanted[1] != found[1]:
        keys.append("colour: gray" if wanted[1] == 1 else "colour: rgb")
    size = [axis for axis in wanted[2:] if isinstance(axis, int) and axis > 0]
    if len(size) == 2 and tuple(size) != found[2:]:
        keys.append(f"resize: {round(RESIZED * min(size))}, crop: {size}")
    return (
        f"; images fit with {' and '.join(keys)} in --preprocess FILE.yaml (with preset: NAME)"
        if keys
        else ""
    )


def _check_finite(array: Array, key: str, place: Place) -> None:
    if array.dtype.name not in FLOAT_DTYPES:
        return
    finite = np.isfinite(array)
    if finite.all():
        return
    bad = int(array.size - np.count_nonzero(finite))
    row = int(np.argwhere(~finite)[0][0]) if array.ndim else 0
    raise DataError(
        f"{place.name}: input {key!r} has {bad} values that are NaN or infinite, the first in"
        f" {place.locate(place.first + row)}; expected finite values"
    )


RESIZED = 256 / 224
"""The shorter side of an image over its crop, as most classifiers of ImageNet are evaluated."""

_ADVICE = {
    (
        "u",
        "f",
    ): f"pixels need preprocessing first: --preprocess FILE.yaml, or one of {list_presets()}",
    ("i", "f"): "convert it yourself if these are the values the model was trained on",
    ("f", "u"): "convert it yourself, rounded as the model was trained with",
    ("f", "i"): "convert it yourself, rounded as the model was trained with",
}
"""What to do, by the kind of number found and the kind expected."""


def _fit_dtype(array: Array, key: str, wanted: str, place: Place) -> Array:
    """``array`` as ``wanted``, within its kind and changing values by rounding only."""
    if array.dtype.name == wanted and array.dtype.isnative:
        return array
    if wanted == STRING and array.dtype.kind == "U":
        return array
    head = f"{place.name}: input {key!r} is {array.dtype.name}; the model expects {wanted}"
    try:
        dtype = np.dtype(wanted)
    except TypeError:
        # NumPy itself has no bfloat16.
        raise DataError(head) from None
    kinds = (array.dtype.kind, dtype.kind)
    if kinds[0] != kinds[1] and not set(kinds) <= {"i", "u"}:
        raise DataError(f"{head}; {_ADVICE.get(kinds, 'give it in that type')}")
    if kinds[1] in "iu":
        limits = np.iinfo(dtype)
        fits = array.size == 0 or (array.min() >= limits.min and array.max() <= limits.max)
        converted = array.astype(dtype)
    else:
        with np.errstate(over="ignore"):
            converted = array.astype(dtype)
        fits = dtype.name not in FLOAT_DTYPES or bool(np.isfinite(converted).all())
    if not fits:
        raise DataError(
            f"{head}, which cannot hold {array.min()}..{array.max()}; the first samples are at"
            f" {place.locate(place.first)}"
        )
    if place.first == 0:
        _log.info("%s, converted as every value fits", head)
    return converted
