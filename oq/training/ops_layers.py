"""Rows of layers: convolutions, matrix products and normalizations."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from oq.training.row import Node, Row

CONV: Mapping[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
CONV_TRANSPOSE: Mapping[int, Callable[..., Tensor]] = {
    1: F.conv_transpose1d,
    2: F.conv_transpose2d,
    3: F.conv_transpose3d,
}
"""Number of spatial axes -> torch's function."""


def window_pads(
    node: Node, spatial: Sequence[Any], kernel: Sequence[int], begin_by_default: int = 0
) -> tuple[list[Any], list[Any]]:
    """The pads (begin, end) of a window over axes of sizes ``spatial``, ``auto_pad`` resolved."""
    count = len(kernel)
    strides, dilations = node.get("strides", [1] * count), node.get("dilations", [1] * count)
    auto = node.get("auto_pad", "NOTSET")
    if auto in {"NOTSET", ""}:
        pads = list(node.get("pads", [begin_by_default] * 2 * count))
        return pads[:count], pads[count:]
    if auto == "VALID":
        return [0] * count, [0] * count
    begin, end = [], []
    for size, k, stride, dilation in zip(spatial, kernel, strides, dilations, strict=True):
        out = -(-size // stride)
        whole = max(0, (out - 1) * stride + (k - 1) * dilation + 1 - size)
        less, more = whole // 2, whole - whole // 2
        begin.append(less if auto == "SAME_UPPER" else more)
        end.append(more if auto == "SAME_UPPER" else less)
    return begin, end


def pad_axes(x: Tensor, begin: Sequence[Any], end: Sequence[Any], value: float = 0.0) -> Tensor:
    """``x`` with its last axes padded; torch counts them from the last."""
    both = [n for pair in zip(reversed(begin), reversed(end), strict=True) for n in pair]
    return F.pad(x, both, value=value) if any(n != 0 for n in both) else x


def _conv(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    count = weight.ndim - 2
    begin, end = window_pads(node, x.shape[2:], weight.shape[2:])
    if begin != end:
        x, begin = pad_axes(x, begin, end), [0] * count
    return CONV[count](
        *(x, weight, bias, tuple(node.get("strides", [1] * count)), tuple(begin)),
        *(tuple(node.get("dilations", [1] * count)), node.get("group", 1)),
    )


def _conv_transpose(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Computed without pads, which are then cut off: torch wants both ends alike."""
    count = weight.ndim - 2
    ones, zeros = [1] * count, [0] * count
    strides, dilations = node.get("strides", ones), node.get("dilations", ones)
    extra = list(node.get("output_padding", zeros))
    begin, end = (
        list(node.get("pads", zeros * 2))[:count],
        list(node.get("pads", zeros * 2))[count:],
    )
    kernel = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    full = [(n - 1) * s + k for n, s, k in zip(x.shape[2:], strides, kernel, strict=True)]
    auto, wished = node.get("auto_pad", "NOTSET"), node.get("output_shape")
    if wished is None and auto.startswith("SAME"):
        wished = [min(n * s, f) for n, s, f in zip(x.shape[2:], strides, full, strict=True)]
    if wished is not None:
        whole = [f + e - w for f, e, w in zip(full, extra, list(wished)[-count:], strict=True)]
        half = [w // 2 for w in whole]
        rest = [w - h for w, h in zip(whole, half, strict=True)]
        begin, end = (half, rest) if auto == "SAME_UPPER" else (rest, half)
    y = CONV_TRANSPOSE[count](
        *(x, weight, None, tuple(strides), 0, 0, node.get("group", 1), tuple(dilations))
    )
    y = pad_axes(y, [-n for n in begin], [e - n for e, n in zip(extra, end, strict=True)])
    return y if bias is None else y + bias.reshape(1, -1, *ones)


def _gemm(node: Node, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    a = a.t() if node.get("transA", 0) else a
    b = b.t() if node.get("transB", 0) else b
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    if alpha == beta == 1.0 and c is not None:
        return F.linear(a, b.t(), c) if c.ndim == 1 and c.shape[0] == b.shape[1] else a @ b + c
    y = a @ b if alpha == 1.0 else alpha * (a @ b)
    return y if c is None else y + (c if beta == 1.0 else beta * c)


def _batch_norm(
    node: Node, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor
) -> Tensor:
    """Always with the stored statistics, as the file is run."""
    if node.get("training_mode", 0):
        raise node.refuse("training_mode")
    if not node.get("spatial", 1):
        raise node.refuse("spatial=0")
    return F.batch_norm(x, mean, var, scale, bias, False, 0.0, node.get("epsilon", 1e-5))


def _normal(x: Tensor, axes: list[int], epsilon: float) -> Tensor:
    """``x`` with mean 0 and variance 1 over ``axes``."""
    centred = x - x.mean(axes, keepdim=True)
    return centred / torch.sqrt((centred * centred).mean(axes, keepdim=True) + epsilon)


def _instance_norm(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    alone = (1, -1, *[1] * (x.ndim - 2))
    found = _normal(x, list(range(2, x.ndim)), node.get("epsilon", 1e-5))
    return found * scale.reshape(alone) + bias.reshape(alone)


def _group_norm(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Before opset 21 scale and bias are per group."""
    groups = node.get("num_groups")
    if node.opset < 21:
        scale, bias = (v.repeat_interleave(x.shape[1] // groups) for v in (scale, bias))
    return F.group_norm(x, groups, scale, bias, node.get("epsilon", 1e-5))


def _layer_norm(node: Node, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Any:
    """The values; where they are asked for, their mean and reciprocal deviation too."""
    axes = list(range(node.get("axis", -1) % x.ndim, x.ndim))
    shape = tuple(x.shape[axes[0] :])
    epsilon = node.get("epsilon", 1e-5)
    if node.outputs > 1:
        mean = x.mean(axes, keepdim=True)
        centred = x - mean
        inverse = torch.rsqrt((centred * centred).mean(axes, keepdim=True) + epsilon)
        found = centred * inverse * scale
        return (found if bias is None else found + bias), mean, inverse
    if tuple(scale.shape) == shape:
        return F.layer_norm(x, shape, scale, bias, epsilon)
    found = F.layer_norm(x, shape, None, None, epsilon) * scale
    return found if bias is None else found + bias


def _rms_norm(node: Node, x: Tensor, scale: Tensor) -> Tensor:
    axes = list(range(node.get("axis", -1) % x.ndim, x.ndim))
    mean = (x * x).mean(axes, keepdim=True)
    return x / torch.sqrt(mean + node.get("epsilon", 1e-5)) * scale


def _lp_norm(node: Node, x: Tensor) -> Tensor:
    axis, p = node.get("axis", -1), node.get("p", 2)
    size = x.abs().sum(axis, True) if p == 1 else torch.sqrt((x * x).sum(axis, True))
    return torch.where(size == 0, torch.zeros_like(x), x / size)


def _lrn(node: Node, x: Tensor) -> Tensor:
    """``x / (bias + alpha / size * sum of squares over size channels) ** beta``."""
    size = node.get("size")
    begin, end = (size - 1) // 2, size - 1 - (size - 1) // 2
    squares = F.pad((x * x).transpose(1, -1), (begin, end)).unfold(-1, size, 1).sum(-1)
    mean = node.get("alpha", 1e-4) / size * squares.transpose(1, -1)
    return x / torch.pow(node.get("bias", 1.0) + mean, node.get("beta", 0.75))


def _einsum(node: Node, *xs: Tensor) -> Tensor:
    return torch.einsum(node.get("equation"), *xs)


ROWS: Mapping[str, Row] = {
    "BatchNormalization": Row(_batch_norm, learns=(1, 2), fixed=(3, 4)),
    "Conv": Row(_conv, learns=(1, 2)),
    "ConvTranspose": Row(_conv_transpose, learns=(1, 2)),
    "Einsum": Row(_einsum, learns=(1,)),
    "Gemm": Row(_gemm, learns=(0, 1, 2)),
    "GroupNormalization": Row(_group_norm, learns=(1, 2)),
    "InstanceNormalization": Row(_instance_norm, learns=(1, 2)),
    "LRN": Row(_lrn),
    "LayerNormalization": Row(_layer_norm, learns=(1, 2)),
    "LpNormalization": Row(_lp_norm),
    "MatMul": Row(lambda node, a, b: torch.matmul(a, b), learns=(0, 1)),
    "RMSNormalization": Row(_rms_norm, learns=(1,)),
}
