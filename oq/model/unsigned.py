"""int8 activations as uint8 codes of the same values, which onnxruntime on x86 multiplies faster.

    code + 128, zero point + 128, the same scale: (code - zero) * scale does not change

onnxruntime does so itself when it loads Q/DQ on x86 (QDQS8ToU8Transformer); integer operators it
takes as they are.  Weights stay int8.
"""

import numpy as np

from oq.model.graph import Graph
from oq.model.operands import bias_input, weight_input
from oq.model.qdq import DQ, Q, codes_dtype, constant, pairs, same_grid, stored
from oq.model.qoperators import COMPUTING
from oq.model.view import GraphView, NodeView
from oq.numerics.values import Array

OFFSET = 128


def make_unsigned(graph: Graph) -> int:
    """Let every int8 tensor of ``graph`` between Q and DQ be uint8, in place, with the stored
    operands of elementwise ops; returns their number."""
    view, zeros, count = graph.view(), dict[str, str](), 0
    for node in pairs(view):
        zero = constant(view, node, 2)
        if zero is None or zero.dtype != np.int8 or zero.size != 1:
            continue
        if node.op == Q and _is_between(view, node):
            pair = (node, *view.consumers(node.outputs[0]))
            graph.set_dtype(node.outputs[0], "uint8")
        elif node.op == DQ and stored(view, node) and _is_operand(view, node):
            pair = (node,)
            codes = shifted(view.constants[node.inputs[0]])
            graph.set_input(node.name, 0, graph.add_constant(f"{node.inputs[0]}_unsigned", codes))
        else:
            continue
        name = node.inputs[2]
        if name not in zeros:
            zeros[name] = graph.add_constant(f"{name}_unsigned", shifted(zero))
        for part in pair:
            graph.set_input(part.name, 2, zeros[name])
        count += 1
    return count


def shifted(codes: Array) -> Array:
    """int8 ``codes`` as uint8."""
    return np.asarray((codes.astype(np.int16) + OFFSET).astype(np.uint8))


def _is_between(view: GraphView, q: NodeView) -> bool:
    """Whether only DequantizeLinear nodes read what ``q`` writes, with its zero point."""
    codes = q.outputs[0]
    readers = view.consumers(codes)
    others = codes in view.outputs or any(n.op != DQ or codes in n.captured for n in readers)
    same = all(same_grid(view, q, n) for n in readers if n.op == DQ)
    return not others and same and codes_dtype(view, q) == "int8"


def _is_operand(view: GraphView, dq: NodeView) -> bool:
    """Whether elementwise ops, and no layers as their weights or biases, read the output of
    ``dq``."""
    real = dq.outputs[0]
    readers = view.consumers(real)
    layers = any(real in (weight_input(n), bias_input(n)) for n in readers)
    computing = all(n.op in COMPUTING for n in readers)
    return view.is_constant(dq.inputs[0]) and not layers and computing and bool(readers)
