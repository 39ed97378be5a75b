"""Keeps layers that stay in float really in float, where the runtime would quantize them unasked.

onnxruntime's WeightBiasQuantization gives every Conv, ConvTranspose and Gemm that stands directly
between a DequantizeLinear and a QuantizeLinear int8 weights with one scale per tensor, be it one
that the user excluded.  A Max of a single operand, ``y = max(x) = x``, between the DequantizeLinear
and the layer is no part of that pattern, and no optimization of onnxruntime removes it.  It costs
one copy of the layer's input.
"""

from oq.graph import Graph
from oq.legal import quantized_anyway
from oq.ops import OPS


def guard(graph: Graph) -> tuple[str, ...]:
    """Guard every float layer that the check ``stays-float`` would name; returns their names."""
    view, copies = graph.view(), dict[str, str]()
    found = tuple(name for name, _ in quantized_anyway(view))
    for name in found:
        node = view.node(name)
        tensor = node.inputs[OPS[node.op].data[0]]
        if tensor not in copies:
            copies[tensor] = graph.add_node(
                "Max",
                (tensor,),
                f"{tensor}_in_float",
                name=f"{tensor}_Max",
                like=tensor,
                dtype="float32",
                rule="guard: the next layer stays in float",
                before=name,
            )
        graph.replace_reads(name, tensor, copies[tensor])
    return found
