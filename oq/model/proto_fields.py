"""The parts of a model outside the graph, which onnx-graphsurgeon does not keep."""

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

import onnx

from oq.errors import ModelError
from oq.model.bodies import bodies_of, is_optional, nodes_in
from oq.model.ops import STANDARD
from oq.model.qdq import PAIR
from oq.numerics.values import STRING, Array, TensorInfo


def without_graph(model: onnx.ModelProto) -> onnx.ModelProto:
    """Everything of ``model`` but its graph and functions."""
    shell = onnx.ModelProto()
    copy_fields(model, shell, without={"graph", "functions"})
    return shell


def copy_fields(source: Any, copy: Any, without: Collection[str]) -> None:
    """Copy the fields of the message ``source`` to ``copy``, another one of its type, but those
    named in ``without``."""
    for field, value in source.ListFields():
        if field.name in without:
            continue
        if field.is_repeated:
            getattr(copy, field.name).extend(value)
        elif field.message_type is not None:
            getattr(copy, field.name).CopyFrom(value)
        else:
            setattr(copy, field.name, value)


def oldest_ir(opsets: Sequence[onnx.OperatorSetIdProto]) -> int:
    """The first IR version that supports these operator sets, but at least 4, which does not
    require initializers to be inputs."""
    return max(4, onnx.helper.find_min_ir_version_for(list(opsets), ignore_unknown=True))


