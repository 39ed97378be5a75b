"""``y = f(x) = x``: Identity, Dropout at inference, Pad by zero, Cast to the type that it reads."""

from collections.abc import Callable

from oq.errors import ModelError
from oq.model.graph import Graph
from oq.model.view import GraphView, NodeView
from oq.prepare.outcome import Outcome, finish


def drop_noops(graph: Graph) -> Outcome:
    """Remove nodes whose output is their first input."""
    return _drop(graph, _is_noop)


def drop_casts(graph: Graph) -> Outcome:
    """Remove Casts of tensors to the type that they have: those around parts of a mixed model that
    is float32 throughout now.  Types must be known."""
    return _drop(graph, _keeps_type)


def _drop(graph: Graph, is_noop: Callable[[GraphView, NodeView], bool]) -> Outcome:
    view = graph.view()
    changed, refusals = 0, []
    for node in view.nodes:
        if not is_noop(view, node):
            continue
        if node.inputs[0] in view.constants:
            continue  # fold_constants turns it into a constant of its own name
        try:
            graph.bypass(node.name)
        except ModelError as refusal:
            refusals.append(str(refusal))
        else:
            changed += 1
    return finish(graph, changed, refusals)


def _is_noop(view: GraphView, node: NodeView) -> bool:
    if node.domain not in {"", "ai.onnx"}:
        return False
    if node.op == "Identity":
        return True
    if node.op == "Dropout":
        return not _is_training(view, node) and _mask_is_unused(view, node)
    if node.op == "Pad":
        pads = node.input(1)
        return bool(pads) and view.is_constant(pads) and not view.constants[pads].any()
    return False


def _keeps_type(view: GraphView, node: NodeView) -> bool:
    if node.op not in {"Cast", "CastLike"} or node.domain not in {"", "ai.onnx"}:
        return False
    before, after = (view.tensors[t].dtype for t in (node.inputs[0], node.outputs[0]))
    return before is not None and before == after


def _is_training(view: GraphView, node: NodeView) -> bool:
    """Dropout drops only when its third input is a true constant (opset 12), or not known."""
    flag = node.input(2)
    return bool(flag) and (not view.is_constant(flag) or bool(view.constants[flag].any()))


def _mask_is_unused(view: GraphView, node: NodeView) -> bool:
    return all(view.edges(t) == 0 for t in node.outputs[1:] if t)
