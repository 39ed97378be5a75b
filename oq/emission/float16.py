"""The float nodes of a quantized graph in float16: TensorRT 11 (strongly typed) runs them as typed.

    float32 -> Cast -> [float16 nodes, initializers and scales] -> Cast -> float32

Graph inputs and outputs keep their types.  A node stays in float32 if its inputs or outputs do not
fit in float16: measured values or constants beyond 65504, constants that would all become 0, and
operators or inputs that ONNX does not define for float16 (``Resize`` reads its scales in float32).
Casts connect the two.  The output of a DequantizeLinear has the type of its scale, so scales become
float16 too; they were chosen for that (:attr:`oq.numerics.values.QType.scale`).

onnxruntime's and onnxconverter-common's float16 converters neither look at values nor support Q/DQ.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx

from oq.model.graph import Graph
from oq.model.ops import CASTING
from oq.model.qdq import DQ, PAIR, Q, constant
from oq.model.view import GraphView, NodeView

NAMED = 5
"""Maximum number of float32 nodes that are named; the others are counted."""

LARGEST = float(np.finfo(np.float16).max)


_SINGLE, _HALF = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16


@dataclass(slots=True)
class _Work:
    """The names under which a float tensor can be read in each type."""

    graph: Graph
    view: GraphView
    half: dict[str, str] = field(default_factory=dict)
    single: dict[str, str] = field(default_factory=dict)


def to_float16(
    graph: Graph, peaks: Mapping[str, float], singles: Collection[str] = ()
) -> tuple[str, ...]:
    """Convert the float32 part of ``graph`` to float16, in place; returns notes on what stays
    float32.

    ``peaks``: tensor -> largest finite ``|x|`` that was measured (inf if masks were seen); a tensor
    without an entry is assumed to fit.  ``singles``: nodes, or tensors that they compute, which
    the user has in float32 in a float16 model.
    """
    view = graph.view()
    known = {**_dequantized_peaks(view), **peaks}
    stays = {n.name: why for n in view.nodes if (why := _stays(view, n, known)) is not None}
    islands = {n.name for n in view.nodes if not {n.name, *n.outputs}.isdisjoint(singles)}
    stays |= dict.fromkeys(islands | _pairs_of(view, islands), "")
    written = {
        t: n
        for n in view.nodes
        if n.name not in stays
        for t, follows in zip(n.outputs, _outputs_follow(view, n), strict=True)
        if follows and _is_single(view, t)
    }
    work = _Work(graph, view)
    casts = [n for n in view.nodes if n.op in CASTING]
    work.half.update({n.outputs[0]: n.inputs[0] for n in casts if _types(view, n) == FROM_HALF})
    captured = {t for n in view.nodes for t in n.captured}
    for tensor in written:
        _type_half(work, tensor, kept=tensor in view.outputs or tensor in captured)
    for node in view.nodes:
        takes = _inputs_take(view, node)
        for slot, tensor in enumerate(node.inputs):
            if tensor and _is_single(view, tensor):
                half = node.name not in stays and takes[slot]
                name = _read_half(work, tensor) if half else _read_single(work, tensor)
                if name != tensor:
                    graph.set_input(node.name, slot, name)
    for cast in casts:
        if (
            cast.inputs[0] in written
            and _types(view, cast) == TO_HALF
            and graph.node(cast.name).inputs[0] == cast.inputs[0]
        ):
            graph.bypass(cast.name)  # what it reads is float16 now
    graph.cleanup()
    notes = [f"{name!r} keeps float32: {why}" for name, why in stays.items() if why]
    more = len(notes) - NAMED
    return (*notes[:NAMED], *([f"{more} more nodes keep float32"] if more > 0 else []))


def _stays(view: GraphView, node: NodeView, peaks: Mapping[str, float]) -> str | None:
    """Why ``node`` stays in float32; "" where that says nothing about its numbers."""
    floats = [t for t in (*node.inputs, *node.outputs) if t and _is_single(view, t)]
    if not floats:
        return ""
    if node.inner or node.captured:
        return "its body computes in float32"
    if _schema(view, node) is None:
        return "its operator is not defined for float16"
    for tensor in floats:
        if view.is_constant(tensor):
            why = _bad_constant(view, tensor)
        else:
            peak = peaks.get(tensor, 0.0)
            why = f"{tensor!r} reaches {peak:.3g}, float16 {LARGEST:g}" if peak > LARGEST else None
        if why is not None:
            return why
    takes, follows = _inputs_take(view, node), _outputs_follow(view, node)
    ends = [*zip(node.inputs, takes, strict=True), *zip(node.outputs, follows, strict=True)]
    return None if any(ok for t, ok in ends if t in floats) else ""


def _pairs_of(view: GraphView, islands: Collection[str]) -> set[str]:
    """The Q and DQ of which all readers are ``islands``, or that read what one computes: no Cast
    comes between a pair and the kernel that it belongs to."""
    found: set[str] = set()
    for node in view.nodes:
        above = view.producer(node.inputs[0]) if node.op == Q else None
        readers = view.consumers(node.outputs[0]) if node.op == DQ else ()
        if readers and all(n.name in islands for n in readers):
            found.add(node.name)
        if above is not None and above.name in islands:
            found.add(node.name)
    return found


FROM_HALF, TO_HALF = ("float16", "float32"), ("float32", "float16")


def _types(view: GraphView, cast: NodeView) -> tuple[str | None, str | None]:
    """The types that a Cast reads and writes."""
    return view.tensors[cast.inputs[0]].dtype, view.tensors[cast.outputs[0]].dtype


def _bad_constant(view: GraphView, tensor: str) -> str | None:
    values = np.abs(view.constants[tensor])
    values = values[np.isfinite(values) & (values > 0)]
    if values.size and values.max() > LARGEST:
        return f"constant {tensor!r} holds {float(values.max()):.3g}, float16 {LARGEST:g}"
    if values.size and not values.astype(np.float16).any():
        return f"constant {tensor!r} would become 0"
    return None


def _dequantized_peaks(view: GraphView) -> dict[str, float]:
    """The largest value that each DequantizeLinear can write."""
    found = {}
    for node in view.nodes:
        scale = constant(view, node, 1) if node.op == DQ else None
        if scale is not None:
            info = view.tensors.get(node.inputs[0])
            dtype = np.dtype(np.int8 if info is None or info.dtype is None else info.dtype)
            top = float(np.iinfo(dtype).max) if dtype.kind in "iu" else float(448)
            found[node.outputs[0]] = float(scale.max()) * top
    return found


# -- what ONNX says of an operator's types -------------------------------------------------------


def _schema(view: GraphView, node: NodeView) -> onnx.defs.OpSchema | None:
    if node.domain not in {"", "ai.onnx"} or not onnx.defs.has(node.op, view.opset):
        return None
    return onnx.defs.get_schema(node.op, view.opset, "")


def _formal(formals: list[onnx.defs.OpSchema.FormalParameter], slot: int) -> str:
    """The type variable at ``slot``; the last one repeats (Concat)."""
    return str(formals[min(slot, len(formals) - 1)].type_str)


def _allowed(schema: onnx.defs.OpSchema, kind: str) -> bool:
    for constraint in schema.type_constraints:
        if constraint.type_param_str == kind:
            return "tensor(float16)" in constraint.allowed_type_strs
    return kind == "tensor(float16)"


def _inputs_take(view: GraphView, node: NodeView) -> tuple[bool, ...]:
    """Per input slot: whether it may be float16."""
    schema = _schema(view, node)
    if schema is None:
        return (False,) * len(node.inputs)
    return tuple(_allowed(schema, _formal(list(schema.inputs), i)) for i in range(len(node.inputs)))


def _outputs_follow(view: GraphView, node: NodeView) -> tuple[bool, ...]:
    """Per output: whether its type is that of float inputs (an attribute decides it elsewhere)."""
    schema = _schema(view, node)
    if schema is None:
        return (False,) * len(node.outputs)
    inputs = list(schema.inputs)
    read = {_formal(inputs, i) for i, t in enumerate(node.inputs) if t and _is_single(view, t)}
    read = {kind for kind in read if _allowed(schema, kind)}
    outputs = list(schema.outputs)
    by_scale = node.op in PAIR and not node.attributes.get("output_dtype")
    return tuple(by_scale or _formal(outputs, i) in read for i in range(len(node.outputs)))


# -- names in both types -------------------------------------------------------------------------


def _is_single(view: GraphView, tensor: str) -> bool:
    info = view.tensors.get(tensor)
    return info is not None and info.dtype == "float32"


def _type_half(work: _Work, tensor: str, kept: bool) -> None:
    """Declare ``tensor`` float16; where its name belongs to others (``kept``), a Cast writes it."""
    if not kept:
        work.graph.set_dtype(tensor, "float16")
        work.half[tensor] = tensor
        return
    half = work.graph.split_output(tensor, f"{tensor}_half")
    work.graph.set_dtype(half, "float16")
    single = _cast(work, half, f"{tensor}_single", tensor, _SINGLE)
    work.graph.give_output(tensor, single)
    work.half[tensor], work.single[tensor] = half, tensor


def _read_half(work: _Work, tensor: str) -> str:
    if tensor not in work.half:
        if work.view.is_constant(tensor):
            values = np.asarray(work.view.constants[tensor].astype(np.float16))
            work.half[tensor] = work.graph.add_constant(f"{tensor}_half", values)
        else:
            work.half[tensor] = _cast(work, tensor, f"{tensor}_half", tensor, _HALF)
    return work.half[tensor]


def _read_single(work: _Work, tensor: str) -> str:
    if work.half.get(tensor) != tensor:
        return tensor  # never became float16, or its name was kept for a Cast
    if tensor not in work.single:
        work.single[tensor] = _cast(work, tensor, f"{tensor}_single", tensor, _SINGLE)
    return work.single[tensor]


def _cast(work: _Work, source: str, wish: str, like: str, to: int) -> str:
    return work.graph.add_node(
        "Cast",
        (source,),
        wish,
        name=f"{wish}_Cast",
        attributes={"to": to},
        like=like,
        dtype="float16" if to == _HALF else "float32",
        rule="high_precision=fp16",
    )
