"""Where a tensor of the ONNX graph stands in the XIR graph, and in which order its axes lie there.

An op's axis i is axis ``layout[i]`` of the ONNX tensor: an image (N, C, H, W) in NHWC has the
layout (0, 2, 3, 1).  A Transpose changes only the layout; an op ``transpose`` is written where an
XIR op needs another order of axes than the one at hand.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from oq.numerics.values import Array

Layout = tuple[int, ...]
Dims = tuple[int, ...]

NHWC: Layout = (0, 2, 3, 1)


@dataclass(frozen=True, slots=True)
class Placed:
    """The op that holds a tensor, the shape of that op, and its layout.

    ``columns``: of an image that was flattened as it lies, for each of its features the feature of
    the ONNX tensor; None where they are in order.  ``exact``: the DPU computes it.  ``position``:
    of the grid that its values lie on, if a ``fix`` put them there.  ``gain``: the multiplier
    written behind a mean, which a Mul in the ONNX file may repeat.
    """

    op: str
    dims: Dims
    layout: Layout
    columns: Array | None = None
    exact: bool = False
    position: int | None = None
    gain: float = 1.0

    @property
    def shape(self) -> Dims:
        """The shape of the ONNX tensor."""
        return tuple(self.dims[self.layout.index(a)] for a in range(len(self.layout)))


@dataclass(frozen=True, slots=True)
class Parameter:
    """A constant: the initializer's name, its real ``values``, the position of their grid (None in
    float), and for each value its place in the initializer (``index``)."""

    tensor: str
    values: Array
    position: int | None
    index: Array

    def arrange(self, work: Callable[[Array], Array]) -> "Parameter":
        """With its values moved by ``work``."""
        return replace(self, values=work(self.values), index=work(self.index))


def plain(rank: int) -> Layout:
    """The layout of a tensor whose axes are in ONNX's order."""
    return tuple(range(rank))


def usual(rank: int) -> Layout:
    """NHWC for an image, ONNX's order for what is none."""
    return NHWC if rank == len(NHWC) else plain(rank)


def dims_in(shape: Sequence[int], layout: Layout) -> Dims:
    """The shape of an op that holds a tensor of ``shape`` in ``layout``."""
    return tuple(shape[a] for a in layout)


def turned(layout: Layout, perm: Sequence[int]) -> Layout:
    """The layout behind ``Transpose(perm)`` of a tensor that stays where it is."""
    return tuple(list(perm).index(a) for a in layout)


def filled(shape: Sequence[int], layout: Layout) -> Layout:
    """The axes of more than one value, in the order in which they lie."""
    return tuple(a for a in layout if shape[a] != 1)


def regrouped(before: Sequence[int], after: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Reshape as the smallest groups of neighbouring axes that hold the same values.

    >>> regrouped((1, 6, 4), (1, 2, 3, 4))
    [([0], [0]), ([1], [1, 2]), ([2], [3])]
    """
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(before) or j < len(after):
        left, right = [*range(i, min(i + 1, len(before)))], [*range(j, min(j + 1, len(after)))]
        while (a := math.prod(before[x] for x in left)) != (
            b := math.prod(after[x] for x in right)
        ):
            side, first = (left, i) if a < b else (right, j)
            side.append(first + len(side))
        groups.append((left, right))
        i, j = i + len(left), j + len(right)
    return groups


def reshaped(before: Sequence[int], layout: Layout, after: Sequence[int]) -> Layout | None:
    """The layout of a Reshape to ``after`` of a tensor that stays where it is; None if its values
    would lie in another order.

    >>> reshaped((1, 6, 4, 4), (0, 2, 3, 1), (1, 2, 3, 4, 4))  # channels split where they lie
    (0, 3, 4, 1, 2)
    >>> reshaped((1, 6, 4, 4), (0, 2, 3, 1), (1, 96)) is None
    True
    """
    order = filled(before, layout)
    found: list[tuple[int, list[int]]] = []
    last = -1
    for left, right in regrouped(before, after):
        axes = filled(before, tuple(left))
        if axes:
            last = order.index(axes[0])
            if order[last : last + len(axes)] != axes:
                return None
        found.append((last, right))
    return tuple(a for _, axes in sorted(found, key=lambda f: f[0]) for a in axes)


def gathered(before: Sequence[int], layout: Layout, after: Sequence[int]) -> Layout:
    """The layout nearest to ``layout`` in which :func:`reshaped` finds one: axes that become one
    stand side by side.

    >>> gathered((1, 3, 2, 4, 4), (0, 3, 4, 2, 1), (1, 6, 4, 4))
    (0, 3, 4, 1, 2)
    """
    groups = [left for left, _ in regrouped(before, after) if left]

    def place(axes: list[int]) -> int:
        return min(layout.index(a) for a in filled(before, tuple(axes)) or axes)

    return tuple(a for axes in sorted(groups, key=place) for a in axes)


def flattened(placed: Placed) -> Array:
    """For each value of ``placed`` as it lies: its number in ONNX's order."""
    return np.arange(math.prod(placed.shape)).reshape(placed.shape).transpose(placed.layout).ravel()
