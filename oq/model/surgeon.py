"""What onnx-graphsurgeon holds of a graph, as plain values, and small edits of its lists."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.util.misc import convert_from_onnx_attr_type

from oq.model import stored
from oq.model.bodies import graphs_in, nodes_in
from oq.model.ops import SAME_IN_ANY_DOMAIN, STANDARD
from oq.model.proto_fields import lift_constants, put_constants
from oq.model.stored import Spill, is_stored, values_of
from oq.model.view import NodeView
from oq.numerics.values import Array, Shape, TensorInfo

Optionals = Mapping[str, onnx.ValueInfoProto]


def export(graph: Any, optional: Optionals = MappingProxyType({})) -> onnx.ModelProto:
    """What graphsurgeon makes of ``graph``; it can write neither 4-bit constants nor strings, so
    onnx does that, nor all inputs and outputs that are no tensors (``optional``), which are those
    of the file.

    It writes a constant of the outer graph into every body that reads it; it is put back.
    """
    tensors = graph.tensors().values()
    here = [t for t in tensors if isinstance(t, gs.Constant) and not _is_stored(t)]
    odd = [t for t in here if t.dtype == np.object_ or str(t.dtype).endswith("int4")]
    held = {t.name: t.values for t in odd}
    types = [t._export_dtype for t in odd]
    for tensor in odd:
        tensor.values, tensor._export_dtype = np.zeros(tensor.values.shape, np.int8), None
    with _empty_lists(graph):
        model: onnx.ModelProto = gs.export_onnx(graph, do_type_check=False)
    for node in nodes_in(model.graph):
        for attribute in node.attribute:
            if not attribute.ref_attr_name:
                attribute.ClearField("ref_attr_name")
    for tensor, kind in zip(odd, types, strict=True):
        tensor.values, tensor._export_dtype = held[tensor.name], kind
    put_constants(model, held)
    _drop_typeless(model.graph)
    lift_constants(model.graph, _shared(graph))
    for value in (*model.graph.input, *model.graph.output):
        if value.name in optional:
            value.CopyFrom(optional[value.name])
    return model


@contextmanager
def _empty_lists(graph: Any) -> Iterator[None]:
    """Attributes that are lists of no values, as references to nothing, which have a type: of an
    empty list the graph library cannot tell it."""
    parts = (graph, *graph.subgraphs(recursive=True))
    every = ((n, key, value) for g in parts for n in g.nodes for key, value in n.attrs.items())
    held = [(n, key) for n, key, value in every if isinstance(value, list) and not value]
    for node, key in held:
        domain, formal = node.domain or "", None
        if onnx.defs.has(node.op, graph.opset, domain):
            formal = onnx.defs.get_schema(node.op, graph.opset, domain).attributes.get(key)
        kind: Any = onnx.AttributeProto.INTS if formal is None else formal.type
        node.attrs[key] = gs.Node.AttributeRef("", convert_from_onnx_attr_type(int(kind)))
    try:
        yield
    finally:
        for node, key in held:
            node.attrs[key] = []


def forget_optionals(graph: Any, model: onnx.ModelProto) -> Optionals:
    """The inputs and outputs of ``model`` that are no tensors (sequences, maps, optional values);
    leaves out the types of optional tensors in ``graph``, which graphsurgeon reads and cannot
    write."""
    for inner in (graph, *graph.subgraphs(recursive=True)):
        for tensor in (*inner.tensors().values(), *inner.inputs, *inner.outputs):
            if getattr(tensor, "type", None) == "optional_type":
                tensor.dtype, tensor.type = None, "tensor_type"
    ends = (*model.graph.input, *model.graph.output)
    return {v.name: v for v in ends if v.type.WhichOneof("value") not in (None, "tensor_type")}


def _drop_typeless(graph: onnx.GraphProto) -> None:
    """A sequence or an optional comes out as a value of no type, which ONNX's checker refuses."""
    for part in graphs_in(graph):
        typed = [v for v in part.value_info if v.type.WhichOneof("value") is not None]
        if len(typed) < len(part.value_info):
            kept = [onnx.ValueInfoProto.FromString(v.SerializeToString()) for v in typed]
            part.ClearField("value_info")
            part.value_info.extend(kept)


