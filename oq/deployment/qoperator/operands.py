"""What an integer operator finds around a node of a Q/DQ graph: operands, bias, and its sink."""

from dataclasses import dataclass

import numpy as np

from oq.model.operands import CLIP_LIMITS
from oq.model.qdq import block_size, codes_dtype, constant, dequantized_by, quantizers_of
from oq.model.view import GraphView, NodeView
from oq.numerics.values import Array

BYTES = frozenset({"int8", "uint8"})
"""The codes that integer operators read and write."""

CLIP_ON_CODES = 12
"""The opset from which Clip takes 8-bit integers."""


@dataclass(frozen=True, slots=True)
class Ends:
    """A grid by the names of its constants ("" for no zero point), its integer type, and the
    channel axis where it has several scales."""

    scale: str
    zero: str
    dtype: str
    axis: int | None = None


@dataclass(frozen=True, slots=True)
class Operand:
    """A dequantized operand: the tensor of its ``codes``, and its grid."""

    codes: str
    grid: Ends


@dataclass(frozen=True, slots=True)
class Sink:
    """The QuantizeLinear that alone reads a result: its codes and grid, and the bounds on codes of
    the ReLU or Clip between the two, None where saturation does the same."""

    codes: str
    grid: Ends
    bounds: tuple[int, int] | None


def find_operand(view: GraphView, tensor: str) -> Operand | None:
    """The operand behind ``tensor``; None where it is float, or of codes that integer operators do
    not read."""
    dq = dequantized_by(view, tensor)
    if dq is None or block_size(dq) is not None:
        return None
    grid = find_grid(view, dq)
    return None if grid is None else Operand(dq.inputs[0], grid)


def find_grid(view: GraphView, node: NodeView) -> Ends | None:
    """The grid of a Q or DQ: a constant float32 scale, 8-bit codes; else None."""
    scale, zero = constant(view, node, 1), constant(view, node, 2)
    dtype = codes_dtype(view, node)
    if scale is None or scale.dtype != np.float32 or dtype not in BYTES:
        return None
    if node.input(2) and zero is None:
        return None
    axis = None
    if scale.size > 1:
        rank = view.rank(node.inputs[0])
        if rank is None or scale.ndim != 1:
            return None
        axis = int(node.attributes.get("axis", 1)) % rank
    return Ends(node.inputs[1], node.input(2), dtype, axis)


def find_sink(view: GraphView, tensor: str) -> Sink | None:
    """Where the codes of ``tensor`` go, if nothing else reads it, past ReLU and Clip."""
    clamps: list[tuple[float, float]] = []
    while True:
        readers = view.consumers(tensor)
        if view.edges(tensor) != 1 or len(readers) != 1:
            return None
        limits = CLIP_LIMITS.get(readers[0].op)
        if limits is None:
            break
        found = limits(view, readers[0])
        if found is None:
            return None
        clamps.append(found)
        tensor = readers[0].outputs[0]
    if not quantizers_of(view, tensor):
        return None
    grid = find_grid(view, readers[0])
    if grid is None or grid.axis is not None:
        return None
    bounds = bounds_on_codes(view, grid, clamps)
    if bounds is not None and view.opset < CLIP_ON_CODES:
        return None
    return Sink(readers[0].outputs[0], grid, bounds)


def bounds_on_codes(
    view: GraphView, grid: Ends, clamps: list[tuple[float, float]]
) -> tuple[int, int] | None:
    """The bounds on codes of one clip after the other, None where saturation does the same:
    rounding is monotonic, so ``Q(clip(x, a, b)) = clip(Q(x), Q(a), Q(b))``."""
    step, zero = float(view.constants[grid.scale].item()), zero_of(view, grid)
    limits = np.iinfo(grid.dtype)
    low, high = limits.min, limits.max
    for bounds in clamps:
        first, last = (np.clip(np.rint(b / step) + zero, limits.min, limits.max) for b in bounds)
        low, high = np.clip((low, high), int(first), int(last))
    return None if (low, high) == (limits.min, limits.max) else (int(low), int(high))


def zero_of(view: GraphView, grid: Ends) -> int:
    """The zero point of a grid with one scale."""
    return int(view.constants[grid.zero].item()) if grid.zero else 0


def real_bias(view: GraphView, tensor: str) -> Array | None:
    """The values of a constant bias, stored as floats or as codes; None if it is computed."""
    if view.is_constant(tensor):
        found = view.constants[tensor]
        return found.astype(np.float64) if found.dtype == np.float32 else None
    dq = dequantized_by(view, tensor)
    codes = None if dq is None else constant(view, dq, 0)
    scale = None if dq is None else constant(view, dq, 1)
    if dq is None or codes is None or scale is None or block_size(dq) is not None:
        return None
    if scale.size not in (1, codes.size):
        return None
    zero = constant(view, dq, 2)
    offset = 0.0 if zero is None else zero.astype(np.float64).reshape(-1)
    steps = scale.astype(np.float64).reshape(-1)
    flat = (codes.astype(np.float64).reshape(-1) - offset) * steps
    return np.asarray(flat.reshape(codes.shape))


def stored_bias(view: GraphView, tensor: str, step: Array) -> str | None:
    """The int32 codes of the bias ``tensor`` if they are stored in units of ``step``."""
    dq = dequantized_by(view, tensor)
    codes = None if dq is None else constant(view, dq, 0)
    scale = None if dq is None else constant(view, dq, 1)
    if dq is None or codes is None or scale is None or codes.dtype != np.int32:
        return None
    zero = constant(view, dq, 2)
    fits = scale.size in (1, step.size) and np.allclose(scale.reshape(-1), step, rtol=1e-5, atol=0)
    return dq.inputs[0] if fits and (zero is None or not zero.any()) else None
