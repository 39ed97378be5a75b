"""Values inside the bodies of If, Loop and Scan as tensors of the outer graph.

A body cannot name a model output, but what it computes can be carried out of it: a Loop appends the
values of each turn to a sequence that it carries, a Scan is made such a Loop, and an If gives them
out of both branches, the one without them an empty tensor.  A tensor is flattened, since its size
may differ from turn to turn: what comes out are all its values over all turns, (value,), float32.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from oq.model.bodies import bodies_of, graphs_in
from oq.model.names import claim_name
from oq.model.proto_fields import replace_all
from oq.model.scan_to_loop import scan_to_loop
from oq.model.submodels import path_of

Fresh = Callable[[str], str]

FLOAT = TensorProto.FLOAT


def carry_out(model: onnx.ModelProto, paths: Sequence[str], *, count: bool = False) -> None:
    """Let ``model``, in place, compute a tensor for each of ``paths`` (``loop/body/x``: tensor x in
    that body of node ``loop``) that it has, called as the path; with ``count`` the number of its
    values in each turn, (turn,)."""
    if not paths:  # most models that are exposed
        return
    nodes = [n for part in graphs_in(model.graph) for n in part.node]
    taken = {t for n in nodes for t in (*n.output, *n.input)} | {n.name for n in nodes}
    fresh = partial(claim_name, taken=taken)
    summary = _count if count else _flatten
    for path, values in _carry(model.graph, paths, summary, fresh).items():
        model.graph.node.append(helper.make_node("Identity", [values], [path], fresh("carried")))


def _carry(
    graph: onnx.GraphProto, paths: Sequence[str], summary: "Summary", fresh: Fresh
) -> dict[str, str]:
    """Each of ``paths`` that lies in a body of ``graph`` -> the tensor of ``graph`` with its
    values."""
    found: dict[str, str] = {}
    for node in list(graph.node):
        for attribute, body in list(bodies_of(node)):
            prefix = path_of([(node.name, attribute)])
            within = [p for p in paths if p.startswith(prefix) and p not in found]
            if not within:
                continue
            if node.op_type == SCAN:
                scan_to_loop(graph, node, fresh)
            inside = [p.removeprefix(prefix) for p in within]
            deeper = _carry(body, inside, summary, fresh)
            values = [deeper.get(t) or summary(body, t, fresh) for t in inside]
            made = WAYS[node.op_type](graph, node, attribute, values, fresh)
            found |= dict(zip(within, made, strict=True))
    return found


def _add(graph: onnx.GraphProto, op: str, inputs: Sequence[str], fresh: Fresh, **how: Any) -> str:
    """A node at the end of ``graph``; returns its output."""
    name = fresh("carried")
    graph.node.append(helper.make_node(op, inputs, [name], name, **how))
    return name


def _constant(graph: onnx.GraphProto, values: Any, fresh: Fresh) -> str:
    return _add(graph, "Constant", [], fresh, value=numpy_helper.from_array(np.asarray(values)))


def _flatten(graph: onnx.GraphProto, tensor: str, fresh: Fresh) -> str:
    """``tensor`` as float32 (value,)."""
    floats = _add(graph, "Cast", [tensor], fresh, to=FLOAT)
    line = _constant(graph, np.asarray([-1], np.int64), fresh)
    return _add(graph, "Reshape", [floats, line], fresh)


def _count(graph: onnx.GraphProto, tensor: str, fresh: Fresh) -> str:
    """How many values ``tensor`` has, as float32 (1,)."""
    return _flatten(graph, _add(graph, "Size", [tensor], fresh), fresh)


Summary = Callable[[onnx.GraphProto, str, Fresh], str]
"""What is carried out of a tensor."""


def _declare(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, FLOAT, [None])


def _from_branch(
    _: onnx.GraphProto, node: onnx.NodeProto, branch: str, values: Sequence[str], fresh: Fresh
) -> list[str]:
    """Outputs of an If: ``values`` of ``branch``, and nothing from the other one."""
    made = [fresh("carried") for _ in values]
    node.output.extend(made)
    for attribute, body in bodies_of(node):
        for value in values:
            given = value
            if attribute != branch:
                given = _constant(body, np.zeros(0, np.float32), fresh)
            body.output.append(_declare(given))
    return made


def _from_loop(
    graph: onnx.GraphProto, node: onnx.NodeProto, name: str, values: Sequence[str], fresh: Fresh
) -> list[str]:
    """What the body ``name`` of a Loop computes in all turns: a sequence that it carries, which
    starts with an empty tensor, since there may be no turn."""
    body = next(body for attribute, body in bodies_of(node) if attribute == name)
    states, made = len(body.input) - 2, []
    empty = _before(graph, fresh)
    while len(node.input) < 2 + states:
        node.input.append("")
    outputs, given = list(node.output), list(body.output)
    outputs += [fresh("carried") for _ in given[1 + len(outputs) :]]  # it takes no empty name
    for value in values:
        past, whole = fresh("carried"), fresh("carried")
        now = _add(body, "SequenceInsert", [past, value], fresh)
        node.input.append(empty)
        body.input.append(helper.make_tensor_sequence_value_info(past, FLOAT, None))
        given.insert(1 + states, helper.make_tensor_sequence_value_info(now, FLOAT, None))
        outputs.insert(states, whole)
        states += 1
        made.append(_add(graph, "ConcatFromSequence", [whole], fresh, axis=0))
    replace_all(body.output, given)
    replace_all(node.output, outputs)
    return made


def _before(graph: onnx.GraphProto, fresh: Fresh) -> str:
    """A sequence of one empty tensor, made in front of all nodes of ``graph``."""
    none, empty = fresh("carried"), fresh("carried")
    value = numpy_helper.from_array(np.zeros(0, np.float32))
    graph.node.insert(0, helper.make_node("SequenceConstruct", [none], [empty], empty))
    graph.node.insert(0, helper.make_node("Constant", [], [none], none, value=value))
    return empty


SCAN = "Scan"

WAYS = {"If": _from_branch, "Loop": _from_loop}
"""Op -> how values leave its bodies."""

LEAVING = frozenset({*WAYS, SCAN})
"""Ops whose bodies can be measured."""
