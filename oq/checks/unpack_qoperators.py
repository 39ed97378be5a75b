"""Integer operators as the DequantizeLinear, operator and QuantizeLinear that they stand for, so
that the checks and the forecast see one form, whichever a tool has written.

Moves of codes are put between a pair too; tensors of codes keep their names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from oq.model.graph import Graph
from oq.model.ops import only_moves, weight_axis
from oq.model.qdq import DQ, Q, pairs
from oq.model.qoperators import OUT, QOperator, qoperator
from oq.model.unsigned import make_unsigned
from oq.model.view import GraphView, NodeView
from oq.prepare.infer_types import infer_types

BYTES = frozenset({"int8", "uint8"})
ENDING = "_quantized"
"""What tools put behind the name of a tensor for that of its codes."""

Grid = tuple[str, str]
"""The names of scale and zero point."""


@dataclass(slots=True)
class _Dequantized:
    """The float copies of codes, each made once: (codes, grid) -> tensor."""

    graph: Graph
    view: GraphView
    known: dict[tuple[str, ...], str] = field(default_factory=dict)

    def of(self, codes: str, grid: Grid, before: str, axis: int | None = None) -> str:
        """The values of ``codes`` for node ``before`` and those behind it."""
        key = (codes, *grid)
        if key not in self.known:
            name = codes.removesuffix(ENDING)
            self.known[key] = self.graph.add_node(
                DQ,
                (codes, *grid),
                f"{name}_dequantized" if name in self.view.tensors else name,
                name=f"{codes}_DequantizeLinear",
                attributes={} if axis is None else {"axis": axis},
                like=codes,
                dtype="float32",
                before=before,
            )
        return self.known[key]


def as_qdq(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with its integer operators written as Q/DQ; itself where it has none."""
    if not any(qoperator(n.op_type, n.domain) for n in model.graph.node):
        return model
    graph = Graph(model)
    infer_types(graph)
    unpack_qoperators(graph)
    return graph.to_model()


def unpack_qoperators(graph: Graph) -> int:
    """Rewrite every integer operator of ``graph`` whose grids are constants, in place; returns
    their number.  int8 activations become uint8: an integer operator runs on both, unlike Q/DQ of
    int8 on x86, which the checks would take it for."""
    view = graph.view()
    made, grids = _Dequantized(graph, view), dict[str, Grid]()
    for node in pairs(view):
        codes = node.outputs[0] if node.op == Q else node.inputs[0]
        grids[codes] = (node.input(1), node.input(2))
    count = 0
    for node in view.nodes:
        row = qoperator(node.op, node.domain)
        if row is not None and _is_constant(view, row, node):
            _unpack(graph, view, made, node, row)
            grids |= _output_grid(row, node)
            count += 1
        elif count and _moves_codes(view, node, grids):
            _surround(graph, made, node, grids)
    if count:
        graph.cleanup()
        make_unsigned(graph)
    return count


def _is_constant(view: GraphView, row: QOperator, node: NodeView) -> bool:
    """Whether all scales and zero points of ``node`` are stored."""
    parts = zip(row.inputs(_operands(row, node)), node.inputs, strict=False)
    named = [t for (part, _), t in parts if part in {"scale", "zero"} and t]
    return all(view.is_constant(t) for t in named)


def _operands(row: QOperator, node: NodeView) -> int:
    return (len(node.inputs) - len(row.layout)) // 3 if row.repeated else 0


def _by_slot(row: QOperator, node: NodeView) -> dict[int, dict[str, str]]:
    """slot -> part -> the tensor there ("" where there is none)."""
    found: dict[int, dict[str, str]] = {}
    for at, (part, slot) in enumerate(row.inputs(_operands(row, node))):
        found.setdefault(slot, {})[part] = node.input(at)
    return found


def _output_grid(row: QOperator, node: NodeView) -> dict[str, Grid]:
    out = _by_slot(row, node).get(OUT, {})
    return {node.outputs[0]: (out["scale"], out["zero"])} if out.get("scale") else {}