def _shared(graph: Any) -> set[str]:
    """The names of constants that several of ``graph`` and its bodies read as one, and by which
    none of them means another."""
    held: dict[str, list[int]] = {}
    for part in (graph, *graph.subgraphs(recursive=True)):
        read = {id(t): t for n in part.nodes for t in n.inputs if isinstance(t, gs.Constant)}
        for key, tensor in read.items():
            held.setdefault(tensor.name, []).append(key)
    return {name for name, keys in held.items() if len(keys) > 1 and len(set(keys)) == 1}


def given_tensor(tensor: Any, given: Mapping[str, Array]) -> Any:
    """``tensor`` as a piece reads it: a constant of its own, or a name that is still to be made."""
    if isinstance(tensor, gs.Constant):  # another one: a tensor lists all nodes that read it
        return gs.Constant(tensor.name, tensor._values, export_dtype=tensor.export_dtype)
    if tensor.name in given:
        return gs.Constant(tensor.name, given[tensor.name])
    return gs.Variable(tensor.name)


class Stored(gs.ir.tensor.LazyValues):  # type: ignore[misc]  # the library has no types
    """The values of a constant that lie in a file (:mod:`oq.model.stored`)."""

    def load(self) -> Array:
        """The values, mapped."""
        return values_of(self.tensor)


def _is_stored(constant: Any) -> bool:
    return isinstance(constant._values, Stored)


def store(graph: Any) -> None:
    """Let the constants of ``graph`` that lie in files be read where they are used alone."""
    for tensor in graph.tensors().values():
        held: Any = getattr(tensor, "_values", None)
        if type(held) is gs.ir.tensor.LazyValues and is_stored(held.tensor):
            tensor._values, tensor.data_location = Stored(held.tensor), None


def put_values(constant: Any, values: Array, spill: Spill | None) -> None:
    """Give a gs ``constant`` its ``values``; large ones go to ``spill``."""
    if spill is None or values.nbytes < stored.LEAST_TENSOR:
        constant._values = np.ascontiguousarray(values).reshape(values.shape)
    else:
        constant._values, constant.data_location = Stored(spill.put(constant.name, values)), None


class Arrays(Mapping[str, Array]):
    """Constants by name, loaded on access and never before; those in files on each access."""

    def __init__(self, constants: Mapping[str, Any]) -> None:
        self._constants = constants

    def __getitem__(self, name: str) -> Array:
        constant = self._constants[name]
        values: Array = constant._values.load() if _is_stored(constant) else constant.values
        return values

    def __contains__(self, name: object) -> bool:
        return name in self._constants

    def __iter__(self) -> Iterator[str]:
        return iter(self._constants)

    def __len__(self) -> int:
        return len(self._constants)


def view_node(node: Any, shared: set[int]) -> NodeView:
    """A gs ``node`` as a plain value; ``shared``: see :func:`captured_names`."""
    inner = [a for a in node.attrs.values() if isinstance(a, gs.Graph)]
    captured = tuple(dict.fromkeys(name for g in inner for name in captured_names(g, shared)))
    return NodeView(
        name=node.name,
        op=op_name(node.op, node.domain or ""),
        domain=node.domain or "",
        inputs=tuple(t.name for t in node.inputs),
        outputs=tuple(t.name for t in node.outputs),
        attributes=dict(node.attrs),
        captured=captured,
        inner=tuple(n.name for g in inner for n in _all_nodes(g)),
    )


def _all_nodes(graph: Any) -> Iterator[Any]:
    """The nodes of ``graph`` and of its subgraphs."""
    for part in (graph, *graph.subgraphs(recursive=True)):
        yield from part.nodes


def op_name(op: str, domain: str) -> str:
    """``op``, with its ``domain`` in front where ONNX has another operator of that name: a Conv of
    com.microsoft.nchwc is none that a rule or a rewrite knows."""
    if domain in STANDARD or op in SAME_IN_ANY_DOMAIN or not onnx.defs.has(op):
        return op
    return f"{domain}.{op}"


