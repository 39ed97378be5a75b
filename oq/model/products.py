"""Products with a constant float32 matrix, wherever around them the matrix lies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from oq.model.ops import OPS, STANDARD, TRANSPOSED_WEIGHT, output_axis
from oq.model.stored import values_of


@dataclass(frozen=True, slots=True)
class Scope:
    """A graph with its ``constants``, and the names that it computes or is given."""

    graph: onnx.GraphProto
    constants: Mapping[str, onnx.TensorProto]
    computed: frozenset[str]


@dataclass(frozen=True, slots=True)
class Matrix:
    """The weight of a product, which lies in that ``scope`` of those looked in; ``upright``: it is
    (in, out); ``bias``: the name of one, "" without."""

    weight: onnx.TensorProto
    scope: int
    upright: bool
    bias: str


def scope_of(graph: onnx.GraphProto) -> Scope:
    """``graph`` as a scope of names."""
    made = {v.name for v in graph.input} | {t for n in graph.node for t in n.output}
    return Scope(graph, {t.name: t for t in graph.initializer}, frozenset(made))


def find_matrix(node: onnx.NodeProto, scopes: Sequence[Scope]) -> Matrix | str:
    """The weight of ``node``, a node of the first of ``scopes``, which lie in one another; or why
    it is not a product with a constant matrix."""
    row = OPS.get(node.op_type)
    if node.domain not in STANDARD or row is None or row.weight is None:
        return f"{node.op_type} is not a product with a weight"
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    flag = TRANSPOSED_WEIGHT.get(node.op_type, ("", 0))[0]
    upright = not attributes.pop(flag, 0)
    if output_axis(node.op_type) != -1:
        return f"{node.op_type} is not a product with a matrix"
    if not _is_plain(attributes):
        return "it scales or transposes what it multiplies"
    weight = node.input[row.weight]
    found = _find(scopes, weight)
    if found is None:
        return f"its weight {weight!r} is not a constant float32 matrix of finite values"
    bias = node.input[2] if len(node.input) > 2 else ""
    if bias and not _is_row(scopes, bias):
        return f"its bias {bias!r} is not a constant with one value per output"
    return Matrix(found[1], found[0], upright, bias)


def _find(scopes: Sequence[Scope], name: str) -> tuple[int, onnx.TensorProto] | None:
    """The scope and the float32 matrix that ``name`` means in the innermost of ``scopes``."""
    for place, scope in enumerate(scopes):
        if name in scope.constants:
            tensor = scope.constants[name]
            fits = tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 2
            held = fits and 0 not in tensor.dims
            finite = held and bool(np.isfinite(values_of(tensor)).all())
            return (place, tensor) if finite else None
        if name in scope.computed:
            return None
    return None


def _is_row(scopes: Sequence[Scope], name: str) -> bool:
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
