"""The bodies of If, Loop and Scan as separate models, which are checked, prepared and planned like
any other, and the way back.

A body reads tensors of the outer graph.  Constants among them are copied into it, and the others
become its inputs, with the types known outside.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import onnx

from oq.model.bodies import bodies_of, captured_by, graphs_in, reads_of
from oq.model.ops import COUNTED
from oq.model.stored import values_of

Step = tuple[str, str]
"""A node, and its attribute that holds a body."""

Constants = Mapping[str, onnx.TensorProto]

SHARED = 1024
"""Bytes from which a constant that is equal in several bodies is stored once."""


@dataclass(frozen=True, slots=True)
class Body:
    """One subgraph: ``steps`` are the nodes and attributes that contain it, outermost first;
    ``op``: what the innermost of these nodes is; ``states``: what each turn is given of the one
    before it -> what that gives on."""

    steps: tuple[Step, ...]
    op: str
    model: onnx.ModelProto
    states: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """What stands in front of the names inside, where the outer graph is told of them:
        ``loop/body/``."""
        return path_of(self.steps)


def path_of(steps: Sequence[Step]) -> str:
    """The path of the body at ``steps``: ``loop/body/``."""
    return "".join(f"{node}/{attribute}/" for node, attribute in steps)


def bodies(model: onnx.ModelProto) -> Iterator[Body]:
    """Every subgraph of ``model``, nested ones included, outer ones first."""
    for body in own_bodies(model):
        yield body
        for inner in bodies(body.model):
            yield Body((*body.steps, *inner.steps), inner.op, inner.model, inner.states)


def own_bodies(model: onnx.ModelProto) -> Iterator[Body]:
    """The subgraphs of the nodes of ``model``, without those nested in them."""
    graph = model.graph
    inner = [(node, *found) for node in graph.node for found in bodies_of(node)]
    if not inner:
        return
    types = {v.name: v for v in (*graph.input, *graph.value_info, *graph.output)}
    constants = {t.name: t for t in graph.initializer}
    for node, attribute, inside in inner:
        body = _alone(model, inside, types, constants)
        steps = ((node.name or node.op_type, attribute),)
        yield Body(steps, node.op_type, body, _states(node, inside))


def _states(node: onnx.NodeProto, body: onnx.GraphProto) -> dict[str, str]:
    """What ``body`` of a Loop or Scan carries from turn to turn."""
    given, made = list(body.input), list(body.output)
    scanned = next((a.i for a in node.attribute if a.name == "num_scan_inputs"), None)
    if scanned is not None:
        given = given[: len(given) - scanned]
    elif node.op_type in COUNTED:
        given, made = given[2:], made[1:]
    else:
        return {}
    return {v.name: t.name for v, t in zip(given, made, strict=False)}


def _alone(
    model: onnx.ModelProto,
    graph: onnx.GraphProto,
    types: Mapping[str, onnx.ValueInfoProto],
    constants: Constants,
) -> onnx.ModelProto:
    body = onnx.ModelProto(ir_version=model.ir_version)
    body.opset_import.extend(model.opset_import)
    body.graph.CopyFrom(graph)
    for name in captured_by(graph):
        if name in constants:
            body.graph.initializer.append(constants[name])
        else:
            body.graph.input.append(types.get(name, onnx.ValueInfoProto(name=name)))
    return body


def find_body(
    graph: onnx.GraphProto, steps: Sequence[Step]
) -> tuple[onnx.GraphProto, dict[str, onnx.TensorProto]]:
    """The body in ``graph`` at ``steps``, and the constants around it that it may read."""
    around: dict[str, onnx.TensorProto] = {}
    for name, attribute in steps:
        around |= {t.name: t for t in graph.initializer}
        node = next(n for n in graph.node if n.name == name)
        graph = next(body for found, body in bodies_of(node) if found == attribute)
        made = {v.name for v in graph.input} | {t for n in graph.node for t in n.output}
        around = {name: t for name, t in around.items() if name not in made}
    return graph, around


def put_back(
    body: onnx.GraphProto, made: onnx.GraphProto, around: Constants, fresh: Callable[[str], str]
) -> None:
    """Let ``body`` compute what ``made`` does, which was made of it as a model (:class:`Body`).

    Its inputs and outputs stay.  Constants ``around`` it are read there, those that have other
    values now lie in the body under a ``fresh`` name.  The types of what it computes are left to
    whoever reads the file: those of a model may be too narrow for every turn of a Loop.
    """
    inner = onnx.GraphProto()
    inner.CopyFrom(made)
    kept = []
    for tensor in inner.initializer:
        outer = around.get(tensor.name)
        if outer is None or not _same(tensor, outer):
            kept.append(tensor)
            if outer is not None:
                _rename(inner, tensor.name, fresh(tensor.name))
    for part, values in ((body.node, inner.node), (body.initializer, kept), (body.value_info, ())):
        del part[:]
        part.extend(values)


def _same(one: onnx.TensorProto, other: onnx.TensorProto) -> bool:
    if one.data_type != other.data_type or list(one.dims) != list(other.dims):
        return False
    return values_of(one).tobytes() == values_of(other).tobytes()


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Call the constant ``old`` of ``graph`` ``new``, wherever it is read."""
    for tensor in graph.initializer:
        if tensor.name == old:
            tensor.name = new
    for part in graphs_in(graph):
        for node in part.node:
            for slot, name in enumerate(node.input):
                if name == old:
                    node.input[slot] = new


def names_in(graph: onnx.GraphProto) -> set[str]:
    """Every tensor and node that ``graph`` and its bodies define."""
    names: set[str] = set()
    for part in graphs_in(graph):
        names.update(v.name for v in (*part.input, *part.initializer))
        names.update(name for node in part.node for name in (node.name, *node.output))
    return names


def share_constants(graph: onnx.GraphProto, fresh: Callable[[str], str]) -> None:
    """Move large constants that are equal in several bodies of ``graph`` into ``graph``, each once,
    and drop the constants that nothing reads."""
    equal: dict[object, list[tuple[onnx.GraphProto, onnx.TensorProto]]] = {}
    for part in graphs_in(graph):
        read = {t for n in part.node for t in reads_of(n)} | {v.name for v in part.output}
        for tensor in [t for t in part.initializer if t.name not in read]:
            part.initializer.remove(tensor)
        for tensor in part.initializer:
            values = values_of(tensor)
            if values.nbytes >= SHARED:
                digest = hashlib.sha256(values.tobytes()).digest()
                key = (tensor.data_type, tuple(tensor.dims), digest)
                equal.setdefault(key, []).append((part, tensor))
    for found in equal.values():
        if len({id(part) for part, _ in found}) > 1:
            _store_once(graph, found, fresh)


def _store_once(
    graph: onnx.GraphProto,
    found: Sequence[tuple[onnx.GraphProto, onnx.TensorProto]],
    fresh: Callable[[str], str],
) -> None:
    here = next((t.name for part, t in found if part is graph), None)
    if here is None:
        here = fresh(found[0][1].name)
        graph.initializer.append(found[0][1])
        graph.initializer[-1].name = here
    for part, tensor in found:
        if part is not graph:
            old = tensor.name
            part.initializer.remove(tensor)
            _rename(part, old, here)
