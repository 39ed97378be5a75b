"""Products in the bodies of If, Loop and Scan -> MatMulNBits, with weights rounded to the nearest.

Exporters put whole decoders into the branches of an If (with and without a past), whose weights lie
in the outer graph.  A weight is packed where it lies, once for all bodies that read it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import helper, numpy_helper

from oq.model.bodies import bodies_of, reads_of
from oq.model.nbits import DOMAIN, OP, bits_of, pack
from oq.model.ops import OPS, STANDARD, TRANSPOSED_WEIGHT, output_axis
from oq.numerics.grid import fit, quantize
from oq.numerics.values import Array, QType
from oq.numerics.weights import weight_range


@dataclass(frozen=True, slots=True)
class Storage:
    """How weights are stored: codes, block size, method of :func:`oq.numerics.weights.weight_range`
    and the accuracy level of MatMulNBits."""

    codes: QType
    block: int
    method: str
    accuracy_level: int


@dataclass(slots=True)
class _Scope:
    """A graph and what it defines; ``packed``: (weight, transposed) -> what replaces it."""

    graph: onnx.GraphProto
    constants: dict[str, onnx.TensorProto]
    computed: frozenset[str]
    packed: dict[tuple[str, bool], tuple[str, ...]] = field(default_factory=dict)


def pack_bodies(
    model: onnx.ModelProto, storage: Storage, keeps: Callable[[str], bool]
) -> tuple[str, ...]:
    """Rewrite, in place, every product in a body of ``model`` whose weight is a constant float32
    matrix; returns their names.  ``keeps`` says which nodes stay in float."""
    names = set(_names(model.graph))
    done = tuple(_pack(model.graph, (), storage, keeps, names))
    if done and all(o.domain != DOMAIN for o in model.opset_import):
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    return done


def _pack(
    graph: onnx.GraphProto,
    outer: tuple[_Scope, ...],
    storage: Storage,
    keeps: Callable[[str], bool],
    names: set[str],
) -> Iterator[str]:
    made = {v.name for v in graph.input} | {t for n in graph.node for t in n.output}
    scope = _Scope(graph, {t.name: t for t in graph.initializer}, frozenset(made))
    scopes = (scope, *outer)
    for node in graph.node:
        if outer and not keeps(node.name) and _rewrite(node, scopes, storage, names):
            yield node.name
        for _, body in bodies_of(node):
            yield from _pack(body, scopes, storage, keeps, names)
    read = {t for n in graph.node for t in reads_of(n)} | {v.name for v in graph.output}
    for name in {weight for weight, _ in scope.packed} - read:
        graph.initializer.remove(scope.constants[name])


def _rewrite(
    node: onnx.NodeProto, scopes: tuple[_Scope, ...], storage: Storage, names: set[str]
) -> bool:
    """Let ``node`` be a MatMulNBits, if it is a product with a stored matrix."""
    row = OPS.get(node.op_type)
    if node.domain not in STANDARD or row is None or row.weight is None:
        return False
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    flag = TRANSPOSED_WEIGHT.get(node.op_type, ("", 0))[0]
    is_upright = not attributes.pop(flag, 0)
    found = _find(scopes, node.input[row.weight])
    bias = node.input[2] if len(node.input) > 2 else ""
    if output_axis(node.op_type) != -1 or found is None or not _is_plain(attributes):
        return False
    if bias and not _is_row(scopes, bias):
        return False
    scope, weight = found
    slot = (weight.name, not is_upright)
    values = numpy_helper.to_array(weight)
    values = values if is_upright else values.T
    if slot not in scope.packed:
        scope.packed[slot] = _store(scope.graph, weight.name, values, storage, names)
    rows, columns = values.shape
    inputs = (node.input[0], *scope.packed[slot], *(("", bias) if bias else ()))
    made = helper.make_node(
        *(OP, inputs, list(node.output), node.name),
        domain=DOMAIN,
        K=rows,
        N=columns,
        bits=bits_of(storage.codes.dtype),
        block_size=storage.block,
        accuracy_level=storage.accuracy_level,
    )
    made.metadata_props.extend(node.metadata_props)
    node.CopyFrom(made)
    return True


def _find(scopes: tuple[_Scope, ...], name: str) -> tuple[_Scope, onnx.TensorProto] | None:
    """The scope and the float32 matrix that ``name`` means in the innermost of ``scopes``."""
    for scope in scopes:
        if name in scope.constants:
            tensor = scope.constants[name]
            fits = tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 2
            held = fits and 0 not in tensor.dims
            finite = held and bool(np.isfinite(numpy_helper.to_array(tensor)).all())
            return (scope, tensor) if finite else None
        if name in scope.computed:
            return None
    return None


def _is_row(scopes: tuple[_Scope, ...], name: str) -> bool:
    """Whether ``name`` is a constant with one axis."""
    for scope in scopes:
        if name in scope.constants:
            return len(scope.constants[name].dims) == 1
        if name in scope.computed:
            return False
    return False


def _is_plain(attributes: Mapping[str, object]) -> bool:
    """Whether a product has no factors, and data that is not transposed."""
    usual: Mapping[str, object] = {"alpha": 1.0, "beta": 1.0, "transA": 0}
    return all(value == usual.get(name, value) for name, value in attributes.items())


def _store(
    graph: onnx.GraphProto, name: str, values: Array, storage: Storage, names: set[str]
) -> tuple[str, ...]:
    """The names of the packed codes, scales and zero points ("" where there are none)."""
    codes, block = storage.codes, storage.block
    grid = fit(weight_range(values, codes, 0, storage.method, block), codes, 0, block)
    packed = pack(quantize(values, grid), grid.scale, grid.zero_point, block)
    parts = {"packed": packed.codes, "scales": packed.scale, "zero_points": packed.zero}
    made = []
    for what, part in parts.items():
        fresh = "" if part is None else _fresh(f"{name}_{what}", names)
        if part is not None:
            graph.initializer.append(numpy_helper.from_array(part, fresh))
        made.append(fresh)
    return tuple(made)


def _fresh(wish: str, names: set[str]) -> str:
    name, count = wish, 1
    while name in names:
        count += 1
        name = f"{wish}_{count}"
    names.add(name)
    return name


def _names(graph: onnx.GraphProto) -> Iterator[str]:
    """Every tensor that ``graph`` and its bodies define."""
    yield from (v.name for v in (*graph.input, *graph.initializer))
    for node in graph.node:
        yield from node.output
        for _, body in bodies_of(node):
            yield from _names(body)
