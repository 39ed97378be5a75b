"""``ReduceMean(x, axes = all spatial, keepdims = 1)`` -> ``GlobalAveragePool(x)``.

torch's AdaptiveAvgPool2d(1) and ``x.mean((2, 3))`` are exported as ReduceMean, for which no target
has an integer kernel; with keepdims = 0 a Flatten follows, since (N, C, 1, 1) -> (N, C).
"""

from oq.model.graph import Graph
from oq.model.view import GraphView, NodeView
from oq.prepare.outcome import Outcome, finish


def mean_to_pool(graph: Graph) -> Outcome:
    """Rewrite every mean over exactly the spatial axes of an (N, C, H, W) tensor."""
    view = graph.view()
    changed = 0
    for node in view.nodes:
        if node.op != "ReduceMean" or not _is_global_pool(view, node):
            continue
        out, kept = node.outputs[0], bool(node.attributes.get("keepdims", 1))
        graph.split_output(out, f"{out}_mean")
        pooled = graph.add_node(
            "GlobalAveragePool",
            (node.inputs[0],),
            f"{out}_pooled",
            name=f"{node.name}_GlobalAveragePool",
            dtype="float32",
            before=node.name,
        )
        if not kept:
            pooled = graph.add_node(
                "Flatten",
                (pooled,),
                f"{out}_flat",
                name=f"{node.name}_Flatten",
                dtype="float32",
                before=node.name,
            )
        graph.give_output(out, pooled)
        changed += 1
    return finish(graph, changed)


def _is_global_pool(view: GraphView, node: NodeView) -> bool:
    rank = view.rank(node.inputs[0])
    axes = constant_axes(view, node)
    if rank != 4 or axes is None:
        return False
    info = view.tensors[node.inputs[0]]
    return info.dtype == "float32" and sorted(a % rank for a in axes) == [2, 3]


def constant_axes(view: GraphView, node: NodeView) -> list[int] | None:
    """The axes, an attribute up to opset 17 and an input since; None when not constant."""
    if "axes" in node.attributes:
        return [int(a) for a in node.attributes["axes"]]
    name = node.input(1)
    if not name or not view.is_constant(name):
        return None
    return [int(a) for a in view.constants[name]]
