"""Rows of QuantizeLinear and DequantizeLinear for a file that is run: no gradients, few ops.

They compute what :mod:`oq.training.ops_quantize` does.  Zero points are numbers of the graph, and
left out where they are 0; scales stay tensors, because torch turns a division by a number into a
product with 1 / scale on some devices, which rounds otherwise.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from oq.numerics.values import Array
from oq.training.ops import ROWS as TRAINED
from oq.training.ops_quantize import E4M3_MOST, FLOAT8, LIMITS, dequantize, spread
from oq.training.row import Node, Row

WIDE = frozenset({torch.int16, torch.uint16, torch.int32})
"""Codes whose difference from a zero point may not fit the type of the scale."""


def _spread(node: Node, values: Tensor, like: Tensor) -> Tensor:
    if values.ndim == 0 or (values.ndim == like.ndim == 1 and not node.get("block_size", 0)):
        return values
    return spread(values, like, node.get("axis", 1), int(node.get("block_size", 0) or 0))


def _point(node: Node, zero: Array | None, like: Tensor) -> Any:
    """The zero point: None where it is 0, a number, or numbers that broadcast over ``like``."""
    if zero is None:
        return None
    points = zero.astype(np.int64)
    if np.all(points == points.flat[0]):
        return int(points.flat[0]) or None
    return _spread(node, torch.from_numpy(points), like)


def _as(values: Tensor, dtype: torch.dtype) -> Tensor:
    return values if values.dtype == dtype else values.to(dtype)


def _quantize(node: Node, x: Tensor, scale: Tensor, zero: Array | None = None) -> Tensor:
    steps = x / _as(_spread(node, scale, x), x.dtype)
    if node.codes in FLOAT8:
        return torch.clamp(steps, -E4M3_MOST, E4M3_MOST).to(torch.float8_e4m3fn).to(x.dtype)
    if node.codes not in LIMITS:
        raise node.refuse(f"codes of type {node.codes}")
    point, codes = _point(node, zero, x), torch.round(steps)
    return torch.clamp(codes if point is None else codes + point, *LIMITS[node.codes])


def _dequantize(node: Node, codes: Tensor, scale: Tensor, zero: Array | None = None) -> Tensor:
    if codes.dtype == torch.float8_e4m3fn:
        return dequantize(node, codes, scale)
    point = _point(node, zero, codes)
    if point is not None and codes.dtype in WIDE:
        codes = codes.to(torch.int64) - point
        point = None
    codes = _as(codes, scale.dtype)
    return (codes if point is None else codes - point) * _spread(node, scale, codes)


ROWS: Mapping[str, Row] = {
    **TRAINED,
    "DequantizeLinear": Row(_dequantize, fixed=(0, 1), host=(2,)),
    "QuantizeLinear": Row(_quantize, fixed=(1,), host=(2,)),
}
