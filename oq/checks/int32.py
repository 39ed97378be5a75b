"""A check of sums and products that onnxruntime computes on codes: a row of
:mod:`oq.checks.legal`.

    y_codes = int32(round((x_0 + x_1) / scale_y)) + zero_y

On x86 the conversion to int32 has no limits of its own: what is beyond 2**31 becomes its smallest
number, and so the smallest code where the largest is right.  (Tried with onnxruntime 1.32:
QLinearAdd and QLinearMul; those that multiply weights clip before they convert.)
"""

from collections.abc import Iterator
from itertools import product

import numpy as np

from oq.model.ops import CLIPPING
from oq.model.qdq import codes_dtype, constant, dequantized_by, quantizers_of
from oq.model.view import GraphView, NodeView
from oq.planning.check import Found

LIMIT = 2.0**31


def steps_overflow(view: GraphView) -> Iterator[Found]:
    """The largest sum or product of two dequantized operands is less than 2**31 steps of the
    result."""
    for node in view.nodes:
        if node.op not in {"Add", "Mul"}:
            continue
        ends = [_ends(view, dequantized_by(view, t)) for t in node.inputs]
        one, other = ends if len(ends) == 2 else (None, None)
        step = _step_behind(view, node.outputs[0])
        if one is None or other is None or not step:
            continue
        largest = {"Add": one[1] + other[1], "Mul": max(a * b for a, b in product(one, other))}
        peak = largest[node.op]
        if peak / step >= LIMIT:
            yield (
                node.name,
                f"its operands reach {peak / step:.2g} steps of its result, which onnxruntime "
                "computes in int32: too large values get the smallest code",
            )


def _ends(view: GraphView, dq: NodeView | None) -> tuple[float, float] | None:
    """The smallest and the largest value of an operand of 8-bit codes with one scale."""
    scale = None if dq is None else constant(view, dq, 1)
    dtype = "" if dq is None else codes_dtype(view, dq)
    if dq is None or scale is None or scale.size != 1 or dtype not in {"int8", "uint8"}:
        return None
    zero, limits = constant(view, dq, 2), np.iinfo(dtype)
    point = 0 if zero is None else int(zero.item())
    low, high = (float(scale.item()) * (end - point) for end in (limits.min, limits.max))
    return low, high


def _step_behind(view: GraphView, tensor: str) -> float:
    """The scale of the QuantizeLinear that alone reads ``tensor``, past ReLU and Clip; else 0."""
    while view.edges(tensor) == 1 and view.consumers(tensor):
        (reader,) = view.consumers(tensor)
        if reader.op not in CLIPPING:  # onnxruntime fuses these
            break
        tensor = reader.outputs[0]
    found = quantizers_of(view, tensor)
    scale = constant(view, found[0], 1) if len(found) == 1 and view.edges(tensor) == 1 else None
    return float(scale.item()) if scale is not None and scale.size == 1 else 0.0
