"""A dequantized weight and the product that reads it -> a product of integers, with the range of
the data taken when it runs.

    codes, scale, zero = DynamicQuantizeLinear(x)           uint8, one range per tensor and run
    y = (codes - zero) W_codes * (scale * W_scale) + bias   MatMulInteger, Cast, Mul, Add

onnxruntime fuses the chain into MatMulIntegerToFloat, or DynamicQuantizeMatMul where no other layer
reads x.  All are standard operators (opset 11).  An LSTM becomes onnxruntime's DynamicQuantizeLSTM,
which takes both weights transposed, with a scale per direction and output.
"""

import numpy as np

from oq.model.graph import Graph
from oq.model.nbits import DOMAIN
from oq.model.operands import bias_input, recurrent_input, weight_input
from oq.model.qdq import dequantized_by, stored
from oq.model.view import GraphView, NodeView

RULE = "range at run time"


def quantize_data(graph: Graph) -> int:
    """Rewrite every layer of ``graph`` whose weight is dequantized, in place; returns their
    number.  Weights are symmetric, (in, out), with a scale per tensor or per output."""
    view, data = graph.view(), dict[str, tuple[str, str, str]]()
    count = 0
    for node in view.nodes:
        weight = weight_input(node)
        dq = None if weight is None else dequantized_by(view, weight)
        if dq is None or not stored(view, dq):
            continue
        if recurrent_input(node) is not None:
            count += _recur(graph, view, node)
            continue
        if node.inputs[0] not in data:
            data[node.inputs[0]] = _quantize(graph, node.inputs[0], node.name)
        _multiply(graph, node, dq, data[node.inputs[0]])
        count += 1
    if count:
        graph.cleanup()
    return count


def _quantize(graph: Graph, tensor: str, reader: str) -> tuple[str, str, str]:
    """Codes, scale and zero point of ``tensor``, computed in front of ``reader``."""
    made = graph.add_node(
        "DynamicQuantizeLinear",
        (tensor,),
        f"{tensor}_quantized",
        name=f"{tensor}_DynamicQuantizeLinear",
        like=tensor,
        dtype="uint8",
        rule=RULE,
        before=reader,
    )
    scale = graph.add_output(made, f"{tensor}_scale", "float32", ())
    zero = graph.add_output(made, f"{tensor}_zero_point", "uint8", ())
    return made, scale, zero


def _multiply(graph: Graph, node: NodeView, dq: NodeView, data: tuple[str, str, str]) -> None:
    codes, scale, zero = data
    result, bias = node.outputs[0], bias_input(node)

    def add(op: str, inputs: tuple[str, ...], what: str, dtype: str, like: str) -> str:
        return graph.add_node(
            op,
            inputs,
            f"{result}_{what}",
            name=f"{node.name}_{op}",
            attributes={"to": 1} if op == "Cast" else {},
            like=like,
            dtype=dtype,
            rule=RULE,
            before=node.name,
        )

    sums = add("MatMulInteger", (codes, dq.inputs[0], zero), "sums", "int32", result)
    real = add("Cast", (sums,), "cast", "float32", result)
    steps = add("Mul", (scale, dq.inputs[1]), "steps", "float32", dq.inputs[1])
    if bias is None:
        graph.recast(node.name, "Mul", (real, steps), {})
        return
    product = add("Mul", (real, steps), "product", "float32", result)
    graph.recast(node.name, "Add", (product, bias), {})


FURTHER = 8
"""Inputs of an LSTM; those of DynamicQuantizeLSTM are followed by scales and zero points."""


def _recur(graph: Graph, view: GraphView, node: NodeView) -> bool:
    """Let the LSTM ``node`` read the codes of its weights (direction, outputs, inputs)."""
    inputs, grids = [node.input(slot) for slot in range(FURTHER)], []
    for slot in (1, 2):
        dq = dequantized_by(view, inputs[slot])
        if dq is None or not stored(view, dq):
            return False
        codes, scale, zero = (view.constants[name] for name in dq.inputs)
        name = dq.inputs[0]
        inputs[slot] = graph.add_constant(f"{name}_transposed", codes.transpose(0, 2, 1))
        for part, what in ((scale, "scale"), (zero, "zero_point")):
            full = np.ascontiguousarray(np.broadcast_to(part, codes.shape[:2]))
            grids.append(graph.add_constant(f"{name}_{what}", full))
    attributes = {k: v for k, v in node.attributes.items() if k != "layout"}
    everything = (*inputs, *grids)
    graph.recast(node.name, "DynamicQuantizeLSTM", everything, attributes, domain=DOMAIN)
    return True
