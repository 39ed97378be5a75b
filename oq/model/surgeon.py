"""What onnx-graphsurgeon holds of a graph, as plain values, and small edits of its lists."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from oq.model import stored
from oq.model.ops import SAME_IN_ANY_DOMAIN, STANDARD
from oq.model.stored import Spill, is_stored, values_of
from oq.model.view import NodeView
from oq.numerics.values import Array, Shape, TensorInfo

Optionals = Mapping[str, onnx.ValueInfoProto]


def forget_optionals(graph: Any, model: onnx.ModelProto) -> Optionals:
    """The inputs and outputs of ``model`` that are not tensors (sequences, maps, optional values);
    leaves out the types of optional tensors in ``graph``, which graphsurgeon reads and cannot
    write."""
    for inner in (graph, *graph.subgraphs(recursive=True)):
        for tensor in (*inner.tensors().values(), *inner.inputs, *inner.outputs):
            if getattr(tensor, "type", None) == "optional_type":
                tensor.dtype, tensor.type = None, "tensor_type"
    ends = (*model.graph.input, *model.graph.output)
    return {v.name: v for v in ends if v.type.WhichOneof("value") not in (None, "tensor_type")}


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


def put_values(constant: Any, values: Array | onnx.TensorProto, spill: Spill | None) -> None:
    """Give a gs ``constant`` its ``values``; large ones go to ``spill``, if they lie in no file."""
    if isinstance(values, onnx.TensorProto):
        constant._values, constant.data_location = Stored(_copy(values)), None
    elif spill is None or values.nbytes < stored.LEAST_TENSOR:
        constant._values = np.ascontiguousarray(values).reshape(values.shape)
    else:
        constant._values, constant.data_location = Stored(spill.put(constant.name, values)), None


def _copy(tensor: onnx.TensorProto) -> onnx.TensorProto:
    """``tensor``, which several graphs share, for one that gives it its name."""
    mine = onnx.TensorProto()
    mine.CopyFrom(tensor)
    return mine


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


def view_node(node: Any, shared: Callable[[], set[int]]) -> NodeView:
    """A gs ``node`` as a plain value; ``shared``: see :func:`captured_names`, asked for where there
    are bodies."""
    inner = [a for a in node.attrs.values() if isinstance(a, gs.Graph)]
    captured = tuple(dict.fromkeys(name for g in inner for name in captured_names(g, shared())))
    within = tuple(_nodes_within(node))
    return NodeView(
        name=node.name,
        op=op_name(node.op, node.domain or ""),
        domain=node.domain or "",
        inputs=tuple(t.name for t in node.inputs),
        outputs=tuple(t.name for t in node.outputs),
        attributes=dict(node.attrs),
        captured=captured,
        inner=tuple(dict.fromkeys((*(n for _, n in within), *(p + n for p, n in within)))),
    )


def _nodes_within(node: Any) -> Iterator[tuple[str, str]]:
    """(path, name) of the nodes in the bodies of a gs ``node``; path: ``loop/body/``."""
    for attribute, graph in node.attrs.items():
        if isinstance(graph, gs.Graph):
            path = f"{node.name}/{attribute}/"
            for inner in graph.nodes:
                yield path, inner.name
                yield from ((path + p, name) for p, name in _nodes_within(inner))


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
