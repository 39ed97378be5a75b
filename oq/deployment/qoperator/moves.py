"""Moves on codes: a DequantizeLinear goes behind an op that only moves values, a QuantizeLinear in
front of it, and a pair of both on one grid is none.

    move(DQ(codes)) = DQ(move(codes))        Q(move(x)) = move(Q(x))        Q(DQ(codes)) = codes
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from oq.deployment.qoperator.operands import BYTES, find_grid
from oq.model.graph import Graph
from oq.model.qdq import DQ, Q, codes_dtype, constant, dequantized_by, pairs, same_grid, stored
from oq.model.qoperators import COMPUTING
from oq.model.view import GraphView, NodeView
from oq.numerics.grid import Grid, quantize
from oq.numerics.values import QType

SHRINKING = frozenset(
    {"Flatten", "MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
)
"""Moves whose output is no larger than their input: nothing is lost where floats read it."""

MOVES = SHRINKING | frozenset(
    {
        "DepthToSpace",
        "Expand",
        "Gather",
        "GatherElements",
        "ReduceMax",
        "ReduceMin",
        "Resize",
        "SpaceToDepth",
        "Split",
        "Tile",
    }
)
"""Ops that onnxruntime runs on 8-bit codes."""


def _takes_nearest(node: NodeView) -> bool:
    return str(node.attributes.get("mode", "nearest")) == "nearest"


def _gives_values(node: NodeView) -> bool:
    return len([t for t in node.outputs if t]) == 1


ONLY_IF: Mapping[str, Callable[[NodeView], bool]] = {
    "MaxPool": _gives_values,
    "Resize": _takes_nearest,
}
"""op -> whether a node of it moves values."""


def move_codes(graph: Graph) -> int:
    """Let moves of ``graph`` work on codes wherever that is exact, in place; returns the number of
    nodes that do."""
    moved: set[str] = set()
    while True:
        found = _push_down(graph) | _pull_up(graph)
        cancelled = cancel_pairs(graph)
        moved |= found
        if not found and not cancelled:
            return len(moved)


def fold_stored(graph: Graph) -> None:
    """Replace each QuantizeLinear of a float constant by its codes."""
    view = graph.view()
    for node in pairs(view):
        values, scale = constant(view, node, 0), constant(view, node, 1)
        dtype = codes_dtype(view, node)
        if node.op != Q or values is None or scale is None or dtype not in BYTES:
            continue
        zero = constant(view, node, 2)
        limits = np.iinfo(dtype)
        kind = QType(dtype, int(limits.min), int(limits.max), symmetric=False)
        many = scale.size > 1
        axis = int(node.attributes.get("axis", 1)) % values.ndim if many else None
        offset = np.zeros(scale.shape, dtype) if zero is None else zero
        one = (scale, offset) if many else (scale.reshape(()), offset.reshape(()))
        graph.make_constant(node.outputs[0], quantize(values, Grid(kind, *one, axis)))
    graph.cleanup()


def _push_down(graph: Graph) -> set[str]:
    """One step: every move that reads a DequantizeLinear reads its codes."""
    view, found = graph.view(), set()
    for node in view.nodes:
        dq = dequantized_by(view, node.inputs[0]) if moves(node) else None
        if dq is None or not _is_plain(view, dq) or stored(view, dq):
            continue
        if node.op not in SHRINKING and not _is_quantized_again(view, node, dq):
            continue
        graph.set_input(node.name, 0, dq.inputs[0])
        for real in node.outputs:
            codes = graph.split_output(real, f"{real}_codes")
            graph.set_dtype(codes, codes_dtype(view, dq))
            grid = dq.inputs[1:]
            made = _add(graph, DQ, (codes, *grid), real, "dequantized", "float32")
            graph.give_output(real, made)
        found.add(node.name)
    return found


def _is_quantized_again(view: GraphView, node: NodeView, dq: NodeView) -> bool:
    readers = [n for t in node.outputs for n in view.consumers(t)]
    return bool(readers) and all(n.op == Q and same_grid(view, dq, n) for n in readers)


def _pull_up(graph: Graph) -> set[str]:
    """One step: every QuantizeLinear behind a move of a computed tensor goes in front of it."""
    view, found = graph.view(), set()
    for q in view.nodes:
        node = view.producer(q.inputs[0]) if q.op == Q else None
        if node is None or node.op not in SHRINKING or not moves(node) or not _is_plain(view, q):
            continue
        if view.edges(node.outputs[0]) != 1 or not _is_computed(view, node.inputs[0]):
            continue
        given, codes = node.inputs[0], q.outputs[0]
        made = _add(graph, Q, (given, *q.inputs[1:]), given, "quantized", codes_dtype(view, q))
        graph.set_input(node.name, 0, made)
        graph.split_output(codes, f"{codes}_before")
        graph.give_output(codes, node.outputs[0])
        found.add(node.name)
    if found:
        graph.cleanup()
    return found


def _is_computed(view: GraphView, tensor: str) -> bool:
    """Whether ``tensor`` comes from an op with an integer form, across moves; one node reads it."""
    source = view.producer(tensor)
    while source is not None and view.edges(tensor) == 1 and source.op in SHRINKING:
        tensor = source.inputs[0]
        source = view.producer(tensor)
    return source is not None and view.edges(tensor) == 1 and source.op in COMPUTING


def cancel_pairs(graph: Graph) -> int:
    """Let readers of Q(DQ(codes)) read the codes, where both have one grid; returns their number.
    A graph output keeps its name, and so its pair."""
    view, count = graph.view(), 0
    for q in view.nodes:
        dq = dequantized_by(view, q.inputs[0]) if q.op == Q else None
        again = q.outputs[0] if dq is not None else ""
        if dq is None or stored(view, dq) or again in view.outputs or not same_grid(view, dq, q):
            continue
        if not view.consumers(again):
            continue
        codes = dq.inputs[0]
        maker = view.producer(codes)
        if maker is not None and view.edges(codes) == 1 and moves(maker):
            graph.split_output(again, f"{again}_before")
            graph.set_input(dq.name, 0, again)
            graph.give_output(again, codes)
        else:
            graph.redirect(again, codes)
        count += 1
    if count:
        graph.cleanup()
    return count


def moves(node: NodeView) -> bool:
    """Whether ``node`` is a move that onnxruntime makes on codes."""
    only_if = ONLY_IF.get(node.op)
    return node.op in MOVES and (only_if is None or only_if(node))


def _is_plain(view: GraphView, node: NodeView) -> bool:
    """Whether a Q or DQ has one constant float32 scale and 8-bit codes."""
    grid = find_grid(view, node)
    return grid is not None and grid.axis is None


def _add(graph: Graph, op: str, inputs: tuple[str, ...], tensor: str, what: str, dtype: str) -> str:
    made: dict[str, Any] = {"like": tensor, "dtype": dtype}
    return graph.add_node(op, inputs, f"{tensor}_{what}", name=f"{tensor}_{op}", **made)
