"""Rows of pooling and of reductions over axes."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from oq.numerics.values import Array
from oq.training.ops_layers import CONV, pad_axes, window_pads
from oq.training.row import Node, Row, Value, axes_of, integer, integers

MAX_POOL: Mapping[int, Callable[..., Any]] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVERAGE_POOL: Mapping[int, Callable[..., Any]] = {
    1: F.avg_pool1d,
    2: F.avg_pool2d,
    3: F.avg_pool3d,
}
"""Number of spatial axes -> torch's function."""


def _beyond(node: Node, x: Tensor, begin: list[Any], end: list[Any]) -> list[Any]:
    """What ``ceil_mode`` adds behind the pads, so that the last window is whole: one that would
    begin in the pads behind is left out."""
    kernel = node.get("kernel_shape")
    count = len(kernel)
    if not node.get("ceil_mode", 0):
        return [0] * count
    strides, dilations = node.get("strides", [1] * count), node.get("dilations", [1] * count)
    extra = []
    for i in range(count):
        size, reach = x.shape[2 + i], (kernel[i] - 1) * dilations[i] + 1
        out = -(-(size + begin[i] + end[i] - reach) // strides[i]) + 1
        if (out - 1) * strides[i] >= size + begin[i]:
            out -= 1
        extra.append(max(0, (out - 1) * strides[i] + reach - size - begin[i] - end[i]))
    return extra


def _max_pool(node: Node, x: Tensor) -> Tensor:
    if node.outputs > 1:
        raise node.refuse("its indices as an output")
    kernel = node.get("kernel_shape")
    count = len(kernel)
    begin, end = window_pads(node, x.shape[2:], kernel)
    end = [e + b for e, b in zip(end, _beyond(node, x, begin, end), strict=True)]
    kind = x.dtype
    x = x if kind.is_floating_point else x.to(torch.float32)
    x = pad_axes(x, begin, end, float("-inf"))
    strides, dilations = node.get("strides", [1] * count), node.get("dilations", [1] * count)
    found: Tensor = MAX_POOL[count](x, tuple(kernel), tuple(strides), 0, tuple(dilations))
    return found.to(kind)


def _average_pool(node: Node, x: Tensor) -> Tensor:
    """The sum over each window, divided by the number of its values: without the pads unless
    ``count_include_pad``, and without what ``ceil_mode`` adds in any case."""
    kernel = list(node.get("kernel_shape"))
    count, ones = len(kernel), [1] * len(kernel)
    strides, dilations = node.get("strides", ones), node.get("dilations", ones)
    begin, end = window_pads(node, x.shape[2:], kernel)
    extra = _beyond(node, x, begin, end)
    plain = list(dilations) == ones and not any(extra)
    if plain and begin == end and all(2 * b <= k for b, k in zip(begin, kernel, strict=True)):
        inside = bool(node.get("count_include_pad", 0))
        found: Tensor = AVERAGE_POOL[count](
            x, tuple(kernel), tuple(strides), tuple(begin), False, inside
        )
        return found
    weight = torch.ones((1, 1, *kernel), dtype=x.dtype, device=x.device)

    def sums(values: Tensor) -> Tensor:
        flat = values.reshape(-1, 1, *values.shape[2:])
        summed = CONV[count](flat, weight, None, tuple(strides), 0, tuple(dilations))
        return summed.reshape(*values.shape[:2], *summed.shape[2:])

    some = torch.ones((1, 1, *x.shape[2:]), dtype=x.dtype, device=x.device)
    some = pad_axes(some, begin, end, float(node.get("count_include_pad", 0)))
    behind = [0] * count
    whole = pad_axes(pad_axes(x, begin, end), behind, extra)
    return sums(whole) / sums(pad_axes(some, behind, extra))


def _global(function: Callable[..., Tensor]) -> Row:
    return Row(lambda node, x: function(x, list(range(2, x.ndim)), True))


def _reduce(function: Callable[[Tensor, list[int], bool], Tensor], slot_from: int = 18) -> Row:
    """Axes are an input from opset ``slot_from`` on; none mean all, or none at all."""

    def run(node: Node, x: Tensor, axes: Array | None = None) -> Tensor:
        chosen = axes_of(node, axes, slot_from)
        if not chosen:
            if node.get("noop_with_empty_axes", 0):
                return function(x.unsqueeze(0), [0], False)
            chosen = list(range(x.ndim))
        if not x.ndim:
            return function(x.unsqueeze(0), [0], False)
        return function(x, chosen, bool(node.get("keepdims", 1)))

    return Row(run, host=(1,))


def _product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in axes:
        x = x.prod(axis, keepdim=True)
    return x if keep else x.squeeze(tuple(axes))


def _mean(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return x.mean(axes, keep)


def _sum(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return x.sum(axes, keep, dtype=x.dtype)


def _arg(function: Callable[..., Tensor]) -> Row:
    """The first of equal values, or the last."""

    def run(node: Node, x: Tensor) -> Tensor:
        axis = node.get("axis", 0) % max(x.ndim, 1)
        keep = bool(node.get("keepdims", 1))
        if not node.get("select_last_index", 0):
            return function(x, axis, keep)
        found: Tensor = x.shape[axis] - 1 - function(x.flip(axis), axis, keep)
        return found

    return Row(run)


def _cumulate(node: Node, x: Tensor, axis: Array) -> Tensor:
    at = integer(axis)
    x = x.flip(at) if node.get("reverse", 0) else x
    found = x.cumsum(at, dtype=x.dtype)
    found = found - x if node.get("exclusive", 0) else found
    return found.flip(at) if node.get("reverse", 0) else found


def _top_k(node: Node, x: Tensor, k: Array | None = None) -> tuple[Tensor, Tensor]:
    """In order of values, the first of equal ones first."""
    axis, count = node.get("axis", -1), node.get("k") if k is None else integers(k)[0]
    values, order = x.sort(stable=True, dim=axis, descending=bool(node.get("largest", 1)))
    return values.narrow(axis, 0, count), order.narrow(axis, 0, count)


def _reduced_host(node: Node, x: Array, axes: Array | None = None) -> Value:
    if x.ndim != 1:
        raise node.refuse("a shape of several axes")
    kept = bool(node.get("keepdims", 1))
    found = x[0]
    for value in x[1:]:
        found = found * value
    return np.asarray([found] if kept else found, dtype=x.dtype)


_PRODUCT = _reduce(_product)

ROWS: Mapping[str, Row] = {
    "ArgMax": _arg(torch.argmax),
    "ArgMin": _arg(torch.argmin),
    "AveragePool": Row(_average_pool),
    "CumSum": Row(_cumulate, host=(1,)),
    "GlobalAveragePool": _global(torch.mean),
    "GlobalMaxPool": _global(torch.amax),
    "MaxPool": Row(_max_pool),
    "ReduceL1": _reduce(lambda x, axes, keep: x.abs().sum(axes, keep, dtype=x.dtype)),
    "ReduceL2": _reduce(lambda x, axes, keep: torch.sqrt((x * x).sum(axes, keep))),
    "ReduceLogSum": _reduce(lambda x, axes, keep: torch.log(x.sum(axes, keep))),
    "ReduceLogSumExp": _reduce(torch.logsumexp),
    "ReduceMax": _reduce(torch.amax),
    "ReduceMean": _reduce(_mean),
    "ReduceMin": _reduce(torch.amin),
    "ReduceProd": Row(_PRODUCT.run, host=(1,), on_host=_reduced_host),
    "ReduceSum": _reduce(_sum, 13),
    "ReduceSumSquare": _reduce(lambda x, axes, keep: (x * x).sum(axes, keep, dtype=x.dtype)),
    "TopK": Row(_top_k, host=(1,)),
}
