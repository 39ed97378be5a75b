"""MatMulNBits as the DequantizeLinear and MatMul that it stands for, so that the checks and the
forecast see one form, whichever a tool has written."""

import numpy as np

from oq.model.graph import Graph
from oq.model.nbits import DOMAIN, OP, WIDTHS, Packed, unpack
from oq.model.qdq import DQ, constant
from oq.model.view import GraphView, NodeView


def unpack_blocks(graph: Graph) -> int:
    """Rewrite every MatMulNBits of ``graph``, in place, without its bias; returns their number.

    Those of other widths, and with computed weights, stay.
    """
    view = graph.view()
    found = [n for n in view.nodes if n.op == OP and n.domain == DOMAIN and _is_stored(view, n)]
    for node in found:
        rows, columns, bits, block = (
            int(node.attributes[name]) for name in ("K", "N", "bits", "block_size")
        )
        held = [constant(view, node, slot) for slot in (1, 2, 3)]
        if held[0] is None or held[1] is None:
            continue
        packed = Packed(held[0], held[1].astype(np.float32), held[2])
        codes, scale, zero = unpack(packed, (rows, columns), bits, block)
        dtype = f"uint{bits}"
        names = (
            graph.add_constant(f"{node.inputs[1]}_codes", codes.astype(dtype)),
            graph.add_constant(f"{node.inputs[1]}_scale", np.ascontiguousarray(scale)),
            graph.add_constant(f"{node.inputs[1]}_zero_point", zero.astype(dtype)),
        )
        weight = graph.add_node(
            DQ,
            names,
            f"{node.inputs[1]}_dequantized",
            name=f"{node.name}_DequantizeLinear",
            attributes={"axis": 0, "block_size": block},
            like=names[0],
            dtype="float32",
            before=node.name,
        )
        graph.recast(node.name, "MatMul", (node.inputs[0], weight), {})
    return len(found)


def _is_stored(view: GraphView, node: NodeView) -> bool:
    zero = node.input(3)
    packed = not zero or (view.is_constant(zero) and view.constants[zero].dtype == np.uint8)
    constants = all(view.is_constant(t) for t in node.inputs[1:3])
    return packed and constants and node.attributes.get("bits", 4) in WIDTHS
