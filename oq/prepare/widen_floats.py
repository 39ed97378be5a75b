"""A float16 model -> the same in float32, for planning and calibration.

Every float16 or bfloat16 tensor becomes float32: initializers, constants in attributes, declared
types, the types that Cast and its like name; in bodies of If, Loop and Scan too.  float64 becomes
float32 where the weights of layers are float64, which no integer kernel reads; elsewhere it stays,
since positions and times in float64 are meant to be exact.  Graph inputs and outputs become float32
as well, so that the model is planned like one that was float32 from the start;
:mod:`oq.model.restore_types` gives them their own types back when the file is written.

float32 holds every float16 and bfloat16 number, so constants keep their values, and results differ
by the roundings of float16 that are gone.  A float64 beyond float32's range becomes its largest
number (a mask).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from oq.model.bodies import graphs_in
from oq.model.ops import STANDARD, has_weight
from oq.model.proto_fields import read_type, without_graph
from oq.model.stored import values_of

NARROW: Mapping[int, int] = dict.fromkeys(
    (TensorProto.FLOAT16, TensorProto.BFLOAT16), TensorProto.FLOAT
)
DOUBLE: Mapping[int, int] = {TensorProto.DOUBLE: TensorProto.FLOAT}

TYPES = frozenset(
    {"dtype", "output_datatype", "output_dtype", "softmax_precision", "stash_type", "to"}
)
"""Attributes whose integer is a type (Cast, RandomNormal, HannWindow, LayerNormalization, ...)."""

SMALL = 1024
"""Values of a constant that type inference may read."""

REINTERPRETS = frozenset({"BitCast"})
"""Ops that read the bits of a number, not its value: no other type gives the same."""


@dataclass(frozen=True, slots=True)
class OwnTypes:
    """What a model had in another type than float32.

    ``inputs``, ``outputs``: name -> NumPy dtype, of those that were not float32.  ``most``: the
    dtype that it names most often of those that became float32, None if none did.  ``singles``:
    nodes and tensors of a float16 model that were float32 on purpose.
    """

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    most: str | None = None
    singles: frozenset[str] = frozenset()


FLOAT32 = OwnTypes({}, {})
"""Of a model that is float32 throughout."""


def widen_floats(model: onnx.ModelProto) -> tuple[onnx.ModelProto, OwnTypes]:
    """``model`` in float32, and what had other types; ``model`` itself if nothing had."""
    wide = {**NARROW, **(DOUBLE if _has_layers_of(model.graph, TensorProto.DOUBLE) else {})}
    found = Counter(_types(model.graph, wide))
    if not found or _reinterprets(model.graph):
        return model, FLOAT32
    own = OwnTypes(
        _own(model.graph.input, wide),
        _own(model.graph.output, wide),
        _name(max(sorted(found), key=lambda kind: found[kind])),
        _singles(model) if TensorProto.FLOAT16 in found else frozenset(),
    )
    widened = onnx.ModelProto()
    widened.CopyFrom(model)
    _widen_graph(widened.graph, wide)
    return widened, own


def is_float16(model: onnx.ModelProto) -> bool:
    """Whether ``model`` has layers whose weights are float16."""
    return _has_layers_of(model.graph, TensorProto.FLOAT16)


def _name(kind: int) -> str:
    return str(onnx.helper.tensor_dtype_to_np_dtype(kind).name)


def _own(values: Iterable[onnx.ValueInfoProto], wide: Mapping[int, int]) -> dict[str, str]:
    kinds = {v.name: v.type.tensor_type.elem_type for v in values}
    return {name: _name(kind) for name, kind in kinds.items() if kind in wide}


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """The constants of ``graph`` itself, those in attributes too."""
    yield from graph.initializer
    yield from (sparse.values for sparse in graph.sparse_initializer)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield attribute.t
            yield from attribute.tensors
            if attribute.type == onnx.AttributeProto.SPARSE_TENSOR:
                yield attribute.sparse_tensor.values


def _types(graph: onnx.GraphProto, wide: Mapping[int, int]) -> Iterator[int]:
    """Every type in ``wide`` that ``graph`` names, as often as it names it."""
    for part in graphs_in(graph):
        yield from (t.data_type for t in _tensors(part) if t.data_type in wide)
        for value in (*part.input, *part.output, *part.value_info):
            if value.type.tensor_type.elem_type in wide:
                yield value.type.tensor_type.elem_type
        for node in part.node:
            yield from (a.i for a in node.attribute if _is_type(node, a) and a.i in wide)


def _is_type(node: onnx.NodeProto, attribute: onnx.AttributeProto) -> bool:
    is_integer = attribute.type == onnx.AttributeProto.INT
    return is_integer and attribute.name in TYPES and node.domain in STANDARD


def _has_layers_of(graph: onnx.GraphProto, kind: int) -> bool:
    """Whether a layer's weight is a constant of type ``kind``, or one step away (Transpose,
    Cast)."""
    constants = {t.name: t.data_type for t in graph.initializer}
    for node in graph.node:
        for value in node.attribute if node.op_type == "Constant" else ():
            if value.name == "value":
                constants[node.output[0]] = value.t.data_type
    near = dict(constants)
    for node in graph.node:
        if len(node.input) == 1 and node.input[0] in constants:
            cast = [a.i for a in node.attribute if a.name == "to"]
            near[node.output[0]] = (*cast, constants[node.input[0]])[0]
    layers = (n for n in graph.node if n.domain in STANDARD and has_weight(n.op_type))
    return any(near.get(t) == kind for n in layers for t in n.input)


def _reinterprets(graph: onnx.GraphProto) -> bool:
    return any(n.op_type in REINTERPRETS for part in graphs_in(graph) for n in part.node)


def _singles(model: onnx.ModelProto) -> frozenset[str]:
    """Nodes of the main graph that compute in float32, and what they write.  A Cast is none of
    them: it stands between two types, and goes."""
    try:
        graph = onnx.shape_inference.infer_shapes(_without_weights(model)).graph
    except (onnx.shape_inference.InferenceError, ValueError):
        graph = model.graph  # what the file declares
    values = (*graph.value_info, *graph.output)
    singles = {v.name for v in values if read_type(v).dtype == "float32"}
    found = [n for n in graph.node if n.op_type != "Cast" and singles.intersection(n.output)]
    return frozenset(t for n in found for t in (n.name, *n.output) if t)


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with types and shapes alone of large float constants: that is all that types of
    others depend on."""
    light, graph = without_graph(model), model.graph
    for name in ("node", "input", "output", "value_info"):
        getattr(light.graph, name).extend(getattr(graph, name))
    light.graph.name = graph.name
    for tensor in graph.initializer:
        is_large = tensor.data_type in {*NARROW, TensorProto.FLOAT} and prod(tensor.dims) > SMALL
        bare = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        light.graph.initializer.append(bare if is_large else tensor)
    return light


