"""What a file must be before anything reads its graph: each fault of structure is one line.

onnx parses a file whose pieces do not fit (a constant with fewer bytes than its shape asks for, a
node that reads what it computes, a function that calls itself), and the libraries behind it then
fail with a traceback, or do not end.  :func:`check_structure` looks for all of that first.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import prod

import onnx
from onnx import TensorProto, defs, helper

from oq.errors import ModelError
from oq.model.bodies import graphs_in, is_optional, reads_of
from oq.model.ops import STANDARD
from oq.model.stored import is_placed, is_stored, place_of

MOST_NODES = 1_000_000
"""Nodes of a graph after its functions are expanded: more are a fault, or an attack."""

PACKED: Mapping[int, int] = {
    TensorProto.INT4: 2,
    TensorProto.UINT4: 2,
    TensorProto.FLOAT4E2M1: 2,
}
"""Types of which a byte holds several values -> how many."""

TYPES = frozenset(TensorProto.DataType.values())

Problems = Iterator[str]

Called = tuple[str, str, str]
"""Domain, name and overload of a function."""


def check_structure(model: onnx.ModelProto) -> None:
    """Refuse a ``model`` that is no graph of operators.

    Raises:
        ModelError: what is wrong, and with which node, tensor or function.
    """
    for look in CHECKS:
        for problem in look(model):
            raise ModelError(f"the model cannot be read: {problem}")


def opsets(model: onnx.ModelProto) -> Problems:
    """Every operator has a version, which its domain's opset gives."""
    versions = {o.domain: o.version for o in model.opset_import}
    known = {"ai.onnx" if d == "" else d for d in versions}
    for graph in graphs_in(model.graph):
        for node in graph.node:
            domain = node.domain or "ai.onnx"
            if domain not in known:
                yield (
                    f"node {_name(node)} is of domain {domain!r}, for which the file imports no "
                    "opset"
                )


def functions(model: onnx.ModelProto) -> Problems:
    """No function calls itself, and all of them expand to a graph of a finite size."""
    open_ = {(f.domain, f.name, f.overload): f for f in model.functions}
    sizes: dict[Called, int] = {}
    while ready := [key for key, f in open_.items() if not _calls(f.node) & open_.keys()]:
        for key in ready:
            sizes[key] = _expanded(open_.pop(key).node, sizes)
    if open_:
        yield f"function {min(name for _, name, _ in open_)!r} calls itself"
    total = _expanded(model.graph.node, sizes)
    if total > MOST_NODES:
        yield f"its functions expand to {total:,} nodes; at most {MOST_NODES:,} are read"


def types(model: onnx.ModelProto) -> Problems:
    """Inputs and outputs have an element type of ONNX, or none is said."""
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        kind = value.type
        if kind.WhichOneof("value") != "tensor_type":
            if is_optional(value):
                continue
            if value in model.graph.input and kind.WhichOneof("value") is not None:
                what = str(kind.WhichOneof("value")).removesuffix("_type")
                yield f"input {value.name!r} is a {what}, not a tensor"
            continue
        if not _is_type(kind.tensor_type.elem_type) and (
            kind.tensor_type.elem_type or value in model.graph.input
        ):
            yield f"tensor {value.name!r} has the unknown element type {kind.tensor_type.elem_type}"


def optionals(model: onnx.ModelProto) -> Problems:
    """No body gives an optional out: the graph library cannot write one."""
    for graph in list(graphs_in(model.graph))[1:]:
        for value in graph.output:
            if value.type.WhichOneof("value") == "optional_type":
                yield f"output {value.name!r} is an optional, not a tensor or a sequence"


def constants(model: onnx.ModelProto) -> Problems:
    """A constant has a known type, and as many values as its shape asks for."""
    for graph in graphs_in(model.graph):
        for tensor in graph.initializer:
            what = f"constant {tensor.name!r}"
            if not _is_type(tensor.data_type):
                yield f"{what} has the unknown element type {tensor.data_type}"
            elif min(tensor.dims, default=0) < 0:
                yield f"{what} has the shape {list(tensor.dims)}"
            elif (held := _held(tensor)) is not None and held != _bytes(tensor):
                yield (
                    f"{what} of shape {list(tensor.dims)} needs {_bytes(tensor):,} bytes and has "
                    f"{held:,}"
                )
            elif held is None and not _has_values(tensor):
                yield f"{what} of shape {list(tensor.dims)} has another number of values"


