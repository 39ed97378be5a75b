"""Checks of files that become float16 programs (Core ML): rows of :mod:`oq.checks.legal`.

Sources: coremltools 9.0, ``converters/mil/mil/passes/defs/optimize_quantization.py`` (sums are
rescaled so that one operand's scale is 1), ``ops/defs/iOS17/quantization_ops.py``.
"""

from collections.abc import Iterator

import numpy as np

from oq.model.qdq import constant, dequantized_by, quantizers_of, same_grid, scales
from oq.model.view import GraphView
from oq.planning.check import Found
from oq.planning.sums_in_float16 import RATIO, SUMS

LARGEST = float(np.finfo(np.float16).max)
SMALLEST = float(np.finfo(np.float16).smallest_normal)
POOLS = ("AveragePool", "GlobalAveragePool", "MaxPool")

MOVES = (
    "DepthToSpace",
    "Expand",
    "Flatten",
    "Reshape",
    "Slice",
    "SpaceToDepth",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
)
"""Ops that the converter runs on codes: it removes a pair behind them, whatever its scale is.
Others that move values (Gather, Split, ReduceMax, Pad) run in float16 between pairs of any
scales."""

ONE_GRID = frozenset((*POOLS, *MOVES))
"""Ops whose input and output have one grid."""


def no_float16_scale(view: GraphView) -> Iterator[Found]:
    """The program stores scales as normal float16 numbers; others would be changed."""
    for node, scale in scales(view):
        real = scale.astype(np.float64)
        off = ~((real >= SMALLEST) & (real <= LARGEST))
        with np.errstate(over="ignore"):
            off |= real.astype(np.float16).astype(np.float64) != real
        if off.any():
            worst = float(real[off].min()) if real.ndim else float(real)
            yield node.name, f"scale {worst:.9g} is not a normal float16 number"


def sum_overflows(view: GraphView) -> Iterator[Found]:
    """``127 * scale(x) / scale(y)`` is a float16 in the rescaled sum."""
    for node in view.nodes:
        if node.op not in SUMS:
            continue
        ends = [dequantized_by(view, t) for t in node.inputs]
        two = [s for e in ends if e is not None and (s := constant(view, e, 1)) is not None]
        if len(two) == 2 and all(s.size == 1 for s in two):
            ratio = max(float(a.item() / b.item()) for a, b in (two, two[::-1]))
            if ratio > RATIO:
                yield node.name, f"its operands' scales differ by a factor of {ratio:.0f}"


def sides_differ(view: GraphView) -> Iterator[Found]:
    """Inputs and output of pooling and data movement have the same scale and zero point."""
    for node in view.nodes:
        if node.op not in ONE_GRID:
            continue
        above = dequantized_by(view, node.inputs[0])
        for below in quantizers_of(view, node.outputs[0]) if above is not None else ():
            if above is not None and not same_grid(view, above, below):
                yield (
                    node.name,
                    f"scale or zero point of {above.name!r} and {below.name!r} around it differ",
                )
