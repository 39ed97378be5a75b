"""``Gather(DequantizeLinear(table))`` -> ``DequantizeLinear(Gather(codes))``.

The two compute the same.  A runtime that does not swap them itself dequantizes the whole table on
every run (onnxruntime 1.32).
"""

from oq.model.graph import Graph
from oq.model.ops import PICKING
from oq.model.qdq import DQ, dequantized_by, stored
from oq.model.view import GraphView, NodeView


def gather_codes(graph: Graph) -> int:
    """Let every Gather of rows of a stored table move codes, in place; returns their number."""
    view, count = graph.view(), 0
    for node in view.nodes:
        dq = dequantized_by(view, node.inputs[0]) if node.op in PICKING and node.inputs else None
        if dq is None or not stored(view, dq) or not _picks_rows(view, node, dq):
            continue
        codes, scale, zero = dq.inputs
        real = node.outputs[0]
        graph.replace_reads(node.name, node.inputs[0], codes)
        picked = graph.split_output(real, f"{real}_quantized")
        graph.set_dtype(picked, view.constants[codes].dtype.name)
        graph.give_output(
            real,
            graph.add_node(
                DQ,
                (picked, scale, zero),
                f"{real}_dequantized",
                name=f"{real}_DequantizeLinear",
                attributes={"axis": -1} if view.constants[scale].ndim else {},
                like=real,
                dtype="float32",
                rule=node.op,
            ),
        )
        count += 1
    if count:
        graph.cleanup()
    return count


def _picks_rows(view: GraphView, node: NodeView, dq: NodeView) -> bool:
    """Whether ``node`` picks rows of a table with one scale, or with one per column."""
    codes, scale = (view.constants[name] for name in dq.inputs[:2])
    per_column = scale.ndim == 1 and dq.attributes.get("axis", 1) in {1, -1}
    fits = scale.ndim == 0 or (per_column and codes.ndim == 2)
    return fits and node.attributes.get("axis", 0) == 0
