"""``Sum(a, b, c)`` -> ``Add(Add(a, b), c)``: old exporters write residual additions as Sum.

Targets have kernels for Add, but none for Sum.
"""

from oq.model.graph import Graph
from oq.prepare.outcome import Outcome, finish


def sum_to_add(graph: Graph) -> Outcome:
    """Rewrite every Sum of two or more tensors."""
    view = graph.view()
    changed = 0
    for node in view.nodes:
        if node.op != "Sum" or len(node.inputs) < 2:
            continue
        out = node.outputs[0]
        info = view.tensors[out]
        last = graph.split_output(out, f"{out}_sum")
        total = node.inputs[0]
        for tensor in node.inputs[1:]:
            total = graph.add_node(
                "Add",
                (total, tensor),
                f"{out}_added",
                name=f"{node.name}_Add",
                like=last,
                dtype=info.dtype,
                before=node.name,
            )
        graph.give_output(out, total)
        changed += 1
    return finish(graph, changed)
