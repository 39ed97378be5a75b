"""Products in the bodies of If, Loop and Scan whose weight is a constant, and what replaces them.

Exporters put whole decoders into the branches of an If (with and without a past), whose weights lie
in the outer graph.  A weight is quantized where it lies, once for all bodies that read it; each
product then becomes what a :class:`Form` makes of it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import onnx
from onnx import helper, numpy_helper

from oq.model.bodies import bodies_of, reads_of
from oq.model.names import claim_name
from oq.model.products import Scope, find_matrix, scope_of
from oq.model.stored import values_of
from oq.model.submodels import names_in, path_of
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
    """How a product is stored, and the nodes that take its place."""

    @property
    def domain(self) -> str:
        """That of its operators, "" for ONNX's own."""

    def store(self, values: Array) -> Mapping[str, Array | None]:
        """What a weight (in, out) is stored as, by the ending of its name; None: not there."""

    def nodes(self, product: Product, fresh: Fresh) -> Sequence[onnx.NodeProto]:
        """The nodes in place of ``product``, in order; the first one keeps its name."""


@dataclass(slots=True)
class _Place:
    """A graph and what is in it; ``stored``: (weight, transposed) -> what replaces it."""

    scope: Scope
    stored: dict[tuple[str, bool], tuple[str, ...]] = field(default_factory=dict)


def rewrite_bodies(
    model: onnx.ModelProto, form: Form, keeps: Callable[[str], bool]
) -> tuple[str, ...]:
    """Rewrite, in place, every product in a body of ``model`` whose weight is a constant float32
    matrix; returns their names.  ``keeps`` says which nodes stay in float, by
    their names with or without the path of their body in front."""
    names = names_in(model.graph)

    done = tuple(_rewrite_graph(model.graph, (), form, keeps, lambda wish: claim_name(wish, names)))
    if done and form.domain and all(o.domain != form.domain for o in model.opset_import):
        model.opset_import.append(helper.make_opsetid(form.domain, 1))
    return done


def _rewrite_graph(
    graph: onnx.GraphProto,
    outer: tuple[_Place, ...],
    form: Form,
    keeps: Callable[[str], bool],
    fresh: Fresh,
    path: str = "",
) -> Iterator[str]:
    place = _Place(scope_of(graph))
    places = (place, *outer)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        for attribute, body in bodies_of(node):
            inner = path + path_of([(node.name or node.op_type, attribute)])
            yield from _rewrite_graph(body, places, form, keeps, fresh, inner)
        kept = not outer or keeps(node.name) or keeps(path + node.name)
        product = None if kept else _product(node, places, form, fresh)
        if product is None:
            nodes.append(node)
            continue
        yield node.name
        instead = form.nodes(product, fresh)
        for each in instead:
            each.metadata_props.extend(node.metadata_props)
        nodes += instead
    if outer:
        copied = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
        del graph.node[:]
        graph.node.extend(copied)
    read = {t for n in graph.node for t in reads_of(n)} | {v.name for v in graph.output}
    for name in {weight for weight, _ in place.stored} - read:
        graph.initializer.remove(place.scope.constants[name])


def _product(
    node: onnx.NodeProto, places: tuple[_Place, ...], form: Form, fresh: Fresh
) -> Product | None:
    """``node`` as a product with a stored matrix, if it is one."""
    found = find_matrix(node, [place.scope for place in places])
    if isinstance(found, str):
        return None
    place = places[found.scope]
    values = values_of(found.weight)
    values = values if found.upright else values.T
    slot = (found.weight.name, not found.upright)
    if slot not in place.stored:
        place.stored[slot] = _store(place.scope.graph, slot[0], form.store(values), fresh)
    rows, columns = values.shape
    return Product(
        node, node.input[0], node.output[0], found.bias, (rows, columns), place.stored[slot]
    )


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
