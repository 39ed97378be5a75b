"""DequantizeLinear, an operator and QuantizeLinear -> the one operator on codes, by the table of
:mod:`oq.model.qoperators`.

The inputs of the operator follow from its row; what it demands beyond types is in :data:`ONLY_IF`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from oq.deployment.qoperator.operands import (
    Ends,
    Operand,
    Sink,
    find_operand,
    find_sink,
    real_bias,
    stored_bias,
    zero_of,
)
from oq.model.graph import Graph
from oq.model.operands import weight_input
from oq.model.ops import JOINING, PRODUCTS, weight_axis
from oq.model.qoperators import COMPUTING, OUT, QOPERATORS, QOperator
from oq.model.view import GraphView, NodeView
from oq.numerics.values import Array

LIMIT = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Found:
    """A node that can run on codes: the operands by slot, and where the result goes (None: it is
    float)."""

    node: NodeView
    operands: Mapping[int, Operand]
    sink: Sink | None


def _is_dense(node: NodeView) -> bool:
    return all(d == 1 for d in node.attributes.get("dilations", ()))


ONLY_IF: Mapping[str, Callable[[NodeView], bool]] = {"AveragePool": _is_dense}
"""Float op -> whether the integer operator can do what a node of it asks for."""

SIGNS = frozenset({("uint8", "uint8"), ("uint8", "int8"), ("int8", "int8")})
"""Types of data and weight that onnxruntime multiplies."""

VARYING = frozenset({"MatMul"})
"""Ops whose weight may be computed."""

LEAVES: Mapping[str, frozenset[str]] = {"Gemm": frozenset({"beta"})}
"""Float op -> its attributes that are in the bias here."""


def _softmax(view: GraphView, node: NodeView) -> dict[str, Any]:
    default = -1 if view.opset >= 13 else 1
    return {"axis": int(node.attributes.get("axis", default)), "opset": view.opset}


ADDS: Mapping[str, Callable[[GraphView, NodeView], dict[str, Any]]] = {"Softmax": _softmax}
"""Float op -> the attributes that the integer operator has in addition."""


def join(graph: Graph, domains: frozenset[str]) -> dict[str, str]:
    """Rewrite every node of ``graph`` that has an integer operator in one of ``domains`` and a
    QuantizeLinear behind it, in place; returns node -> integer operator."""
    view, done = graph.view(), dict[str, str]()
    rows = [r for r in QOPERATORS if r.requantizes and r.domain in domains]
    by_op = {row.float_op: row for row in rows}
    for node in view.nodes:
        row = by_op.get(node.op)
        found = None if node.op not in COMPUTING else find(view, node)
        if found is None or found.sink is None:
            continue
        if node.op in JOINING and _is_united(view, found):
            codes = tuple(found.operands[slot].codes for slot in range(len(node.inputs)))
            graph.recast(node.name, node.op, codes, node.attributes)
            land(graph, node, found.sink)
            done[node.name] = node.op
            continue
        inputs = None if row is None else inputs_of(graph, view, row, found)
        if row is None or inputs is None:
            continue
        attributes = attributes_of(view, node)
        graph.recast(node.name, row.op, inputs, attributes, row.domain)
        land(graph, node, found.sink)
        done[node.name] = row.op
    graph.cleanup()
    return done


def _is_united(view: GraphView, found: Found) -> bool:
    """Whether the operands and the result of ``found`` have one grid."""
    grids = [o.grid for o in found.operands.values()]
    ends = grids if found.sink is None else [*grids, found.sink.grid]
    return len({(view.constants[g.scale].item(), zero_of(view, g)) for g in ends}) == 1


def find(view: GraphView, node: NodeView) -> Found | None:
    """``node`` with the operands it reads and the sink it has; None where one is not of a type that
    integer operators take."""
    row = next(r for r in QOPERATORS if r.float_op == node.op)
    slots = range(len(node.inputs)) if row.repeated else sorted(row.operands)
    operands = {slot: find_operand(view, node.input(slot)) for slot in slots}
    held = {slot: o for slot, o in operands.items() if o is not None}
    only_if = ONLY_IF.get(node.op)
    if len(held) < len(operands) or (only_if is not None and not only_if(node)):
        return None
    weight = weight_input(node)
    for slot, operand in held.items():
        if operand.grid.axis is not None and not _is_channels(view, node, slot, operand):
            return None
    if weight is not None and node.op not in VARYING and not view.is_constant(held[1].codes):
        return None
    types = [held[slot].grid.dtype for slot in slots]
    if (tuple(types) not in SIGNS) if weight is not None else len(set(types)) > 1:
        return None
    sink = find_sink(view, node.outputs[0])
    return Found(node, held, sink if sink is None or sink.grid.dtype == types[0] else None)


def _is_channels(view: GraphView, node: NodeView, slot: int, operand: Operand) -> bool:
    """Whether the scales of ``operand`` are those of the output channels of a stored weight."""
    rank = view.rank(operand.codes)
    if weight_input(node) != node.input(slot) or rank is None:
        return False
    if not view.is_constant(operand.codes) or (node.op in PRODUCTS and rank != 2):
        return False
    zero = view.constants[operand.grid.zero] if operand.grid.zero else np.zeros(1)
    return operand.grid.axis == weight_axis(node.op, node.attributes, rank) and (
        node.op in PRODUCTS or len(np.unique(zero)) == 1
    )


def inputs_of(
    graph: Graph, view: GraphView, row: QOperator, found: Found
) -> tuple[str, ...] | None:
    """The inputs of the operator ``row``; None where a bias does not fit int32 codes."""
    node, sink, names = found.node, found.sink, list[str]()
    for part, slot in row.inputs(len(node.inputs)):
        if part == "plain":
            names.append(node.input(slot))
        elif part == "bias":
            bias = bias_codes(graph, view, found, node.input(slot))
            if bias is None:
                return None
            names.append(bias)
        elif slot == OUT:
            names.append("" if sink is None else grid_part(graph, view, part, sink.grid))
        elif part == "codes":
            names.append(found.operands[slot].codes)
        else:
            names.append(grid_part(graph, view, part, found.operands[slot].grid))
    while names and not names[-1]:
        names.pop()
    return tuple(names)


def grid_part(graph: Graph, view: GraphView, part: str, grid: Ends) -> str:
    """The name of the scale or zero point of ``grid``; a zero point that is left out is written."""
    if part == "scale":
        return grid.scale
    if grid.zero:
        return grid.zero
    shape = view.constants[grid.scale].shape
    return graph.add_constant(f"{grid.scale}_zero_point", np.zeros(shape, grid.dtype))


def steps_of(view: GraphView, found: Found) -> Array:
    """The scale of the sums of products, float64: one, or one per output channel."""
    data, weight = (view.constants[found.operands[s].grid.scale] for s in (0, 1))
    alpha = float(found.node.attributes.get("alpha", 1.0))
    return np.asarray(alpha * data.astype(np.float64).reshape(-1) * weight.reshape(-1))


def bias_codes(graph: Graph, view: GraphView, found: Found, tensor: str) -> str | None:
    """The int32 codes of the bias ``tensor`` in units of the sums; "" without a bias, None where it
    is computed, does not fit, or is not a row of the output."""
    if not tensor:
        return ""
    step, beta = steps_of(view, found), float(found.node.attributes.get("beta", 1.0))
    ready = stored_bias(view, tensor, step) if beta == 1.0 else None
    real = real_bias(view, tensor)
    if real is None:
        return None
    columns = _columns(view, found)
    if real.size not in (1, columns) or (real.ndim > 1 and real.shape[-1] != real.size):
        return None
    if ready is not None and real.shape == (columns,):
        return ready
    codes = np.rint(beta * np.broadcast_to(real.reshape(-1), (columns,)) / step)
    if not (np.abs(codes) <= LIMIT).all():
        return None
    return graph.add_constant(f"{tensor}_int32", codes.astype(np.int32))


def _columns(view: GraphView, found: Found) -> int:
    """The number of output channels."""
    shape = view.constants[found.operands[1].codes].shape
    axis = weight_axis(found.node.op, found.node.attributes, len(shape))
    return int(shape[axis or 0])


def attributes_of(view: GraphView, node: NodeView) -> dict[str, Any]:
    """The attributes of the integer operator in place of ``node``."""
    left = LEAVES.get(node.op, frozenset())
    kept = {k: v for k, v in node.attributes.items() if k not in left}
    return kept | (ADDS[node.op](view, node) if node.op in ADDS else {})


def land(graph: Graph, node: NodeView, sink: Sink) -> None:
    """Let ``node`` write the codes of ``sink``, clipped where saturation does not do it."""
    made = node.outputs[0]
    if sink.bounds is not None:
        raw = graph.split_output(made, f"{made}_codes")
        graph.set_dtype(raw, sink.grid.dtype)
        low, high = limit(graph, made, sink.grid, sink.bounds)
        made = graph.add_node(
            "Clip",
            (raw, low, high),
            f"{made}_clipped",
            name=f"{node.name}_Clip",
            like=raw,
            dtype=sink.grid.dtype,
        )
    graph.split_output(sink.codes, f"{sink.codes}_before")
    graph.give_output(sink.codes, made)


def limit(graph: Graph, tensor: str, grid: Ends, bounds: tuple[int, int] | None) -> tuple[str, str]:
    """The constants of ``bounds`` on the codes of ``tensor``; all codes where there are none."""
    limits = np.iinfo(grid.dtype)
    low, high = bounds or (limits.min, limits.max)
    ends = {"low": low, "high": high}
    names = (
        graph.add_constant(f"{tensor}_{what}", np.asarray(end, grid.dtype))
        for what, end in ends.items()
    )
    return next(names), next(names)
