"""Keeps float layers in float where the runtime would quantize them by itself.

onnxruntime's WeightBiasQuantization gives every Conv, ConvTranspose and Gemm directly between a
DequantizeLinear and a QuantizeLinear int8 weights with one scale per tensor, even one that the user
excluded; and pooling or Softmax there becomes an integer kernel, even a slower one.  A Max with a
single operand, ``y = max(x) = x``, between the DequantizeLinear and the node does not match those
patterns, and no optimization of onnxruntime removes it.  It costs one copy of x.
"""

from collections.abc import Collection, Iterable, Mapping

from oq.checks.legal import quantized_anyway
from oq.checks.placement import moved_tensors
from oq.emission.emit import Placed, emit
from oq.emission.keep_integer import keep_products_integer
from oq.emission.solve import Solution
from oq.model.graph import Graph
from oq.model.ops import OPS, averages
from oq.model.qdq import DQ, Q
from oq.model.view import GraphView, NodeView
from oq.planning.spec import Plan, SiteKey
from oq.planning.target import Target

SLOWER_IN_INT8 = frozenset({"AveragePool", "Softmax"})
"""Between 1x1 convolutions over 256 x 14 x 14, a 3x3 average takes 1.10 of the float time in
integers and 0.58 if kept in float; over 64 x 28 x 28, Softmax takes 0.40 and 0.25."""


def emit_guarded(
    graph: Graph, plan: Plan, solution: Solution, target: Target
) -> Mapping[SiteKey, Placed]:
    """:func:`oq.emission.emit.emit`, and what keeps the rest loadable, layers in float and products
    in integers where ``target`` would not."""
    placed = emit(graph, plan, solution)
    keep_loadable(graph)
    if target.guarded:
        keep_layers_float(graph, {s.node for s in plan.skips})
        keep_products_integer(graph)
    return placed


def keep_layers_float(graph: Graph, floats: Collection[str]) -> tuple[str, ...]:
    """Insert a Max before layers with float weights, and before those of the nodes ``floats`` that
    are slower in integers; returns their names."""
    view = graph.view()
    layers = {name for name, _ in quantized_anyway(view)}
    return _part(
        graph,
        (n.name for n in view.nodes if n.name in layers or (n.name in floats and _slower(view, n))),
    )


def keep_loadable(graph: Graph) -> tuple[str, ...]:
    """Insert a Max before averages over values that lie apart and before bodies that read what is
    moved behind a pair, for any target; returns the names of the averages.

    onnxruntime makes a QLinearAveragePool of one between pairs, which has no dilations, and then
    refuses the file.  (:mod:`oq.prepare.drop_dilations` has removed those that say nothing.)  Of
    bodies :func:`oq.checks.placement.moved_into_a_body` says what happens.
    """
    view = graph.view()
    for tensor in list(moved_tensors(view)):
        if any(tensor in node.captured for node in view.consumers(tensor)):
            _copy_for_bodies(graph, tensor)
    view = graph.view()
    return _part(graph, (n.name for n in view.nodes if _is_dilated(n) and _is_between(view, n)))


def _copy_for_bodies(graph: Graph, tensor: str) -> None:
    """Let the bodies that read ``tensor`` read a copy of it; its other readers read what it was."""
    readers = [n.name for n in graph.view().consumers(tensor) if tensor in n.inputs]
    moved = graph.split_output(tensor, f"{tensor}_moved")
    copy = _copy(graph, moved, f"{tensor}_in_bodies", tensor, "bodies read it")
    graph.give_output(tensor, copy)
    for name in readers:
        graph.replace_reads(name, tensor, moved)


def _part(graph: Graph, names: Iterable[str]) -> tuple[str, ...]:
    view, copies = graph.view(), dict[str, str]()
    found = tuple(names)
    for name in found:
        node = view.node(name)
        tensor = node.inputs[OPS[node.op].data[0]]
        if tensor not in copies:
            why = "the next layer stays in float"
            copies[tensor] = _copy(graph, tensor, f"{tensor}_in_float", tensor, why, name)
        graph.replace_reads(name, tensor, copies[tensor])
    return found


def _copy(
    graph: Graph, tensor: str, made: str, origin: str, why: str, before: str | None = None
) -> str:
    """The Max of ``tensor`` alone, ``made``, named after the tensor ``origin``."""
    return graph.add_node(
        "Max",
        (tensor,),
        made,
        name=f"{origin}_Max",
        like=tensor,
        dtype="float32",
        rule=f"guard: {why}",
        before=before,
    )


def _slower(view: GraphView, node: NodeView) -> bool:
    return node.op in SLOWER_IN_INT8 and _is_between(view, node)


def _is_between(view: GraphView, node: NodeView) -> bool:
    above = view.producer(node.inputs[0]) if node.inputs else None
    if above is None or above.op != DQ:
        return False
    return any(r.op == Q for r in view.consumers(node.outputs[0]))


def _is_dilated(node: NodeView) -> bool:
    return "dilations" in node.attributes and averages(node.op)