def captured_names(graph: Any, shared: set[int]) -> Iterator[str]:
    """Names that ``graph`` reads and does not define, its own subgraphs included; ``shared`` are
    the constants (ids) of the outer graph."""
    defined = {t.name for t in graph.inputs} | {t.name for n in graph.nodes for t in n.outputs}
    reads = [t for n in graph.nodes for t in n.inputs] + list(graph.outputs)
    outer = [t.name for t in reads if not isinstance(t, gs.Constant) or id(t) in shared]
    for node in graph.nodes:
        for value in node.attrs.values():
            if isinstance(value, gs.Graph):
                outer.extend(captured_names(value, shared))
    yield from (name for name in outer if name and name not in defined)


def inner_names(graph: Any) -> set[str]:
    """The names of all tensors and nodes that subgraphs of ``graph`` define."""
    names: set[str] = set()
    for inner in graph.subgraphs(recursive=True):
        names.update(inner.tensors())
        names.update(n.name for n in inner.nodes)
    return names


def tensor_info(tensor: Any) -> TensorInfo:
    """What is known of a gs ``tensor``: its dtype by NumPy name, and its shape."""
    if isinstance(tensor, gs.Constant):
        return TensorInfo(tensor.name, dtype_name(tensor.dtype), tuple(tensor.shape))
    if not holds_numbers(tensor):
        return TensorInfo(tensor.name, None, None)
    shape: Shape | None = None
    if tensor.shape is not None:
        shape = tuple(s if isinstance(s, int | str) else None for s in tensor.shape)
    return TensorInfo(tensor.name, dtype_name(tensor.dtype), shape)


def holds_numbers(tensor: Any) -> bool:
    """Whether a gs ``tensor`` is one, and no sequence of tensors."""
    return isinstance(tensor, gs.Constant) or tensor.type == "tensor_type"


@functools.cache
def dtype_name(dtype: Any) -> str | None:
    """NumPy's name of a dtype that may be ONNX's number; None where it is not known."""
    if dtype is None:
        return None
    if isinstance(dtype, int):
        return str(onnx.helper.tensor_dtype_to_np_dtype(dtype).name)
    return str(np.dtype(dtype).name)


def numpy_dtype(name: str) -> Any:
    """What graphsurgeon takes as the dtype called ``name``."""
    return onnx.TensorProto.BFLOAT16 if name == "bfloat16" else np.dtype(name)


def is_sorted(graph: Any) -> bool:
    """Whether every node of ``graph`` stands behind what it reads."""
    made: set[int] = set()
    for node in graph.nodes:
        if any(t.inputs and id(t) not in made for t in node.inputs):
            return False
        made.update(id(t) for t in node.outputs)
    return True


def reread(old: Any, new: Any) -> None:
    """Make every node that reads ``old``, nodes of subgraphs too, read ``new``."""
    for reader in list(old.outputs):
        for slot, tensor in enumerate(reader.inputs):
            if tensor is old:
                reader.inputs[slot] = new


def slot_of(tensors: Sequence[Any], wanted: Any) -> int:
    """The place of ``wanted`` itself, not of its equal, in ``tensors``."""
    return next(i for i, t in enumerate(tensors) if t is wanted)


def pick_out(
    graph: Any, made: Sequence[Any], outputs: Sequence[str], given: Mapping[str, Array]
) -> Any:
    """The nodes ``made`` of a gs ``graph`` alone, as one of its own; see :func:`given_tensor`."""
    picked = gs.Graph(
        nodes=[
            gs.Node(
                *(n.op, n.name, n.attrs),
                inputs=[given_tensor(t, given) for t in n.inputs],
                outputs=[],
                domain=n.domain,
            )
            for n in made
        ],
        opset=graph.opset,
        import_domains=graph.import_domains,
    )
    tensors: dict[str, Any] = {}
    for node, source in zip(picked.nodes, made, strict=True):
        for slot, tensor in enumerate(node.inputs):
            if tensor.name in tensors:
                node.inputs[slot] = tensors[tensor.name]
        for tensor in source.outputs:
            # types that the file declares may be wrong: onnxruntime is to find its own
            tensors[tensor.name] = gs.Variable(tensor.name)
            node.outputs.append(tensors[tensor.name])
    picked.outputs = [tensors[name] for name in outputs]
    return picked
