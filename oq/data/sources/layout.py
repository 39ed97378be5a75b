"""Where arrays hold samples: one rule for files, folders of feeds, arrays and what Python yields.

A **feed** is what the model takes at a time: one array per input, in the input's own shape.  A set
of arrays (an ``.npz``, a dict, one item of an iterable) holds one feed or many, by its axes:

* an array with **one axis more** than its input has one entry per sample in front;
* an array with the **input's own axes** has its samples along the first one, where that is the
  model's samples' axis;
* any other goes to every sample alike: a scalar, or a state or cache in its own shape.

A model has a **samples' axis** if the first axes of its inputs (scalars aside) are all free, or
all of one fixed size, or free and 1.  In another model (``input[1,512]``, ``state[2,1,128]``) an
array with its input's own axes has its samples along the first one if that is declared 1 and is
not, or free and as long as the other arrays say; else it is a part of one complete feed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from oq.errors import DataError
from oq.numerics.values import Array, Batch, Shape, TensorInfo

LABELS = "labels"
"""The key of the labels, unless the model has an input with that name."""

Sizes = tuple[int, ...]


def is_size(axis: int | str | None) -> bool:
    """Whether an axis is fixed: some exporters write 0 or -1 for a free one."""
    return isinstance(axis, int) and axis > 0


def fixed_batch(inputs: Iterable[TensorInfo]) -> int | None:
    """The fixed size of the model's samples' axis; None if it is free, or if there is none.

    >>> fixed_batch([TensorInfo("x", "float32", (1, 3, 8, 8)), TensorInfo("n", "int64", ("n",))])
    1
    """
    firsts = {info.shape[0] for info in inputs if info.shape}
    sizes = {first for first in firsts if isinstance(first, int) and first > 0}
    return sizes.pop() if sizes == {1} or (len(sizes) == 1 and len(firsts) == 1) else None


def has_samples_axis(inputs: Iterable[TensorInfo]) -> bool:
    """Whether the first axis of all inputs that have one counts samples."""
    known = tuple(inputs)
    fixed = any(is_size(info.shape[0]) for info in known if info.shape)
    return not fixed or fixed_batch(known) is not None


@dataclass(frozen=True, slots=True)
class Layout:
    """Of a set of arrays by name: the length of the first axis of those that have one for samples
    (0: a value without axes), and those that go to every sample ``alike``."""

    counts: Mapping[str, int]
    alike: frozenset[str]


def required(inputs: Sequence[TensorInfo]) -> tuple[TensorInfo, ...]:
    """The inputs that every feed has."""
    return tuple(info for info in inputs if not info.optional)


def lone_array(names: Iterable[str], inputs: Sequence[TensorInfo]) -> str | None:
    """The only one of ``names`` beside the labels, where the model takes one input and none has its
    name.

    >>> lone_array(["x", "labels"], [TensorInfo("input", "float32", ("n", 3))])
    'x'
    """
    arrays = [name for name in names if name != LABELS]
    known = {info.name for info in inputs}
    if len(arrays) != 1 or len(required(inputs)) != 1 or known & {*arrays, LABELS}:
        return None
    return arrays[0]


def find_layout(shapes: Mapping[str, Sizes], inputs: Sequence[TensorInfo]) -> Layout:
    """The layout of arrays of these ``shapes``; names without an input count along their first
    axis."""
    fed = [info for info in inputs if not info.optional or info.name in shapes]
    declared = {info.name: info.shape for info in fed}
    lone = lone_array(shapes, inputs)
    if lone is not None:
        declared[lone] = required(inputs)[0].shape
    common = has_samples_axis(fed)
    kinds = {key: _kind(shape, declared.get(key), common) for key, shape in shapes.items()}
    counts = {key: shape[0] if shape else 0 for key, shape in shapes.items()}
    decided = {counts[key] for key, kind in kinds.items() if kind in ("rows", "stacked")}
    open_ones = [key for key, kind in kinds.items() if kind == "open"]
    torn = not decided and _contradict(shapes, declared)
    for key in open_ones:
        kinds[key] = "rows" if torn or decided == {counts[key]} else "alike"
    counted = {key: counts[key] for key, kind in kinds.items() if kind in ("rows", "stacked")}
    if len(set(counted.values())) > 1:  # what fits as it is goes to every sample
        whole = {k for k in counted if kinds[k] == "rows" and _is_whole(shapes[k], declared.get(k))}
        kinds |= dict.fromkeys(whole if whole != set(counted) else (), "alike")
    alike = frozenset(key for key, kind in kinds.items() if kind == "alike")
    return Layout({key: counts[key] for key in kinds if key not in alike}, alike)


def _kind(shape: Sizes, own: Shape | None, common: bool) -> str:
    """rows, stacked, alike, or open: rows if other arrays say so."""
    if own is None:
        return "rows"
    if len(shape) == len(own) + 1:
        return "stacked"
    if not own and not shape:
        return "alike"
    if common or not shape or len(shape) != len(own):
        return "rows"
    if not is_size(own[0]):
        return "open"
    return "rows" if own[0] == 1 and shape[0] != 1 else "alike"


def _is_whole(shape: Sizes, own: Shape | None) -> bool:
    return bool(own and shape and len(own) == len(shape) and shape[0] == own[0])


def _is_one_feed(shapes: Mapping[str, Sizes], declared: Mapping[str, Shape | None]) -> bool:
    """Whether arrays of ``shapes`` can be what the model takes at a time."""
    fits = (
        len(own) == len(shapes[key])
        and all(not is_size(a) or a == b for a, b in zip(own, shapes[key], strict=True))
        for key, own in declared.items()
        if own is not None and key in shapes
    )
    return all(fits) and not _contradict(shapes, declared)


def _contradict(shapes: Mapping[str, Sizes], declared: Mapping[str, Shape | None]) -> bool:
    """Whether an axis name would have two sizes if ``shapes`` were one feed."""
    sizes: dict[str, set[int]] = {}
    for key, shape in shapes.items():
        own = declared.get(key) or ()
        if len(own) == len(shape):
            for axis, size in zip(own, shape, strict=True):
                if isinstance(axis, str):
                    sizes.setdefault(axis, set()).add(size)
    return any(len(found) > 1 for found in sizes.values())


def count_samples(name: str, shapes: Mapping[str, Sizes], layout: Layout) -> int:
    """The number of samples of a table of arrays; 1 for one complete feed.

    Raises:
        DataError: no arrays, an array without axes, counts that differ, or no samples.
    """
    if not shapes:
        raise DataError(f"{name}: holds no arrays; expected one per model input")
    for key in layout.counts:
        if not shapes[key]:
            raise DataError(
                f"{name}: array {key!r} is a single value; its first axis must be samples"
            )
    if len(set(layout.counts.values())) > 1:
        found = ", ".join(f"{key!r} has {count}" for key, count in layout.counts.items())
        raise DataError(
            f"{name}: the arrays differ in their number of samples (first axis): {found}"
        )
    count = next(iter(layout.counts.values()), 1)
    if count == 0:
        raise DataError(f"{name}: has no samples (the first axis has length 0)")
    return count


def lay_out(batch: Batch, inputs: Sequence[TensorInfo]) -> Batch:
    """``batch``, one item of an iterable, with what goes to all of its samples alike."""
    shapes = {key: array.shape for key, array in batch.feeds.items()}
    if batch.labels is not None and batch.labels.ndim and LABELS not in shapes:
        shapes[LABELS] = batch.labels.shape
    layout = find_layout(shapes, inputs)
    return Batch(batch.feeds, batch.labels, layout.alike & set(batch.feeds))


def unfold(batch: Batch, inputs: Sequence[TensorInfo], fixed: int | None) -> Iterator[Batch]:
    """The batches that a model can take: ``batch`` as it is, or feeds of one sample (of ``fixed``
    samples) where arrays are stacked, or states that go to every sample alike do not fit all at
    once."""
    own = {info.name: info.shape for info in inputs}
    parts = {key: a for key, a in batch.feeds.items() if key not in batch.alike}
    stacked = {k for k, a in parts.items() if _kind(a.shape, own.get(k), True) == "stacked"}
    states = any(batch.feeds[key].ndim for key in batch.alike)
    count = batch.rows
    shapes = {key: array.shape for key, array in batch.feeds.items()}
    if count is None or not (stacked or (states and not _is_one_feed(shapes, own))):
        yield batch
        return
    step = 1 if stacked else fixed or 1
    for at in range(0, count, step):
        feeds: dict[str, Array] = {}
        for key, array in batch.feeds.items():
            whole = array if key in batch.alike else array[at : at + step]
            feeds[key] = array[at] if key in stacked else whole
        labels = None if batch.labels is None else batch.labels[at : at + step]
        yield Batch(feeds, labels, batch.alike | stacked)
