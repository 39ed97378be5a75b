"""Rows of QuantizeLinear and DequantizeLinear, with gradients.

    code = clip(rint(x / scale) + zero_point, qmin, qmax)        rint: half to even
    real = (code - zero_point) * scale

as in :mod:`oq.numerics.grid`, and in the same order: by division, not by a product with 1 / scale,
with the zero point behind the rounding.  Codes between two nodes are floating-point numbers that
hold integers.  The gradient of rint is 1 (straight-through), all else follows by the chain rule:

    d real / d x      = 1 where the code is inside qmin..qmax, else 0
    d real / d scale  = rint(x / scale) - x / scale inside, qmin - z below, qmax - z above

which are those of LSQ (Esser et al. 2020, arXiv:1902.08153, equations 2 and 3).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from oq.model.nbits import WIDTHS
from oq.training.row import TORCH, Node, Row

LIMITS: Mapping[str, tuple[int, int]] = {
    "int4": (-8, 7),
    "uint4": (0, 15),
    **{
        name: (int(np.iinfo(name).min), int(np.iinfo(name).max))
        for name in ("int8", "uint8", "int16", "uint16", "int32")
    },
}
"""Integer type -> least and greatest code."""

FLOAT8 = frozenset({"float8_e4m3fn"})
E4M3_MOST = 448.0


class _Rint(torch.autograd.Function):
    """rint with the gradient 1."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.round(x)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0]


class _ToFloat8(torch.autograd.Function):
    """The nearest E4M3 number with the gradient 1."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.to(torch.float8_e4m3fn).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0]


class _Codes(torch.autograd.Function):
    """The codes of values on a grid that is not trained.  What rounding, zero point and clamp would
    each keep for their gradients is one mask here."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, scale: Tensor, zero: Tensor | None, limits: tuple[int, int]
    ) -> Tensor:
        steps = torch.div(x, scale).round_()
        if zero is not None:
            steps += zero
        codes = torch.clamp(steps, *limits)
        ctx.save_for_backward(steps == codes, scale)
        return codes

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        inside, scale = ctx.saved_tensors
        return torch.div(grads[0], scale).mul_(inside), None, None, None


def rint(x: Tensor) -> Tensor:
    """``x`` rounded half to even, with the gradient 1."""
    if torch.is_grad_enabled() and x.requires_grad:
        rounded: Tensor = _Rint.apply(x)  # type: ignore[no-untyped-call]
        return rounded
    return torch.round(x)


def codes_of(x: Tensor, scale: Tensor, zero: Tensor | None, limits: tuple[int, int]) -> Tensor:
    """The codes of ``x`` as floating-point numbers; ``scale`` and ``zero`` broadcast over it."""
    if torch.is_grad_enabled() and x.requires_grad and not scale.requires_grad:
        found: Tensor = _Codes.apply(x, scale, zero, limits)  # type: ignore[no-untyped-call]
        return found
    steps = rint(x / scale)
    return torch.clamp(steps if zero is None else steps + zero, *limits)


def spread(values: Tensor, like: Tensor, axis: int, block: int) -> Tensor:
    """A scale or zero point (), (channels,) or in blocks, shaped to broadcast over ``like``."""
    if values.ndim == 0 or (values.numel() == 1 and not block):
        return values.reshape(())
    if block:
        wide = values.repeat_interleave(block, axis)
        return wide.narrow(axis, 0, like.shape[axis])
    alone = [1] * like.ndim
    alone[axis] = -1
    return values.reshape(alone)


def grid_of(
    node: Node, x: Tensor, scale: Tensor, zero: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Scale and zero point as they broadcast over ``x``."""
    axis = node.get("axis", 1)
    block = int(node.get("block_size", 0) or 0)
    if zero is not None:
        zero = spread(zero, x, axis, block)
    return spread(scale, x, axis, block), zero


def _quantize(node: Node, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    wide, point = grid_of(node, x, scale, zero)
    wide = wide.to(x.dtype)
    if node.codes in FLOAT8:
        held = torch.clamp(x / wide, -E4M3_MOST, E4M3_MOST)
        found: Tensor = _ToFloat8.apply(held)  # type: ignore[no-untyped-call]
        return found
    if node.codes not in LIMITS:
        raise node.refuse(f"codes of type {node.codes}")
    return codes_of(x, wide, None if point is None else point.to(x.dtype), LIMITS[node.codes])


def dequantize(node: Node, codes: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    """The real values of ``codes``: integers of the file, or numbers that hold them."""
    wide, point = grid_of(node, codes, scale, zero)
    if codes.dtype == torch.float8_e4m3fn:
        return codes.to(scale.dtype) * wide
    if not codes.is_floating_point():  # from the file; int32 codes may not fit a float
        codes = codes.to(torch.int64)
        codes = codes if point is None else codes - point.to(torch.int64)
        return codes.to(scale.dtype) * wide
    codes = codes.to(scale.dtype)
    if point is not None and point.dtype != torch.float8_e4m3fn:
        codes = codes - point.to(codes.dtype)
    return codes * wide


def as_codes(values: Tensor, dtype: str) -> Tensor:
    """Codes as the file has them, of the integer type ``dtype``."""
    kind = TORCH[dtype]
    return values if values.dtype == kind else values.to(kind)


def _unpacked(values: Tensor, bits: int, count: int) -> Tensor:
    """The first ``count`` codes of each row of bytes, the lower half of a byte first."""
    if bits == 8:
        return values[..., :count]
    both = torch.stack((values & 15, values >> 4), -1)
    return both.reshape(*values.shape[:-1], -1)[..., :count]


def _matmul_nbits(
    node: Node,
    x: Tensor,
    packed: Tensor,
    scale: Tensor,
    zero: Tensor | None = None,
    groups: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """``x W + bias`` with the weight that :mod:`oq.model.nbits` describes."""
    bits, block = node.get("bits", 4), node.get("block_size")
    if groups is not None or bits not in WIDTHS or (zero is not None and zero.dtype != torch.uint8):
        raise node.refuse("g_idx, 2-bit weights or zero points that are not codes")
    rows, columns = node.get("K"), node.get("N")
    blocks = -(-rows // block)
    codes = _unpacked(packed.reshape(columns, blocks, -1), bits, block).to(x.dtype)
    point: Any = 2 ** (bits - 1)
    if zero is not None:
        point = _unpacked(zero.reshape(columns, -1), bits, blocks).to(x.dtype).unsqueeze(-1)
    weight = (codes - point) * scale.reshape(columns, blocks, 1).to(x.dtype)
    weight = weight.reshape(columns, -1)[:, :rows]
    return torch.nn.functional.linear(x, weight, bias)


ROWS: Mapping[str, Row] = {
    "DequantizeLinear": Row(dequantize, fixed=(0, 1, 2)),
    "MatMulNBits": Row(_matmul_nbits, fixed=(1, 2, 3, 4), learns=(5,)),
    "QuantizeLinear": Row(_quantize, fixed=(1, 2)),
}
