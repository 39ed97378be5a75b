"""Integer matrix products with a float result: MatMul and Gemm without a QuantizeLinear behind.

MatMulIntegerToFloat(a, b, ..., bias), QGemm without the grid of an output      com.microsoft
y = Cast(MatMulInteger(a, b)) * (scale_a scale_b) + bias                        ONNX's own
"""

from collections.abc import Mapping

import numpy as np

from oq.deployment.qoperator.kernels import (
    Found,
    attributes_of,
    bias_codes,
    find,
    grid_part,
    inputs_of,
    steps_of,
)
from oq.deployment.qoperator.operands import real_bias
from oq.model.graph import Graph
from oq.model.operands import bias_input
from oq.model.ops import ADDING
from oq.model.qoperators import MICROSOFT, QOPERATORS, QOperator
from oq.model.view import GraphView, NodeView
from oq.numerics.values import Array

TO_FLOAT: Mapping[str, QOperator] = {
    row.float_op: row for row in reversed(QOPERATORS) if row.added or row.float_op == "Gemm"
}
"""Float op -> the operator that gives its result in float."""

INTEGER_PRODUCT = "MatMulInteger"


def multiply(graph: Graph, domains: frozenset[str]) -> dict[str, str]:
    """Rewrite every product of ``graph`` whose operands are codes, in place; returns node ->
    integer operator."""
    view, done = graph.view(), dict[str, str]()
    for node in view.nodes:
        row = TO_FLOAT.get(node.op)
        found = None if row is None else find(view, node)
        if row is None or found is None:
            continue
        found = Found(node, found.operands, None)
        if MICROSOFT in domains:
            made = _in_one(graph, view, row, found)
        else:
            made = _in_steps(graph, view, found)
        if made:
            done[node.name] = made
    graph.cleanup()
    return done


def _in_one(graph: Graph, view: GraphView, row: QOperator, found: Found) -> str:
    node = found.node
    inputs = inputs_of(graph, view, row, found)
    if inputs is None:
        return ""
    added = _added(view, found) if row.added else None
    if added is not None:
        behind, bias = added
        inputs = (*inputs, graph.add_constant(f"{behind.outputs[0]}_bias", bias))
        _skip(graph, node, behind)
    graph.recast(node.name, row.op, inputs, attributes_of(view, node), row.domain)
    return row.op


def _skip(graph: Graph, node: NodeView, behind: NodeView) -> None:
    """Let ``node`` write what ``behind``, which reads it, has written."""
    out = behind.outputs[0]
    graph.split_output(out, f"{out}_before")
    graph.give_output(out, node.outputs[0])


def _added(view: GraphView, found: Found) -> tuple[NodeView, Array] | None:
    """The Add that alone reads a product, and its constant row (out,)."""
    product = found.node.outputs[0]
    readers = view.consumers(product)
    if view.edges(product) != 1 or len(readers) != 1 or readers[0].op not in ADDING:
        return None
    other = next((t for t in readers[0].inputs if t != product), product)
    row = real_bias(view, other)
    rank, codes = view.rank(product), found.operands[1].codes
    if row is None or rank is None or not view.is_constant(codes) or row.ndim > rank:
        return None
    columns = view.constants[codes].shape[-1]
    fits = row.size == columns and row.shape[-1:] == (columns,)
    return (readers[0], row.reshape(-1).astype(np.float32)) if fits else None


def _in_steps(graph: Graph, view: GraphView, found: Found) -> str:
    """ONNX's own operators, which multiply a stored weight (in, out)."""
    node, (data, weight) = found.node, (found.operands[0], found.operands[1])
    flags = node.attributes
    if flags.get("transA") or (flags.get("transB") and not view.is_constant(weight.codes)):
        return ""
    bias = bias_input(node)
    codes = "" if bias is None else bias_codes(graph, view, found, bias)
    if codes is None:
        return ""
    right, result, prefix = weight.codes, node.outputs[0], node.name
    if flags.get("transB"):
        right = graph.add_constant(f"{right}_transposed", view.constants[right].T)

    def add(op: str, inputs: tuple[str, ...], what: str, dtype: str, **attributes: int) -> str:
        return graph.add_node(
            *(op, inputs, f"{result}_{what}"),
            name=f"{prefix}_{what}",
            attributes=attributes,
            like=result,
            dtype=dtype,
            before=node.name,
        )

    zeros = (grid_part(graph, view, "zero", o.grid) for o in (data, weight))
    sums = add(INTEGER_PRODUCT, (data.codes, right, *zeros), "sums", "int32")
    if codes:
        sums = add("Add", (sums, codes), "biased", "int32")
    real = add("Cast", (sums,), "cast", "float32", to=1)
    step = steps_of(view, found)
    shaped = step.reshape(()) if step.size == 1 else step
    graph.recast(
        *(node.name, "Mul"),
        (real, graph.add_constant(f"{result}_step", shaped.astype(np.float32))),
        {},
    )
    return INTEGER_PRODUCT
