"""The smallest, the best and the largest shape of every input: TensorRT's optimization profile."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from oq.errors import OptionError
from oq.model.input_shapes import write_shape
from oq.numerics.values import Array, Shape, TensorInfo

Sizes = tuple[int, int, int]
"""Smallest, best, largest."""

Shapes3 = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]

BATCH: Sizes = (1, 8, 32)
"""Of a free first axis that nobody says more of."""

IMAGE: Sizes = (32, 224, 640)
"""Of the last two of four axes."""

OTHER: Sizes = (1, 128, 512)
"""Of any other axis: a sequence."""

FLAGS = ("min_shape", "opt_shape", "max_shape")

Asked = Mapping[str, Sequence[int | None]]


@dataclass(frozen=True, slots=True)
class Profile:
    """Input -> its three shapes, of inputs with free axes; ``assumed``: those of which nobody has
    said every size."""

    shapes: Mapping[str, Shapes3]
    assumed: tuple[str, ...] = field(default=())


def make_profile(
    inputs: Sequence[TensorInfo],
    asked: Mapping[str, Asked | None],
    seen: Iterable[Mapping[str, Array]] = (),
) -> Profile:
    """What ``asked`` (flag -> input -> shape) says, what samples have where it says nothing, else
    the defaults.  An axis name has one size in all inputs.

    Raises:
        OptionError: no such input, another number of axes, a size that the model does not have, or
            sizes in the wrong order.
    """
    known = {info.name: info for info in inputs}
    said: dict[object, dict[int, int]] = {}
    for at, flag in enumerate(FLAGS):
        for name, shape in (asked.get(flag) or {}).items():
            declared = _declared(flag, name, shape, known)
            for i, (size, axis) in enumerate(zip(shape, declared, strict=True)):
                if size is not None and not _is_fixed(axis):
                    said.setdefault(_key(name, i, axis), {})[at] = size
    held = _seen(inputs, seen)
    shapes, assumed = {}, []
    for info in inputs:
        ranks = {len(s[info.name]) for s in _given(asked) if info.name in s}
        axes = info.shape if info.shape is not None else (None,) * next(iter(ranks), 0)
        if info.shape is None and not ranks:
            raise OptionError(
                f"input {info.name!r} has no shape in the model; give --opt-shape {info.name}=..."
            )
        if all(map(_is_fixed, axes)):
            continue
        keys = [_key(info.name, i, axis) for i, axis in enumerate(axes)]
        sizes = []
        for i, (key, axis) in enumerate(zip(keys, axes, strict=True)):
            fallback = held.get(key) or _default(i, len(axes))
            sizes.append(_sizes(info.name, axis, said.get(key, {}), fallback))
        free = [k for k, axis in zip(keys, axes, strict=True) if not _is_fixed(axis)]
        if any(len(said.get(k, {})) < len(FLAGS) and k not in held for k in free):
            assumed.append(info.name)
        least, best, most = (tuple(s[at] for s in sizes) for at in range(3))
        shapes[info.name] = (least, best, most)
    return Profile(shapes, tuple(assumed))


def _given(asked: Mapping[str, Asked | None]) -> list[Asked]:
    return [shapes for shapes in asked.values() if shapes]


def _is_fixed(axis: int | str | None) -> bool:
    return isinstance(axis, int) and axis > 0


def _key(name: str, at: int, axis: int | str | None) -> object:
    """What an axis is called: by its name in all inputs, else by its place in one."""
    return axis if isinstance(axis, str) else (name, at)


def _declared(
    flag: str, name: str, shape: Sequence[int | None], known: Mapping[str, TensorInfo]
) -> Shape:
    given = f"--{flag.replace('_', '-')} {name}={write_shape(shape)}"
    if name not in known:
        there = ", ".join(map(repr, known))
        raise OptionError(f"{given}: the model has no such input; it has {there}")
    declared = known[name].shape
    if declared is None:
        return (None,) * len(shape)
    if len(shape) != len(declared):
        raise OptionError(f"{given}: the model's input has {len(declared)} axes")
    for i, (size, axis) in enumerate(zip(shape, declared, strict=True)):
        if size is not None and (size < 1 or (_is_fixed(axis) and size != axis)):
            wanted = f"fixes axis {i} at {axis}" if _is_fixed(axis) else "needs sizes of 1 or more"
            raise OptionError(f"{given}: the model {wanted}, not {size}")
    return declared


def _default(at: int, rank: int) -> Sizes:
    if at == 0:
        return BATCH
    return IMAGE if rank == 4 and at >= 2 else OTHER


def _sizes(
    name: str, axis: int | str | None, said: Mapping[int, int], fallback: Sizes
) -> Sizes:  # fmt: skip
    """The three sizes of an axis: those ``said``, and between them what fits of ``fallback``."""
    if isinstance(axis, int) and axis > 0:
        return axis, axis, axis
    ends = sorted(said.items())
    if any(a > b for (_, a), (_, b) in pairwise(ends)):
        told = ", ".join(f"--{FLAGS[at].replace('_', '-')} {size}" for at, size in ends)
        raise OptionError(f"input {name!r}: {told} of one axis; sizes must not get smaller")
    found = [said.get(at, size) for at, size in enumerate(fallback)]
    for at in range(3):
        if at not in said:
            low = max((size for i, size in ends if i < at), default=1)
            high = min((size for i, size in ends if i > at), default=found[at])
            found[at] = max(low, min(found[at], max(high, low)))
    found[1] = said.get(1, min(max(found[1], found[0]), found[2]))
    return found[0], found[1], found[2]


def _seen(
    inputs: Sequence[TensorInfo], feeds: Iterable[Mapping[str, Array]]
) -> dict[object, Sizes]:
    """The sizes that free axes have in samples, but for the first one, which is their number."""
    found: dict[object, list[int]] = {}
    for feed in feeds:
        for info in inputs:
            if info.shape is None or info.name not in feed:
                continue
            for i, axis in enumerate(info.shape[1:], 1):
                if not _is_fixed(axis):
                    size = feed[info.name].shape[i]
                    found.setdefault(_key(info.name, i, axis), []).append(size)
    spans = {key: sorted(sizes) for key, sizes in found.items()}
    return {key: (s[0], s[len(s) // 2], s[-1]) for key, s in spans.items()}
