"""Which axes of the inputs are free, what a file is made on, and at which sizes it is tried."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from oq.data.source import Fitted
from oq.errors import DataError
from oq.numerics.values import Array, TensorInfo

Place = tuple[int, int]
"""(input, axis)."""


@dataclass(frozen=True, slots=True)
class Axes:
    """The free axes of ``inputs``: those of one name are one size, ``groups`` by that name."""

    inputs: tuple[TensorInfo, ...]
    groups: Mapping[str, tuple[Place, ...]]

    @property
    def of_inputs(self) -> list[list[int]]:
        """The free axes of each input."""
        places = [place for group in self.groups.values() for place in group]
        return [sorted(a for i, a in places if i == at) for at in range(len(self.inputs))]

    @property
    def batch(self) -> bool:
        """Whether a first axis is free."""
        return any(axis == 0 for group in self.groups.values() for _, axis in group)

    def without(self, names: Iterable[str]) -> "Axes":
        """The free axes but for the groups ``names``."""
        gone = frozenset(names)
        return Axes(self.inputs, {n: g for n, g in self.groups.items() if n not in gone})

    def say(self, place: Place) -> str:
        """An axis, for messages.

        >>> Axes((TensorInfo("x", "float32", ("n", 3)),), {}).say((0, 0))
        "axis 0 of 'x'"
        """
        return f"axis {place[1]} of {self.inputs[place[0]].name!r}"


def free_axes(inputs: Sequence[TensorInfo]) -> Axes:
    """The axes of ``inputs`` whose size the model leaves open."""
    groups: dict[str, list[Place]] = {}
    for at, info in enumerate(inputs):
        for axis, size in enumerate(info.shape or ()):
            if isinstance(size, int) and size > 0:
                continue
            name = size if isinstance(size, str) and size else f"{info.name}[{axis}]"
            groups.setdefault(name, []).append((at, axis))
    return Axes(tuple(inputs), {name: tuple(places) for name, places in groups.items()})


def tensors(feeds: Mapping[str, Array], inputs: Sequence[TensorInfo]) -> list[Tensor]:
    """``feeds`` in the order and in the types of ``inputs``."""
    held = (np.ascontiguousarray(feeds[i.name].astype(i.dtype or "float32")) for i in inputs)
    return [torch.from_numpy(array) for array in held]


def example(samples: Fitted, axes: Axes) -> list[Tensor]:
    """What a file is made on: one sample, twice along each of ``axes`` that has size 1, which torch
    would take for one that is always 1.

    Raises:
        DataError: there are no samples.
    """
    first = next(iter(samples.batches(1)), None)
    if first is None:
        raise DataError(f"{samples.name}: no samples")
    found = tensors(first.feeds, axes.inputs)
    for places in axes.groups.values():
        if any(found[at].shape[axis] == 1 for at, axis in places):
            found = doubled(found, places)
    return found


def doubled(given: Sequence[Tensor], places: Sequence[Place]) -> list[Tensor]:
    """``given``, repeated once along each of ``places``."""
    found = list(given)
    for at, axis in places:
        found[at] = torch.cat((found[at], found[at]), axis)
    return found


def first_of(given: Sequence[Tensor], places: Sequence[Place]) -> list[Tensor]:
    """``given`` with size 1 along ``places``."""
    found = list(given)
    for at, axis in places:
        found[at] = found[at].narrow(axis, 0, 1)
    return found


def variants(given: Sequence[Tensor], axes: Axes) -> Iterator[tuple[str, list[Tensor]]]:
    """``given`` at other sizes: each group of axes doubled, that of the samples at 1 too."""
    for name, places in axes.groups.items():
        yield name, doubled(given, places)
        if all(axis == 0 for _, axis in places):
            yield name, first_of(given, places)


def takes(on: Sequence[Tensor], given: Sequence[Tensor], free: Axes) -> bool:
    """Whether a file made ``on`` one size takes ``given``, which differ along ``free`` axes at
    most."""
    rest = zip(on, given, free.of_inputs, strict=True)
    return all(
        [n for a, n in enumerate(one.shape) if a not in axes]
        == [n for a, n in enumerate(other.shape) if a not in axes]
        for one, other, axes in rest
    )
