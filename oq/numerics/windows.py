"""Sliding windows of convolutions and pools, over any number of spatial axes.

Tensors have axes (sample, channel, spatial...), as in ONNX.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from oq.numerics.values import Array


@dataclass(frozen=True, slots=True)
class Windows:
    """Window parameters: one entry per spatial axis; ``pads`` are (before, after) pairs."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]

    @property
    def count(self) -> int:
        """Number of positions in a window."""
        return math.prod(self.kernel)

    def steps(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """The number of windows along each axis of an image of ``sizes``."""
        rows = zip(sizes, self.kernel, self.strides, self.dilations, self.pads, strict=True)
        return tuple((n + sum(p) - d * (k - 1) - 1) // s + 1 for n, k, s, d, p in rows)

    def offsets(self, steps: Sequence[int]) -> Iterator[tuple[slice, ...]]:
        """For each position in the window, in row-major order: the slice of the image that it
        covers over all windows."""
        for at in np.ndindex(self.kernel):
            rows = zip(at, self.dilations, self.strides, steps, strict=True)
            yield tuple(slice(i * d, i * d + (m - 1) * s + 1, s) for i, d, s, m in rows)


def windows_of(
    attributes: Mapping[str, Any], kernel: Sequence[int], sizes: Sequence[int]
) -> Windows:
    """The windows of a Conv or pool node by its ``attributes`` over an image of ``sizes``."""
    rank = len(kernel)
    strides = tuple(attributes.get("strides", (1,) * rank))
    dilations = tuple(attributes.get("dilations", (1,) * rank))
    flat = tuple(attributes.get("pads", (0,) * (2 * rank)))
    pads = tuple(zip(flat[:rank], flat[rank:], strict=True))
    auto = attributes.get("auto_pad", "NOTSET")
    if auto == "VALID":
        pads = ((0, 0),) * rank
    elif auto.startswith("SAME"):
        rows = zip(sizes, kernel, strides, dilations, strict=True)
        needed = [max(0, (-(-n // s) - 1) * s + d * (k - 1) + 1 - n) for n, k, s, d in rows]
        small = [(n // 2, n - n // 2) for n in needed]
        pads = tuple(p if auto == "SAME_UPPER" else p[::-1] for p in small)
    return Windows(tuple(kernel), strides, dilations, pads)


def pad(x: Array, windows: Windows) -> Array:
    """``x`` with zeros around it."""
    if not any(map(sum, windows.pads)):
        return x
    return np.pad(x, ((0, 0), (0, 0), *windows.pads))


def columns(x: Array, windows: Windows) -> tuple[Array, tuple[int, ...]]:
    """The values in every window (im2col), axes (channel, position in window, sample, window), and
    the number of windows along each spatial axis."""
    steps = windows.steps(x.shape[2:])
    padded = pad(x, windows).swapaxes(0, 1)
    seen = np.empty((x.shape[1], windows.count, x.shape[0], *steps), x.dtype)
    for i, where in enumerate(windows.offsets(steps)):
        seen[:, i] = padded[_at(where)]
    return seen, steps


def window_sums(x: Array, windows: Windows) -> Array:
    """The sum over each window, axes (sample, channel, windows...)."""
    steps = windows.steps(x.shape[2:])
    padded = pad(x, windows)
    total = np.zeros((*x.shape[:2], *steps), x.dtype)
    for where in windows.offsets(steps):
        total += padded[_at(where)]
    return total


def convolve(x: Array, weight: Array, windows: Windows, group: int) -> Array:
    """Convolution of ``x`` with ``weight``, axes (out, in / group, kernel...)."""
    seen, steps = columns(x, windows)
    samples, outputs = x.shape[0], weight.shape[0]
    rows = seen.reshape(group, -1, samples * math.prod(steps))
    table = weight.reshape(group, outputs // group, -1)
    found: Array = np.matmul(table, rows).reshape(outputs, samples, *steps)
    return found.swapaxes(0, 1)


def scatter(x: Array, weight: Array, windows: Windows, group: int, extra: Sequence[int]) -> Array:
    """Transposed convolution of ``x`` with ``weight``, axes (in, out / group, kernel...).

    ``extra`` is ``output_padding``: positions added after the last spatial one.
    """
    samples, sizes = x.shape[0], x.shape[2:]
    inputs, outputs = weight.shape[0], weight.shape[1] * group
    table = weight.reshape(group, inputs // group, -1).transpose(0, 2, 1)
    rows = x.reshape(samples, group, inputs // group, -1)
    spread = np.matmul(table, rows).reshape(samples, outputs, windows.count, *sizes)
    rules = zip(sizes, windows.kernel, windows.strides, windows.dilations, extra, strict=True)
    whole = tuple((n - 1) * s + d * (k - 1) + 1 + e for n, k, s, d, e in rules)
    total = np.zeros((samples, outputs, *whole), spread.dtype)
    for i, where in enumerate(windows.offsets(sizes)):
        total[_at(where)] += spread[:, :, i]
    inner = tuple(slice(a, n - b) for n, (a, b) in zip(whole, windows.pads, strict=True))
    return total[_at(inner)]


def _at(where: tuple[slice, ...]) -> tuple[slice, ...]:
    """``where`` along the spatial axes, everything along the two before them."""
    return (slice(None), slice(None), *where)
