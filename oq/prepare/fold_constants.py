"""Evaluates nodes that depend only on constants, and inlines each If whose condition is known.

Every node is evaluated by onnxruntime, which implements the operator at its opset.  Shape is a
source of constants too: ``Shape(x)[start:end]`` where those axes of x have fixed sizes, and a
Gather or Slice of it that reads only such axes.  Random ops, and nodes with bodies, are never
evaluated; nor is a large tensor made of small ones (:data:`LARGEST`).
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx

from oq.errors import DataError, ModelError
from oq.model.graph import Graph
from oq.model.ops import RANDOM_OPS, STANDARD
from oq.model.session import Settings, run
from oq.model.view import GraphView, NodeView
from oq.numerics.values import Array
from oq.prepare.outcome import Outcome

LARGEST = 2**26
"""Values of a tensor that nothing but small constants make (ConstantOfShape, Expand, Tile): left
to run time, where it takes no room in the file."""


def fold_constants(graph: Graph) -> Outcome:
    """Evaluate every node that only constants feed, and inline every If with a known condition."""
    before = len(graph.view().nodes)
    folded = 0
    while True:
        gone = _fold(graph)
        inlined = _inline(graph)
        folded += gone + inlined
        if not inlined:
            break
    if folded:
        graph.cleanup()
    return Outcome(max(folded, before - len(graph.view().nodes)))


def _inline(graph: Graph) -> int:
    """Put the branch that is taken in place of every If with a constant condition."""
    view, count = graph.view(), 0
    for node in view.nodes:
        if node.op == "If" and node.domain in STANDARD and view.is_constant(node.inputs[0]):
            taken = bool(view.constants[node.inputs[0]].reshape(-1)[0])
            graph.inline_branch(node.name, "then_branch" if taken else "else_branch")
            count += 1
    return count


def _fold(graph: Graph) -> int:
    """Turn what can be known into constants; how many nodes went."""
    view = graph.view()
    known = _known_shapes(view)
    constant = {*known}
    picked: list[NodeView] = []
    for node in view.nodes:
        outputs = {t for t in node.outputs if t}
        if outputs <= constant:
            continue
        if _is_foldable(view, node, constant):
            picked.append(node)
            constant |= outputs
    picked = _small(graph, view, picked, known)
    values = {**known, **_evaluate(graph, view, picked, known)}
    for tensor, found in values.items():
        graph.make_constant(tensor, found)
    if values:
        graph.cleanup()
    gone = [n for n in view.nodes if n.outputs and all(not t or t in values for t in n.outputs)]
    return len(gone)


def _is_foldable(view: GraphView, node: NodeView, constant: set[str]) -> bool:
    """Whether ``node`` computes the same whenever it is run, from constants alone."""
    reads = [t for t in (*node.inputs, *node.captured) if t]
    if node.op in RANDOM_OPS or (node.op == "Dropout" and node.input(2)) or _has_body(node):
        return False
    if not reads and node.op != "Constant":
        return False
    return all(view.is_constant(t) or t in constant for t in reads)


def _has_body(node: NodeView) -> bool:
    return any(hasattr(value, "nodes") for value in node.attributes.values())


def _small(
    graph: Graph, view: GraphView, picked: Sequence[NodeView], known: Mapping[str, Array]
) -> list[NodeView]:
    """``picked`` without nodes that make a tensor above :data:`LARGEST` of smaller ones, and
    without what needs those."""
    if not picked:
        return []
    ends = [t for n in picked for t in n.outputs if t]
    piece = graph.piece([n.name for n in picked], ends, known)
    try:
        inferred = onnx.shape_inference.infer_shapes(piece, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError):
        return list(picked)
    sizes = {
        v.name: int(np.prod([float(d.dim_value) for d in v.type.tensor_type.shape.dim]))
        for v in (*inferred.graph.value_info, *inferred.graph.output)
    }
    kept: list[NodeView] = []
    out: set[str] = set()
    for node in picked:
        read = max((view.constants[t].size for t in node.inputs if view.is_constant(t)), default=0)
        size = max((sizes.get(t, 0) for t in node.outputs if t), default=0)
        if out.intersection(node.inputs) or (size > LARGEST and size > read):
            out.update(node.outputs)
        else:
            kept.append(node)
    return kept


def _evaluate(
    graph: Graph, view: GraphView, picked: Sequence[NodeView], known: Mapping[str, Array]
) -> dict[str, Array]:
    """The values that others read of what ``picked`` nodes compute: in one session, or node by node
    where that fails; what cannot be evaluated stays in the graph."""
    if not picked:
        return {}
    inside = {n.name for n in picked}
    ends = [t for n in picked for t in n.outputs if t and _is_read_outside(view, t, inside)]
    found = _run(graph, picked, ends, known)
    if found is not None:
        return found
    values: dict[str, Array] = {}
    for node in picked:
        ends = [t for t in node.outputs if t]
        reads = [t for t in node.inputs if t]
        if all(view.is_constant(t) or t in values or t in known for t in reads):
            values |= _run(graph, [node], ends, {**known, **values}) or {}
    return values


def _is_read_outside(view: GraphView, tensor: str, inside: set[str]) -> bool:
    readers = view.consumers(tensor)
    return tensor in view.outputs or any(r.name not in inside for r in readers)


def _run(
    graph: Graph, nodes: Iterable[NodeView], outputs: Sequence[str], known: Mapping[str, Array]
) -> dict[str, Array] | None:
    """The ``outputs`` of ``nodes``; None where onnxruntime cannot compute one as a tensor of
    numbers."""
    piece = graph.piece([n.name for n in nodes], outputs, known)
    try:
        found = run(piece, {}, outputs, Settings(threads=1, reading="literal"))
    except (ModelError, DataError):
        return None
    numbers = all(isinstance(v, np.ndarray) and v.dtype != object for v in found.values())
    return found if numbers else None


def _known_shapes(view: GraphView) -> dict[str, Array]:
    """Tensor -> value, for what Shape nodes and reads of single axes of them are known to give."""
    found: dict[str, Array] = {}
    for node in view.nodes:
        if node.op == "Shape" and node.domain in STANDARD:
            axes = _axes(view, node)
            if axes is not None and all(isinstance(a, int) for a in axes):
                found[node.outputs[0]] = np.asarray(axes, np.int64)
        elif node.op in {"Gather", "Slice"}:
            maker = view.producer(node.inputs[0])
            axes = None if maker is None or maker.op != "Shape" else _axes(view, maker)
            picked = None if axes is None else _pick(view, node, axes)
            if picked is not None and all(isinstance(a, int) for a in picked.reshape(-1)):
                found[node.outputs[0]] = picked.astype(np.int64)
    return found


def _axes(view: GraphView, shape: NodeView) -> list[int | str | None] | None:
    """What a Shape node gives, axis by axis: ``start`` and ``end`` count from the end where they
    are negative, and are clamped (ONNX operator Shape, opset 15), as Python slices are."""
    axes = view.shape(shape.inputs[0])
    if axes is None:
        return None
    return list(axes)[shape.attributes.get("start", 0) : shape.attributes.get("end")]


def _pick(view: GraphView, node: NodeView, axes: list[int | str | None]) -> Array | None:
    """What a Gather or Slice with constant operands takes of ``axes``."""
    values = np.asarray(axes, object)
    operands = [t for t in node.inputs[1:] if t]
    if not all(view.is_constant(t) for t in operands):
        return None
    if node.op == "Gather":
        index = view.constants[node.inputs[1]]
        inside = ((index >= -len(axes)) & (index < len(axes))).all()
        return np.asarray(values[index], object) if inside else None
    given = [view.constants[t].reshape(-1) if t else None for t in node.inputs[1:]]
    given += [None] * (4 - len(given))
    names = ("starts", "ends", "axes", "steps")
    start, end, axis, step = (
        node.attributes.get(name) if found is None else found.tolist()
        for name, found in zip(names, given, strict=True)
    )
    if not start or not end or (axis or [0]) not in ([0], [-1]):
        return None
    return values[start[0] : end[0] : (step or [1])[0]]
