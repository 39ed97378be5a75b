"""Products in the bodies of If, Loop and Scan whose weight is a constant, and what replaces them.

Exporters put whole decoders into the branches of an If (with and without a past), whose weights lie
in the outer graph.  A weight is quantized where it lies, once for all bodies that read it; each
product then becomes what a :class:`Form` makes of it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import onnx
from onnx import helper, numpy_helper

from oq.model.bodies import bodies_of, reads_of
from oq.model.names import claim_name
from oq.model.ops import OPS, STANDARD, TRANSPOSED_WEIGHT, output_axis
from oq.model.stored import values_of
from oq.model.submodels import names_in
from oq.numerics.values import Array

Fresh = Callable[[str], str]
"""The name that is wished for, or one like it that is free."""


@dataclass(frozen=True, slots=True)
class Product:
    """``output = data @ weight + bias`` in a body: the names of its tensors ("" without a bias),
    the ``shape`` (in, out) of the weight, and the names under which its parts are ``stored``."""

    node: onnx.NodeProto
    data: str
    output: str
    bias: str
    shape: tuple[int, int]
    stored: tuple[str, ...]


class Form(Protocol):
    """What products become."""

    @property
    def domain(self) -> str:
        """That of its operators, "" for ONNX's own."""

    def store(self, values: Array) -> Mapping[str, Array | None]:
        """What a weight (in, out) is stored as, by the ending of its name; None: not there."""

    def nodes(self, product: Product, fresh: Fresh) -> Sequence[onnx.NodeProto]:
        """The nodes in place of ``product``, in order; the first one keeps its name."""


@dataclass(slots=True)
class _Scope:
    """A graph and what it defines; ``stored``: (weight, transposed) -> what replaces it."""

    graph: onnx.GraphProto
    constants: dict[str, onnx.TensorProto]
    computed: frozenset[str]
    stored: dict[tuple[str, bool], tuple[str, ...]] = field(default_factory=dict)


def rewrite_bodies(
    model: onnx.ModelProto, form: Form, keeps: Callable[[str], bool]
) -> tuple[str, ...]:
    """Rewrite, in place, every product in a body of ``model`` whose weight is a constant float32
    matrix; returns their names.  ``keeps`` says which nodes stay in float."""
    names = names_in(model.graph)

    done = tuple(_rewrite_graph(model.graph, (), form, keeps, lambda wish: claim_name(wish, names)))
    if done and form.domain and all(o.domain != form.domain for o in model.opset_import):
        model.opset_import.append(helper.make_opsetid(form.domain, 1))
    return done


def _rewrite_graph(
    graph: onnx.GraphProto,
    outer: tuple[_Scope, ...],
    form: Form,
    keeps: Callable[[str], bool],
    fresh: Fresh,
) -> Iterator[str]:
    made = {v.name for v in graph.input} | {t for n in graph.node for t in n.output}
    scope = _Scope(graph, {t.name: t for t in graph.initializer}, frozenset(made))
    scopes = (scope, *outer)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        for _, body in bodies_of(node):
            yield from _rewrite_graph(body, scopes, form, keeps, fresh)
        product = _product(node, scopes, form, fresh) if outer and not keeps(node.name) else None
        if product is None:
            nodes.append(node)
            continue
        yield node.name
        instead = form.nodes(product, fresh)
        for each in instead:
            each.metadata_props.extend(node.metadata_props)
        nodes += instead
    if outer:
        kept = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
        del graph.node[:]
        graph.node.extend(kept)
    read = {t for n in graph.node for t in reads_of(n)} | {v.name for v in graph.output}
    for name in {weight for weight, _ in scope.stored} - read:
        graph.initializer.remove(scope.constants[name])


def _product(
    node: onnx.NodeProto, scopes: tuple[_Scope, ...], form: Form, fresh: Fresh
) -> Product | None:
    """``node`` as a product with a stored matrix, if it is one."""
    row = OPS.get(node.op_type)
    if node.domain not in STANDARD or row is None or row.weight is None:
        return None
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    flag = TRANSPOSED_WEIGHT.get(node.op_type, ("", 0))[0]
    is_upright = not attributes.pop(flag, 0)
    found = _find(scopes, node.input[row.weight])
    bias = node.input[2] if len(node.input) > 2 else ""
    if output_axis(node.op_type) != -1 or found is None or not _is_plain(attributes):
        return None
    if bias and not _is_row(scopes, bias):
        return None
    scope, weight = found
    values = values_of(weight)
    values = values if is_upright else values.T
    slot = (weight.name, not is_upright)
    if slot not in scope.stored:
        scope.stored[slot] = _store(scope.graph, weight.name, form.store(values), fresh)
    rows, columns = values.shape
    return Product(node, node.input[0], node.output[0], bias, (rows, columns), scope.stored[slot])


def _store(
    graph: onnx.GraphProto, name: str, parts: Mapping[str, Array | None], fresh: Fresh
) -> tuple[str, ...]:
    """The names of ``parts``, added to ``graph``; "" for those that are not there."""
    made = []
    for what, part in parts.items():
        given = "" if part is None else fresh(f"{name}_{what}")
        if part is not None:
            graph.initializer.append(numpy_helper.from_array(part, given))
        made.append(given)
    return tuple(made)


def _find(scopes: tuple[_Scope, ...], name: str) -> tuple[_Scope, onnx.TensorProto] | None:
    """The scope and the float32 matrix that ``name`` means in the innermost of ``scopes``."""
    for scope in scopes:
        if name in scope.constants:
            tensor = scope.constants[name]
            fits = tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 2
            held = fits and 0 not in tensor.dims
            finite = held and bool(np.isfinite(values_of(tensor)).all())
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