# -- widening ------------------------------------------------------------------------------------


def _widen_graph(graph: onnx.GraphProto, wide: Mapping[int, int]) -> None:
    for part in graphs_in(graph):
        for tensor in _tensors(part):
            if tensor.data_type in wide:
                tensor.CopyFrom(_widened(tensor))
        for value in (*part.input, *part.output, *part.value_info):
            _widen_type(value.type, wide)
        for node in part.node:
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.TYPE_PROTO:
                    _widen_type(attribute.tp, wide)
                elif _is_type(node, attribute):
                    attribute.i = wide.get(attribute.i, attribute.i)


def _widened(tensor: onnx.TensorProto) -> onnx.TensorProto:
    values = values_of(tensor)
    if values.dtype == np.float64:
        most = np.finfo(np.float32).max
        values = np.where(np.isfinite(values), np.clip(values, -most, most), values)
    return numpy_helper.from_array(np.asarray(values.astype(np.float32)), tensor.name)


def _widen_type(kind: onnx.TypeProto, wide: Mapping[int, int]) -> None:
    """Widen ``kind``, also inside of a sequence, a map or an optional value."""
    which = kind.WhichOneof("value")
    if which in {"tensor_type", "sparse_tensor_type"}:
        held = getattr(kind, which)
        held.elem_type = wide.get(held.elem_type, held.elem_type)
    elif which in {"sequence_type", "optional_type"}:
        _widen_type(getattr(kind, which).elem_type, wide)
    elif which == "map_type":
        _widen_type(kind.map_type.value_type, wide)
