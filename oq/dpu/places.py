"""Finds the DPU's kernels in a graph, with the grids they read and write.

Works for a float graph with a plan and for a Q/DQ file from any tool: the caller provides functions
that name the grid a node reads at a tensor, and the grid a tensor is quantized to.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from oq.dpu.kernels import is_hard_sigmoid
from oq.model.operands import bias_input, clip_bounds, data_inputs, weight_input
from oq.model.ops import CLIPPING, SLOPED, facts
from oq.model.qdq import dequantized_by, past_pair
from oq.model.view import GraphView, NodeView

FUSED = CLIPPING | SLOPED
"""Activations that a kernel applies before it rounds."""

EDGE_SLOPE = 26
"""In 256ths: the slope of a LeakyRelu that the edge DPU has, its only one."""

FUSED_BOUNDS = ((0.0, 6.0), (0.0, 1.0))
CLIP, GATE, PRODUCT, SWISH = "Clip", "HardSigmoid", "Mul", "Swish"


@dataclass(frozen=True, slots=True)
class Place:
    """One kernel: its op, the names of the grids around it, and the fused activation.

    ``op`` is that of the node, but "Swish" for the Mul that ends ``x * HardSigmoid(x)``.
    ``weight``, ``bias`` and ``output`` are None if there is none or it is float.
    """

    op: str
    node: str
    inputs: tuple[str, ...]
    weight: str | None
    bias: str | None
    output: str | None
    sloped: bool
    relu6: bool


Read = Callable[[str, str], str | None]
"""(tensor, node) -> the name of the grid with which the node reads it, or None."""

Written = Callable[[str], str | None]
"""tensor -> the name of the grid it is quantized to, or None."""


class _End(NamedTuple):
    grid: str | None
    sloped: bool
    relu6: bool


def find_places(view: GraphView, read: Read, written: Written) -> Iterator[Place]:
    """Every node with quantized inputs, in graph order."""
    for node in view.nodes:
        if facts(node.op) is None or node.op in FUSED or _is_other_gate(node):
            continue
        weight, bias = weight_input(node), bias_input(node)
        data = [t for t in data_inputs(node) if t != weight]
        grids = [read(t, node.name) for t in data]
        if not grids or any(g is None for g in grids):
            continue
        end = _end(view, node, written)
        yield Place(
            op=SWISH if _is_swish(view, node) else node.op,
            node=node.name,
            inputs=tuple(g for g in grids if g is not None),
            weight=None if weight is None else read(weight, node.name),
            bias=None if bias is None else read(bias, node.name),
            output=end.grid,
            sloped=end.sloped,
            relu6=end.relu6,
        )


def _end(view: GraphView, node: NodeView, written: Written) -> _End:
    """The grid that ends the kernel of ``node``, behind what is fused into it."""
    tensor, sloped, relu6 = node.outputs[0], False, False
    while (grid := written(tensor)) is None:
        readers = view.consumers(tensor)
        if view.edges(tensor) != 1 or not readers or not _joins(view, readers[0]):
            return _End(None, sloped, relu6)
        sloped = sloped or readers[0].op in SLOPED
        relu6 = relu6 or is_relu6(view, readers[0])
        tensor = readers[0].outputs[0]
    return _End(grid, sloped, relu6)


def _joins(view: GraphView, node: NodeView) -> bool:
    """Whether ``node`` is part of the kernel above it: an activation, or a factor spelled out."""
    scales = node.op == PRODUCT and any(view.is_constant(t) for t in node.inputs)
    return node.op in FUSED or scales


def is_relu6(view: GraphView, node: NodeView) -> bool:
    """Whether ``node`` is a Clip to [0, 6]."""
    return node.op == CLIP and clip_bounds(view, node) == (0.0, 6.0)


def is_fused(view: GraphView, node: NodeView) -> bool:
    """Whether a kernel of every device applies ``node`` before it rounds: of Clips those to [0, 6]
    and [0, 1], of slopes 26/256 and those of a PRelu that are quantized; the CPU runs others."""
    return node.op in FUSED and ONLY_IF.get(node.op, _always)(view, node)


def _always(_view: GraphView, _node: NodeView) -> bool:
    return True


def _has_edge_slope(_view: GraphView, node: NodeView) -> bool:
    return round(256 * float(node.attributes.get("alpha", 0.01))) == EDGE_SLOPE


def _has_slopes_in_codes(view: GraphView, node: NodeView) -> bool:
    return dequantized_by(view, node.inputs[1]) is not None


def _has_bounds_in_hardware(view: GraphView, node: NodeView) -> bool:
    return clip_bounds(view, node) in FUSED_BOUNDS


ONLY_IF: Mapping[str, Callable[[GraphView, NodeView], bool]] = {
    CLIP: _has_bounds_in_hardware,
    "LeakyRelu": _has_edge_slope,
    "PRelu": _has_slopes_in_codes,
}


def _is_other_gate(node: NodeView) -> bool:
    """Whether ``node`` is a HardSigmoid of other slopes, which the CPU runs."""
    return node.op == GATE and not is_hard_sigmoid(node.attributes)


def _is_swish(view: GraphView, node: NodeView) -> bool:
    """``Mul(x, HardSigmoid(x))``, with or without pairs between."""
    if node.op != PRODUCT or len(node.inputs) != 2:
        return False
    ends = [past_pair(view, t) for t in node.inputs]
    for gate, other in (ends, ends[::-1]):
        producer = view.producer(gate)
        if producer is not None and producer.op == GATE and is_hard_sigmoid(producer.attributes):
            return past_pair(view, producer.inputs[0]) == other
    return False
