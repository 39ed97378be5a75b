"""Sliding windows over NHWC images; XIR's attributes are [w, h] and [left, right, top, bottom]."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from oq.artifacts.xmodel.file import Op
from oq.numerics.values import Array


@dataclass(frozen=True, slots=True)
class Windows:
    """Of an op over an image: sizes as (height, width), and the numbers of windows (``steps``)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pads: tuple[tuple[int, int], tuple[int, int]]
    steps: tuple[int, int]

    def cut(self, image: Array, filler: float = 0.0) -> Iterator[tuple[int, int, Array]]:
        """(row, column, values [n, windows down, windows across, C]) for every place in the window;
        outside of ``image`` lies ``filler``."""
        spans = [
            (m - 1) * s + d * (k - 1) + 1
            for m, s, d, k in zip(self.steps, self.stride, self.dilation, self.kernel, strict=True)
        ]
        pads = [
            (before, max(0, span - size - before))
            for span, size, (before, _) in zip(spans, image.shape[1:3], self.pads, strict=True)
        ]
        wide = np.pad(image, ((0, 0), *pads, (0, 0)), constant_values=filler)
        for row, column in np.ndindex(self.kernel):
            picks = []
            for axis, at in enumerate((row, column)):
                first = at * self.dilation[axis]
                last = first + (self.steps[axis] - 1) * self.stride[axis] + 1
                picks.append(slice(first, last, self.stride[axis]))
            yield row, column, wide[:, picks[0], picks[1], :]


def windows_of(op: Op, image: Array) -> Windows:
    """The windows of ``op``; all of the image where it is ``global``."""
    if op.get("global", False):
        height, width = image.shape[1:3]
        return Windows((height, width), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1))
    width, height = op.get("kernel")
    across, down = op.get("stride")
    wide, high = op.get("dilation", (1, 1))
    left, right, top, bottom = op.get("pad", (0, 0, 0, 0))
    steps = (op.dims[1], op.dims[2])
    return Windows(
        *((height, width), (down, across), (high, wide), ((top, bottom), (left, right)), steps)
    )


def correlate(image: Array, weights: Array, windows: Windows, group: int) -> Array:
    """``y[o] = sum over (i, j, c) of x[s y + d i, ..., c] w[o, i, j, c]``; weights [O, h, w, C]."""
    total = np.zeros((image.shape[0], *windows.steps, weights.shape[0]), image.dtype)
    for row, column, seen in windows.cut(image):
        if group == 1:
            total += seen @ weights[:, row, column, :].T
            continue
        parts = zip(
            np.split(seen, group, axis=3), np.split(weights[:, row, column], group), strict=True
        )
        total += np.concatenate([x @ w.T for x, w in parts], axis=3)
    return total


def correlate_depthwise(image: Array, weights: Array, windows: Windows) -> Array:
    """Each channel with its own window; weights [1, h, w, C]."""
    total = np.zeros((image.shape[0], *windows.steps, image.shape[3]), image.dtype)
    for row, column, seen in windows.cut(image):
        total += seen * weights[0, row, column]
    return total


def spread(op: Op, image: Array) -> tuple[Array, Windows]:
    """The image that a transposed convolution slides over: zeros between its values, and around
    them (k - 1) d - pad; with its windows."""
    plain = windows_of(op, image)
    n, height, width, channels = image.shape
    (down, across), sizes = plain.stride, (height, width)
    wide = [(m - 1) * s + 1 for m, s in zip(sizes, plain.stride, strict=True)]
    apart = np.zeros((n, *wide, channels), image.dtype)
    apart[:, ::down, ::across] = image
    rims = [
        tuple((k - 1) * d - p for p in pads)
        for k, d, pads in zip(plain.kernel, plain.dilation, plain.pads, strict=True)
    ]
    cuts = [slice(max(0, -a), size - max(0, -b)) for (a, b), size in zip(rims, wide, strict=True)]
    inner = apart[:, cuts[0], cuts[1]]
    around = tuple((max(0, a), max(0, b)) for a, b in rims)
    padded = np.pad(inner, ((0, 0), *around, (0, 0)))
    still = ((0, 0), (0, 0))
    return padded, Windows(plain.kernel, (1, 1), plain.dilation, still, plain.steps)
