"""Values that lie half-way between two codes, which two ways to add up floats may round apart.

float32 sums depend on their order in the last digits.  Where such a sum lies on the edge between
two codes, torch and onnxruntime may each be right with its own; models whose weights are all alike
have many of these.  That torch rounds its own sums as ONNX says is seen by the equation in NumPy.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from oq.model.qdq import Q, codes_dtype, constant
from oq.model.view import GraphView, NodeView
from oq.numerics.values import Array
from oq.training.ops_quantize import LIMITS

EDGE = 1e-2
"""Steps of the grid on both sides of half-way."""

MAKERS = frozenset({Q})


@dataclass(frozen=True, slots=True)
class Grid:
    """The grid of a quantizer, whose ``scale`` and ``zero`` broadcast over the tensor ``data``,
    with codes in ``limits``."""

    data: str
    limits: tuple[int, int]
    scale: Array
    zero: Array

    def on_edge(self, values: Array, codes: Array) -> Array:
        """Which ``values`` lie half-way between two codes and have become ``codes`` as ONNX rounds
        them: clip(rint(value / scale) + zero), half to even, in the type of the values."""
        steps = values / self.scale.astype(values.dtype)
        right = np.clip(np.rint(steps).astype(np.int64) + self.zero, *self.limits)
        return np.asarray((np.abs(np.abs(steps) % 1 - 0.5) < EDGE) & (right == codes))


def grids_of(view: GraphView) -> Mapping[str, Grid]:
    """The grids of quantizers to integers by the tensors of their codes; without those that are
    computed, and those of blocks."""
    nodes = [n for n in view.nodes if n.op in MAKERS and codes_dtype(view, n) in LIMITS]
    found = {n.outputs[0]: _grid(view, n) for n in nodes}
    return {name: grid for name, grid in found.items() if grid is not None}


def _grid(view: GraphView, node: NodeView) -> Grid | None:
    rank = len(view.shape(node.inputs[0]) or ())
    axis = int(node.attributes.get("axis", 1))
    scale = _wide(constant(view, node, 1), axis, rank)
    zero = _wide(constant(view, node, 2) if node.input(2) else np.zeros(()), axis, rank)
    if scale is None or zero is None:
        return None
    limits = LIMITS[codes_dtype(view, node)]
    return Grid(node.inputs[0], limits, scale, zero.astype(np.int64))


def _wide(values: Array | None, axis: int, rank: int) -> Array | None:
    """``values``, one or one per channel, as they broadcast over ``rank`` axes."""
    if values is None or values.size == 1:
        return None if values is None else values.reshape(())
    if values.ndim > 1 or not rank:
        return None
    return values.reshape([-1 if a == axis % rank else 1 for a in range(rank)])
