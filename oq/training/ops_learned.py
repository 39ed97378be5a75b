"""Rows that no file has: scales that are trained, in the form that their type allows.

    float32         s = p s0                           p starts at 1
    float16         s = the float16 nearest to p s0    the rounding has the gradient 1
    power_of_two    s = 2^ceil(p),  ds/dp = s ln 2     p starts in the middle of its octave

``s0`` is the calibrated scale, so that a step of an optimizer means the same for all.  The last row
is TQT (Jain et al. 2020, arXiv:1903.08066, equations 4 to 7), where p is the logarithm of the
threshold less that of the greatest code.  The gradient of a scale is divided by the square root of
(values that share it x greatest code), as LSQ has it (arXiv:1902.08153, section 2.2).
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from oq.numerics.grid import SCALES, SMALLEST_SCALE
from oq.numerics.values import Array, Scale
from oq.training.ops_quantize import LIMITS, codes_of, dequantize, grid_of
from oq.training.row import Node, Row

LEARNED = "oq.LearnedScale"
"""The operator that makes a scale of the parameter that is trained."""

PRODUCT = "oq.ProductScale"
"""The operator that makes the scale of a bias of those of data and weight."""

SHARED_BY = "oq_shared_by"
"""Attribute of quantizers whose scale is trained: the axis from which on values are counted for its
gradient: 1 for data (those of a sample), 0 for constants."""


ENDS = "oq_ends"
"""Attribute of the quantizers of constants: least and greatest code, which may be narrower than the
type (-127..127)."""


class _Power(torch.autograd.Function):
    """2^ceil(p), with the gradient of 2^p at ceil(p)."""

    @staticmethod
    def forward(ctx: Any, p: Tensor) -> Tensor:
        scale = torch.ldexp(torch.ones_like(p), torch.ceil(p).to(torch.int32))
        ctx.save_for_backward(scale)
        return scale

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (scale,) = ctx.saved_tensors
        return grads[0] * scale * math.log(2)


class _Half(torch.autograd.Function):
    """The nearest float16 among its normal numbers, with the gradient 1."""

    @staticmethod
    def forward(ctx: Any, p: Tensor) -> Tensor:
        limits = torch.finfo(torch.float16)
        return p.clamp(limits.tiny, limits.max).to(torch.float16).to(p.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0]


class _Slow(torch.autograd.Function):
    """The same value, its gradient times a factor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0] * ctx.factor, None


FORMS: Mapping[Scale, Callable[[Tensor, Tensor], Tensor]] = {
    "float32": lambda p, start: (p * start).clamp(min=SMALLEST_SCALE),
    "float16": lambda p, start: _Half.apply(p * start),  # type: ignore[no-untyped-call]
    "power_of_two": lambda p, start: _Power.apply(p),  # type: ignore[no-untyped-call]
}


REACH = 64.0
"""Most by which a scale may shrink or grow while it is trained: beyond it the rate is at fault, and
products of two such scales would leave float32."""


def as_parameter(scale: Array, kind: Scale, start: Array) -> Array:
    """The parameter (float32) of ``scale``, where ``start`` is the calibrated one."""
    found = np.log2(scale) - 0.5 if kind == "power_of_two" else scale / start
    return np.asarray(found, np.float32)


def as_scale(parameter: Array, kind: Scale, start: Array) -> Array:
    """The scale (float32) of a ``parameter``: in NumPy what :data:`FORMS` compute in torch."""
    wished = np.exp2(np.ceil(parameter)) if kind == "power_of_two" else parameter * start
    return np.asarray(SCALES[kind](wished.astype(np.float64)))


def _ends(node: Node) -> tuple[int, int]:
    least, most = node.get(ENDS, LIMITS[node.codes])
    return least, most


def _slowed(node: Node, x: Tensor, scale: Tensor) -> Tensor:
    start = node.get(SHARED_BY)
    if start is None or not torch.is_grad_enabled():
        return scale
    shared = math.prod(x.shape[start:]) / (scale.numel() if start == 0 else 1)
    most = _ends(node)[1]
    slowed: Tensor = _Slow.apply(scale, 1 / math.sqrt(shared * most))  # type: ignore[no-untyped-call]
    return slowed


def _quantize(node: Node, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    wide, point = grid_of(node, x, _slowed(node, x, scale), zero)
    return codes_of(x, wide, None if point is None else point.to(x.dtype), _ends(node))


def _hold(node: Node, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    wide, point = grid_of(node, x, scale, zero)
    steps = x / wide
    return torch.clamp(steps if point is None else steps + point.to(x.dtype), *_ends(node))


def _dequantize(node: Node, codes: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    return dequantize(node, codes, _slowed(node, codes, scale), zero)


def _form(node: Node, parameter: Tensor, start: Tensor) -> Tensor:
    return FORMS[node.get("kind")](parameter, start)


ROWS: Mapping[str, Row] = {
    PRODUCT: Row(lambda node, data, weight: data * weight, fixed=(0, 1)),
    LEARNED: Row(_form, learns=(0,), fixed=(1,)),
    "DequantizeLinear": Row(_dequantize, fixed=(0, 1, 2)),
    "QuantizeLinear": Row(_quantize, learns=(0,), fixed=(1, 2)),
}

HOLD = Row(_hold, fixed=(1, 2))
"""QuantizeLinear without its rounding: values are held to the range, which stands for a ReLU where
the file has it so."""
