"""ReLU and Clip of codes, where no layer before them takes them in.

Q(clip(DQ(codes))) = Clip(codes, Q(low), Q(high))                    on one grid
QLinearLeakyRelu with alpha 0                                        ReLU between two grids
"""

from oq.deployment.qoperator.kernels import grid_part, land, limit
from oq.deployment.qoperator.operands import (
    CLIP_ON_CODES,
    Ends,
    Operand,
    Sink,
    bounds_on_codes,
    find_operand,
    find_sink,
    zero_of,
)
from oq.model.graph import Graph
from oq.model.operands import CLIP_LIMITS
from oq.model.ops import HOMOGENEOUS
from oq.model.qoperators import MICROSOFT
from oq.model.view import GraphView, NodeView

LEAKY, CLIP = "QLinearLeakyRelu", "Clip"


def clamp(graph: Graph, domains: frozenset[str]) -> dict[str, str]:
    """Rewrite every ReLU and Clip of ``graph`` between pairs, in place; returns node -> integer
    operator."""
    view, done = graph.view(), dict[str, str]()
    for node in view.nodes:
        limits = CLIP_LIMITS[node.op](view, node) if node.op in CLIP_LIMITS else None
        operand = None if limits is None else find_operand(view, node.inputs[0])
        sink = None if operand is None else find_sink(view, node.outputs[0])
        if limits is None or operand is None or sink is None:
            continue
        if operand.grid.axis is not None or operand.grid.dtype != sink.grid.dtype:
            continue
        if _same(view, operand.grid, sink.grid) and view.opset >= CLIP_ON_CODES:
            own = bounds_on_codes(view, sink.grid, [limits])
            low, high = limit(graph, node.outputs[0], sink.grid, own)
            graph.recast(node.name, CLIP, (operand.codes, low, high), {})
            done[node.name] = CLIP
        elif HOMOGENEOUS.get(node.op) and MICROSOFT in domains:
            _leak(graph, view, node, operand, sink)
            done[node.name] = LEAKY
        else:
            continue
        land(graph, node, sink)
    graph.cleanup()
    return done


def _leak(graph: Graph, view: GraphView, node: NodeView, operand: Operand, sink: Sink) -> None:
    ends = (
        grid_part(graph, view, part, grid)
        for grid in (operand.grid, sink.grid)
        for part in ("scale", "zero")
    )
    graph.recast(node.name, LEAKY, (operand.codes, *ends), {"alpha": 0.0}, MICROSOFT)


def _same(view: GraphView, one: Ends, other: Ends) -> bool:
    steps = (float(view.constants[grid.scale].item()) for grid in (one, other))
    return len(set(steps)) == 1 and zero_of(view, one) == zero_of(view, other)
