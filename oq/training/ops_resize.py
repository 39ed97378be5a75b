"""Rows of Resize and Upsample: each axis is interpolated by itself.

Output position i of an axis lies at x in the input (:mod:`oq.model.resizing`).  nearest takes one
value, linear two and cubic four around x, outside those of the border.  (ONNX operator
specification, Resize-19.)
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from oq.model.resizing import COORDINATES
from oq.numerics.values import Array
from oq.training.row import Node, Row, integers

NEAREST: Mapping[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _linear(share: Array, node: Node) -> list[Array]:
    return [1 - share, share]


def _cubic(share: Array, node: Node) -> list[Array]:
    """Keys 1981, "Cubic convolution interpolation", with coefficient a."""
    a = node.get("cubic_coeff_a", -0.75)

    def near(t: Array) -> Array:
        return np.asarray((a + 2) * t**3 - (a + 3) * t**2 + 1)

    def far(t: Array) -> Array:
        return np.asarray(a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a)

    return [far(share + 1), near(share), near(1 - share), far(2 - share)]


WEIGHTS: Mapping[str, tuple[int, Callable[[Array, Node], list[Array]]]] = {
    "linear": (0, _linear),
    "cubic": (-1, _cubic),
}
"""Mode -> where the first value lies beside the one below x, and the weight of each."""


def _one_axis(node: Node, x: Tensor, axis: int, out: int, scale: float) -> Tensor:
    """``x`` with ``out`` positions along ``axis``, as numbers, where torch has symbols too."""
    size, mode = int(x.shape[axis]), node.get("mode", "nearest")
    out, scale = int(out), float(scale)
    default = "half_pixel" if node.opset >= 11 else "asymmetric"
    place = node.get("coordinate_transformation_mode", default)
    if place not in COORDINATES:
        raise node.refuse(f"coordinate_transformation_mode {place!r}")
    at = COORDINATES[place](np.arange(out, dtype=np.float64), scale, size, out)

    def take(index: Array) -> Tensor:
        held = np.clip(index, 0, size - 1).astype(np.int64)
        return x.index_select(axis, torch.tensor(held, device=x.device))

    if mode == "nearest":
        how = node.get("nearest_mode", "round_prefer_floor" if node.opset >= 11 else "floor")
        return take(NEAREST[how](at))
    first, weigh = WEIGHTS[mode]
    below = np.floor(at)
    weights = weigh(at - below, node)
    inside = [(below + first + i >= 0) & (below + first + i < size) for i in range(len(weights))]
    if mode == "cubic" and node.get("exclude_outside", 0):
        weights = [np.where(ok, w, 0) for ok, w in zip(inside, weights, strict=True)]
        total = np.sum(weights, axis=0)
        weights = [w / total for w in weights]
    alone = [1] * x.ndim
    alone[axis] = out
    parts = [
        take(below + first + i) * torch.tensor(w, dtype=x.dtype, device=x.device).reshape(alone)
        for i, w in enumerate(weights)
    ]
    return torch.stack(parts).sum(0)


def _sizes(
    node: Node, x: Tensor, axes: Sequence[int], wanted: Sequence[int]
) -> tuple[list[int], list[float]]:
    """Output sizes and scales for the ``wanted`` sizes; ``keep_aspect_ratio_policy`` fits one scale
    to all of them."""
    policy = node.get("keep_aspect_ratio_policy", "stretch")
    scales = [w / x.shape[a] for a, w in zip(axes, wanted, strict=True)]
    if policy == "stretch":
        return list(wanted), scales
    one = min(scales) if policy == "not_larger" else max(scales)
    return [int(np.floor(one * x.shape[a] + 0.5)) for a in axes], [one] * len(scales)


def _resize(
    node: Node, x: Tensor, roi: Any = None, scales: Any = None, sizes: Any = None
) -> Tensor:
    if node.opset < 11:
        scales = roi
    if node.get("antialias", 0):
        raise node.refuse("antialias")
    axes = [int(a) % x.ndim for a in node.get("axes", range(x.ndim))]
    if sizes is not None and sizes.size:
        outs, factors = _sizes(node, x, axes, integers(sizes))
    else:
        factors = [float(s) for s in np.asarray(scales).reshape(-1)]
        outs = [
            x.shape[a] if f == 1 else int(np.floor(int(x.shape[a]) * f))
            for a, f in zip(axes, factors, strict=True)
        ]
    for axis, out, factor in zip(axes, outs, factors, strict=True):
        if out != x.shape[axis] or factor != 1:
            x = _one_axis(node, x, axis, out, factor)
    return x


def _upsample(node: Node, x: Tensor, scales: Any = None) -> Tensor:
    given = node.get("scales") if scales is None else scales
    return _resize(node, x, np.asarray(given))


ROWS: Mapping[str, Row] = {
    "Resize": Row(_resize, host=(1, 2, 3)),
    "Upsample": Row(_upsample, host=(1,)),
}