def arguments(model: onnx.ModelProto) -> Problems:
    """A standard operator has the inputs and outputs that it must have."""
    version = next((o.version for o in model.opset_import if o.domain in STANDARD), 0)
    for graph in graphs_in(model.graph):
        for node in graph.node:
            if node.domain not in STANDARD or not defs.has(node.op_type):
                continue
            try:
                schema = defs.get_schema(node.op_type, max_inclusive_version=version)
            except defs.SchemaError:
                continue  # no such operator at this opset: onnxruntime says so
            for count, least, most, what in (
                (len(node.input), schema.min_input, schema.max_input, "inputs"),
                (len(node.output), schema.min_output, schema.max_output, "outputs"),
            ):
                if not least <= count <= most:
                    wanted = f"{least}" if least == most else f"{least} to {most}"
                    yield f"node {_name(node)} ({node.op_type}) has {count} {what}, not {wanted}"
            for names, formals, what in (
                (node.input, schema.inputs, "input"),
                (node.output, schema.outputs, "output"),
            ):
                yield from _left_out(node, names, formals, what)


def _left_out(
    node: onnx.NodeProto,
    names: Sequence[str],
    formals: Sequence[defs.OpSchema.FormalParameter],
    what: str,
) -> Iterator[str]:
    """Empty names where an operator has no optional argument: onnxruntime crashes on some."""
    for slot, name in enumerate(names):
        if not name and formals:
            kind = formals[min(slot, len(formals) - 1)].option
            if kind != defs.OpSchema.FormalParameterOption.Optional:
                yield f"node {_name(node)} ({node.op_type}) has no name for its {what} {slot}"


def producers(model: onnx.ModelProto) -> Problems:
    """A tensor is written once, an output too, and not by a node that needs it."""
    graph = model.graph
    counts = Counter(t for n in graph.node for t in n.output if t)
    given = {t.name for t in graph.initializer} | {i.name for i in graph.input}
    twice = next((t for t, n in counts.items() if n > 1 or t in given), None)
    if twice is not None:
        what = "several nodes" if counts[twice] > 1 else "a node, and is an input or a constant"
        yield f"tensor {twice!r} is computed by {what}"
        return
    lacking = next((o.name for o in graph.output if o.name not in counts.keys() | given), None)
    if lacking is not None:
        yield f"output {lacking!r} is computed by no node"
        return
    maker = {t: i for i, n in enumerate(graph.node) for t in n.output if t}
    waits = [{maker[t] for t in reads_of(n) if t in maker} for n in graph.node]
    readers: list[list[int]] = [[] for _ in waits]
    for i, wanted in enumerate(waits):
        for j in wanted:
            readers[j].append(i)
    left = [len(w) for w in waits]
    ready = [i for i, n in enumerate(left) if n == 0]
    done = 0
    while ready:
        done += 1
        for i in readers[ready.pop()]:
            left[i] -= 1
            if left[i] == 0:
                ready.append(i)
    if done < len(waits):
        stuck = next(i for i, n in enumerate(left) if n)
        yield f"node {_name(graph.node[stuck])} needs its own result: the graph has a cycle"


CHECKS: tuple[Callable[[onnx.ModelProto], Problems], ...] = (
    opsets,
    functions,
    types,
    optionals,
    constants,
    arguments,
    producers,
)


def _calls(nodes: Iterable[onnx.NodeProto]) -> set[Called]:
    return {(n.domain, n.op_type, n.overload) for n in nodes}


def _expanded(nodes: Iterable[onnx.NodeProto], sizes: Mapping[Called, int]) -> int:
    return sum(sizes.get((n.domain, n.op_type, n.overload), 1) for n in nodes)


def _is_type(number: int) -> bool:
    return bool(number != TensorProto.UNDEFINED and number in TYPES)


def _bytes(tensor: onnx.TensorProto) -> int:
    count: int = prod(tensor.dims)
    if tensor.data_type in PACKED:
        held = PACKED[tensor.data_type]
        return (count + held - 1) // held
    return count * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


def _held(tensor: onnx.TensorProto) -> int | None:
    """Bytes of the raw data of ``tensor``, or of its values in a file; None where they are in
    another field, or in a file that was not read."""
    if is_stored(tensor):
        return place_of(tensor).size if is_placed(tensor) else None
    return len(tensor.raw_data) if tensor.HasField("raw_data") else None


def _has_values(tensor: onnx.TensorProto) -> bool:
    if tensor.data_location == TensorProto.EXTERNAL or tensor.data_type in PACKED:
        return True
    field = helper.tensor_dtype_to_field(tensor.data_type)
    each = 2 if tensor.data_type in {TensorProto.COMPLEX64, TensorProto.COMPLEX128} else 1
    found: int = len(getattr(tensor, field))
    return bool(found == each * prod(tensor.dims))


def _name(node: onnx.NodeProto) -> str:
    return repr(node.name or node.op_type)
