"""Convolutions as matrix products over windows, and transposed ones, in float32."""

import math
from itertools import product
from typing import Any

import numpy as np

from oq.artifacts.mlpackage.ops.windows import ints, pad_spatial, paddings, windows
from oq.errors import ModelError
from oq.numerics.values import Array


def conv(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    strides: Array | None = None,
    pad_type: Array | str = "valid",
    pad: Array | None = None,
    dilations: Array | None = None,
    groups: Array | int = 1,
) -> Array:
    """``y[n, o] = sum_c,k x[n, c, window] weight[o, c, k] + bias[o]`` in 1 to 3 dimensions.

    ``weight`` has axes (output channel, input channel of the group, kernel ...).

    Raises:
        ModelError: the shapes do not fit.
    """
    count, groups = x.ndim - 2, int(groups)
    if x.shape[1] != weight.shape[1] * groups or weight.shape[0] % groups:
        raise ModelError(f"conv of {x.shape} by {weight.shape} in {groups} groups")
    stride, dilation = ints(strides, count, 1), ints(dilations, count, 1)
    kernel = weight.shape[2:]
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    pads = paddings(pad_type, pad, x.shape[2:], extents, stride)
    seen = windows(pad_spatial(x, pads, 0), kernel, stride, dilation)
    spatial = seen.shape[2 : 2 + count]
    if weight.shape[1] == 1 and weight.shape[0] == groups:
        made = _depthwise(seen, weight)
    else:
        made = np.stack([_product(sample, weight, groups) for sample in seen])
    made = made.reshape(x.shape[0], weight.shape[0], *spatial)
    return made if bias is None else made + bias.reshape(-1, *(1,) * count)


def _product(sample: Array, weight: Array, groups: int) -> Array:
    """One sample's windows (channel, window ..., place ...) times the weights, per group."""
    count = (sample.ndim - 1) // 2
    order = (0, *range(1 + count, 1 + 2 * count), *range(1, 1 + count))
    places = math.prod(weight.shape[1:])
    columns = sample.transpose(order).reshape(groups, places, -1)
    rows = weight.reshape(groups, weight.shape[0] // groups, places)
    return np.asarray(np.matmul(rows, columns))


def _last(index: tuple[int, ...] | tuple[slice, ...]) -> tuple[Any, ...]:
    """An index of the last axes."""
    return (..., *index)


def _depthwise(seen: Array, weight: Array) -> Array:
    """One kernel per channel: summed place by place, without copies of the windows."""
    count = weight.ndim - 2
    spread = (slice(None), *(None,) * count)
    total = np.zeros(seen.shape[: 2 + count], np.float32)
    for place in product(*map(range, weight.shape[2:])):
        total += seen[_last(place)] * weight[:, 0][_last(place)][spread]
    return total


def conv_transpose(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    pad: Array | None = None,
    output_shape: Array | None = None,
    pad_type: Array | str = "valid",
    strides: Array | None = None,
    dilations: Array | None = None,
    groups: Array | int = 1,
) -> Array:
    """The transpose of :func:`conv`: every input spreads its kernel over the output, which is then
    cut by ``pad``.  ``weight`` has axes (input channel, output channel of the group, kernel ...).

    Along each axis there are ``(in - 1) stride + (k - 1) dilation + 1`` places before the cut;
    ``same`` leaves ``in stride`` of them.

    Raises:
        ModelError: the shapes do not fit, or ``output_shape`` is none of these.
    """
    count, groups = x.ndim - 2, int(groups)
    if x.shape[1] != weight.shape[0] or x.shape[1] % groups:
        raise ModelError(f"conv_transpose of {x.shape} by {weight.shape} in {groups} groups")
    stride, dilation = ints(strides, count, 1), ints(dilations, count, 1)
    sizes, kernel = x.shape[2:], weight.shape[2:]
    whole = [
        (n - 1) * s + (k - 1) * d + 1
        for n, s, k, d in zip(sizes, stride, kernel, dilation, strict=True)
    ]
    cuts = _cuts(
        pad_type, pad, output_shape, whole, [n * s for n, s in zip(sizes, stride, strict=True)]
    )
    inner, outer = weight.shape[0] // groups, weight.shape[1]
    split = x.reshape(x.shape[0], groups, inner, -1)
    total = np.zeros((x.shape[0], groups * outer, *whole), np.float32)
    for place in product(*map(range, kernel)):
        taps = weight[_last(place)].reshape(groups, inner, outer).transpose(0, 2, 1)
        spread = np.matmul(taps, split).reshape(x.shape[0], groups * outer, *sizes)
        at = tuple(
            slice(p * d, p * d + (n - 1) * s + 1, s)
            for p, d, n, s in zip(place, dilation, sizes, stride, strict=True)
        )
        total[_last(at)] += spread
    kept = tuple(slice(a, n - b) for (a, b), n in zip(cuts, whole, strict=True))
    made: Array = total[_last(kept)]
    return made if bias is None else made + bias.reshape(-1, *(1,) * count)


def _cuts(
    pad_type: Array | str,
    pad: Array | None,
    output_shape: Array | None,
    whole: list[int],
    same: list[int],
) -> list[tuple[int, int]]:
    kind, given = str(pad_type), ints(pad, 2 * len(whole), 0)
    if kind != "custom" and any(given):
        raise ModelError(f"pad {list(given)} with pad_type {kind!r}")
    if kind == "same":
        totals = [max(w - s, 0) for w, s in zip(whole, same, strict=True)]
        cuts = [(t // 2, t - t // 2) for t in totals]
    elif kind in ("custom", "valid"):
        cuts = list(zip(given[::2], given[1::2], strict=True))
    else:
        raise ModelError(f"pad_type {kind!r} of conv_transpose, which oq does not read")
    found = [w - a - b for w, (a, b) in zip(whole, cuts, strict=True)]
    if output_shape is not None and [int(v) for v in output_shape[2:]] != found:
        raise ModelError(f"output_shape {output_shape.tolist()}, and {found} by the padding")
    return cuts