def _unpack(
    graph: Graph, view: GraphView, made: _Dequantized, node: NodeView, row: QOperator
) -> None:
    parts, inputs = _by_slot(row, node), dict[int, str]()
    attributes = {k: v for k, v in node.attributes.items() if k not in row.own}
    for slot, held in sorted(parts.items()):
        if slot == OUT:
            continue
        if "plain" in held:
            inputs[slot] = held["plain"]
        elif "bias" in held:
            inputs[slot] = _bias(graph, view, parts, held["bias"], attributes, node.name)
        else:
            axis = _axis(view, row, held, attributes)
            inputs[slot] = made.of(held["codes"], (held["scale"], held["zero"]), node.name, axis)
    added = _row(graph, view, inputs.pop(2, "")) if row.added else ""
    names = [inputs.get(slot, "") for slot in range(max(inputs) + 1)]
    while not names[-1]:
        names.pop()
    graph.recast(node.name, row.float_op, tuple(names), attributes)
    result = node.outputs[0]
    if added:
        _write(graph, node, "Add", (added,), result, "product", "float32")
    out = parts.get(OUT, {})
    if out.get("scale"):
        grid = (out["scale"], out["zero"])
        _write(graph, node, Q, grid, result, "real", view.tensors[result].dtype or "uint8")


def _row(graph: Graph, view: GraphView, bias: str) -> str:
    """The bias (out,) as (1, out), which onnxruntime does not fuse into a float Gemm."""
    if not bias or not view.is_constant(bias):
        return bias
    return graph.add_constant(f"{bias}_row", view.constants[bias].reshape(1, -1))


def _write(
    graph: Graph, node: NodeView, op: str, rest: tuple[str, ...], result: str, what: str, dtype: str
) -> None:
    """Let an ``op`` behind ``node`` compute ``result`` from what ``node`` writes now."""
    before = graph.split_output(result, f"{result.removesuffix(ENDING)}_{what}")
    graph.set_dtype(before, "float32")
    inputs = tuple(t for t in (before, *rest) if t)
    made = graph.add_node(
        op, inputs, f"{result}_made", name=f"{node.name}_{op}", like=before, dtype=dtype
    )
    graph.give_output(result, made)


def _bias(
    graph: Graph,
    view: GraphView,
    parts: Mapping[int, Mapping[str, str]],
    codes: str,
    attributes: Mapping[str, Any],
    before: str,
) -> str:
    """The DequantizeLinear of int32 codes in units of the sums."""
    if not codes:
        return ""
    scales = [view.constants[parts[slot]["scale"]].reshape(-1) for slot in (0, 1)]
    step = np.float32(attributes.get("alpha", 1.0)) * scales[0] * scales[1]
    many = step.size > 1
    shaped = (step if many else step.reshape(())).astype(np.float32)
    scale = graph.add_constant(f"{codes}_scale", np.asarray(shaped))
    zero = graph.add_constant(f"{codes}_zero_point", np.zeros(shaped.shape, np.int32))
    return graph.add_node(
        DQ,
        (codes, scale, zero),
        f"{codes}_dequantized",
        name=f"{codes}_DequantizeLinear",
        attributes={"axis": (view.rank(codes) or 1) - 1} if many else {},
        like=codes,
        dtype="float32",
        before=before,
    )


def _axis(
    view: GraphView, row: QOperator, held: Mapping[str, str], attributes: Mapping[str, Any]
) -> int | None:
    """The axis of the scales of an operand, where there are several."""
    rank = view.rank(held["codes"])
    if view.constants[held["scale"]].size == 1 or rank is None:
        return None
    return weight_axis(row.float_op, attributes, rank)


def _moves_codes(view: GraphView, node: NodeView, grids: Mapping[str, Grid]) -> bool:
    """Whether ``node`` moves the codes of an activation, whose grid is known."""
    codes = node.inputs[0] if node.inputs else ""
    known = codes in grids and not view.is_constant(codes)
    types = {view.tensors[t].dtype for t in node.outputs if t}
    return known and only_moves(node.op) and types <= BYTES


def _surround(graph: Graph, made: _Dequantized, node: NodeView, grids: dict[str, Grid]) -> None:
    """Let ``node`` move floats between a DequantizeLinear and a QuantizeLinear of one grid."""
    grid = grids[node.inputs[0]]
    dtype = made.view.tensors[node.inputs[0]].dtype or "uint8"
    graph.set_input(node.name, 0, made.of(node.inputs[0], grid, node.name))
    for codes in node.outputs:
        if codes:
            _write(graph, node, Q, grid, codes, "moved", dtype)
            grids[codes] = grid