def without_empty_ends(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with empty optional inputs and outputs at the end of standard nodes left out, which
    means the same; a copy where there are any.  onnxruntime 1.32 crashes on some when it optimizes
    (``LayerNormalization(x, scale, "")`` behind a MatMul)."""
    if not any(_has_empty_end(node) for node in nodes_in(model.graph)):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for node in nodes_in(copy.graph):
        if not _has_empty_end(node):
            continue
        for names, least in zip((node.input, node.output), _least(node), strict=True):
            while len(names) > least and not names[-1]:
                names.pop()
    return copy


def _least(node: onnx.NodeProto) -> tuple[int, int]:
    """How many inputs and outputs ``node`` has at least: a Loop two inputs, which may be empty."""
    if not onnx.defs.has(node.op_type):
        return 0, 0
    schema = onnx.defs.get_schema(node.op_type)
    return schema.min_input, schema.min_output


def _has_empty_end(node: onnx.NodeProto) -> bool:
    ends = (names[-1] for names in (node.input, node.output) if names)
    return node.domain in STANDARD and not all(ends)


def put_constants(model: onnx.ModelProto, values: Mapping[str, Array]) -> None:
    """Write ``values`` into the initializers of those names, 4-bit ones packed two to a byte."""
    for proto in model.graph.initializer:
        if proto.name in values:
            proto.CopyFrom(onnx.numpy_helper.from_array(values[proto.name], proto.name))


def lift_constants(graph: onnx.GraphProto, names: Collection[str]) -> None:
    """Move the initializers ``names`` of all bodies of ``graph`` into ``graph``, each once."""
    here = {t.name for t in graph.initializer}
    for _, body in (found for node in graph.node for found in bodies_of(node)):
        lift_constants(body, names)
        for tensor in [t for t in body.initializer if t.name in names]:
            if tensor.name not in here:
                here.add(tensor.name)
                graph.initializer.append(tensor)
            body.initializer.remove(tensor)


def read_type(value: onnx.ValueInfoProto) -> TensorInfo:
    """What ``value`` declares; no dtype where it is not a tensor or declares none."""
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not kind.elem_type:
        return TensorInfo(value.name, None, None)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    dtype = STRING if kind.elem_type == onnx.TensorProto.STRING else dtype
    if not kind.HasField("shape"):
        return TensorInfo(value.name, dtype, None)
    shape = tuple(
        d.dim_value if d.HasField("dim_value") else (d.dim_param or None) for d in kind.shape.dim
    )
    return TensorInfo(value.name, dtype, shape)


def inputs_of(model: onnx.ModelProto) -> tuple[TensorInfo, ...]:
    """The inputs a caller must feed: those without a default value, and of no optional type."""
    given = {t.name for t in model.graph.initializer}
    wanted = (v for v in model.graph.input if v.name not in given)
    return tuple(_input(v) for v in wanted if not is_optional(v))


def feedable(model: onnx.ModelProto) -> tuple[TensorInfo, ...]:
    """:func:`inputs_of`, and the inputs that a feed may leave out: those of an optional type, and
    those with a default value, an initializer of their name that a feed replaces (IR version 4 and
    up; before it every initializer is listed as an input)."""
    given = {t.name for t in model.graph.initializer}
    free = [replace(_inside(v), optional=True) for v in model.graph.input if is_optional(v)]
    if model.ir_version >= OVERRIDES:
        defaults = (v for v in model.graph.input if v.name in given)
        free += [replace(_input(v), optional=True) for v in defaults]
    return (*inputs_of(model), *free)


OVERRIDES = 4
"""The first IR version in which an initializer of an input's name is its default."""


def _inside(value: onnx.ValueInfoProto) -> TensorInfo:
    return read_type(onnx.ValueInfoProto(name=value.name, type=value.type.optional_type.elem_type))


def gives_numbers(model: onnx.ModelProto) -> bool:
    """Whether an output may be an array of numbers: no string, sequence, map or optional value."""
    ends = (
        v.type for v in model.graph.output if v.type.WhichOneof("value") in (None, "tensor_type")
    )
    return any(kind.tensor_type.elem_type != onnx.TensorProto.STRING for kind in ends)


def without_defaults(model: onnx.ModelProto, names: Collection[str]) -> onnx.ModelProto:
    """``model`` whose inputs ``names`` have no default value; itself if there are none."""
    if not names:
        return model
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    del plain.graph.initializer[:]
    plain.graph.initializer.extend(t for t in model.graph.initializer if t.name not in names)
    return plain


def restore_defaults(model: onnx.ModelProto, original: onnx.ModelProto | None) -> None:
    """Give the inputs of ``model`` the default values that they have in ``original``."""
    if original is None:
        return
    known = {t.name for t in model.graph.initializer}
    names = {v.name for v in model.graph.input} - known
    model.graph.initializer.extend(t for t in original.graph.initializer if t.name in names)


def _input(value: onnx.ValueInfoProto) -> TensorInfo:
    if not value.type.tensor_type.elem_type:
        found = value.type.WhichOneof("value") or "nothing"
        raise ModelError(f"input {value.name!r} is a {found.removesuffix('_type')}, not a tensor")
    return read_type(value)


def same_interface(first: onnx.ModelProto, second: onnx.ModelProto) -> None:
    """Insist that two models can be compared.

    Raises:
        ModelError: their inputs or outputs have different names, or they are in the wrong order.
    """
    if _has_pairs(first) and not _has_pairs(second):
        raise ModelError(
            "the first model is quantized and the second is not; give the float model first"
        )
    known = {t.name for t in second.graph.initializer}
    inputs = {v.name for v in second.graph.input} - known
    same_names(first, inputs, {v.name for v in second.graph.output})


def _has_pairs(model: onnx.ModelProto) -> bool:
    return any(n.op_type in PAIR for n in model.graph.node)


def same_names(model: onnx.ModelProto, inputs: Set[str], outputs: Set[str]) -> None:
    """Insist that a file of any format with these ``inputs`` and ``outputs`` can be compared.

    Raises:
        ModelError: those of ``model`` have different names.
    """
    known = {t.name for t in model.graph.initializer}
    for kind, mine, theirs in (
        ("input", {v.name for v in model.graph.input} - known, inputs),
        ("output", {v.name for v in model.graph.output}, outputs),
    ):
        if mine != theirs:
            raise ModelError(
                f"the two models have different {kind}s, {sorted(mine)} and {sorted(theirs)}; "
                "give the float model and a quantized version of it"
            )


def replace_all(field: Any, values: Sequence[Any]) -> None:
    """Let the repeated ``field`` of a protobuf hold ``values``, in place."""
    del field[:]
    field.extend(values)
