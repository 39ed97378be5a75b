"""A Scan as the Loop that computes the same: values whose size differs from turn to turn leave a
Loop, and no Scan, which stacks what it gives out."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from oq.model.bodies import bodies_of
from oq.model.proto_fields import replace_all

Fresh = Callable[[str], str]


def scan_to_loop(graph: onnx.GraphProto, node: onnx.NodeProto, fresh: Fresh) -> None:
    """Let the Scan ``node`` of ``graph`` be a Loop, in place: over ``a.shape[axis]`` turns for its
    first scanned input a, of which turn i reads ``Gather(a, i, axis)``, or i from the end.

    An output that is stacked along another axis than the first, or in reverse, becomes a sequence
    that the Loop carries.  Opset 13 or later (Unsqueeze).  There is one turn at least: at a Scan of
    none, onnxruntime 1.32 ends the process.
    """
    own = {a.name: helper.get_attribute_value(a) for a in node.attribute if a.name != "body"}
    ((_, body),) = bodies_of(node)
    states = len(node.input) - own["num_scan_inputs"]
    scanned = list(node.input)[states:]
    axes = own.get("scan_input_axes") or [0] * len(scanned)
    backwards = own.get("scan_input_directions") or [0] * len(scanned)

    turn, go, still = (fresh("scanned") for _ in range(3))
    front = _Nodes(fresh)
    turns = front.add("Gather", [front.add("Shape", [scanned[0]]), front.constant(axes[0])])
    reads = _Nodes(fresh)
    last = front.add("Sub", [turns, front.constant(1)])
    from_end = reads.add("Sub", [last, turn])
    for value, read, axis, back in zip(
        list(body.input)[states:], scanned, axes, backwards, strict=True
    ):
        whole = front.add("Identity", [read])  # its name may be that of the part
        reads.add("Gather", [whole, from_end if back else turn], value.name, axis=axis)
    _put(graph, _place(graph, node), front.made)
    _put(body, 0, reads.made)
    body.node.append(helper.make_node("Identity", [go], [still], fresh("scanned")))

    number = helper.make_tensor_value_info(turn, TensorProto.INT64, [])
    flags = (helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in (go, still))
    replace_all(body.input, [number, next(flags), *list(body.input)[:states]])
    replace_all(body.output, [next(flags), *body.output])
    replace_all(node.input, [turns, "", *list(node.input)[:states]])
    for attribute in [a for a in node.attribute if a.name != "body"]:
        node.attribute.remove(attribute)
    node.op_type = "Loop"
    _carry_stacks(graph, node, body, states, own, fresh)


def _carry_stacks(
    graph: onnx.GraphProto,
    node: onnx.NodeProto,
    body: onnx.GraphProto,
    states: int,
    own: dict[str, Any],
    fresh: Fresh,
) -> None:
    """Let the Loop ``node`` carry what its Scan does not stack along the first axis, forwards."""
    given = list(body.output)
    node.output.extend(fresh("scanned") for _ in given[1 + len(node.output) :])
    stacks = range(len(given) - 1 - states)
    axes = own.get("scan_output_axes") or [0 for _ in stacks]
    backwards = own.get("scan_output_directions") or [0 for _ in stacks]
    odd = [i for i in stacks if axes[i] or backwards[i]]
    front, ends, behind = _Nodes(fresh), _Nodes(fresh), _Nodes(fresh)
    carried, outputs = [], []
    for i in odd:
        value, whole = given[1 + states + i], fresh("scanned")
        kind = value.type.tensor_type.elem_type
        node.input.append(front.add("SequenceEmpty", [], dtype=kind))
        past = helper.make_tensor_sequence_value_info(fresh("scanned"), kind, None)
        body.input.append(past)
        axis = ends.constant([axes[i]])
        part = ends.add("Unsqueeze", [value.name, axis])
        place = [ends.constant(0)] if backwards[i] else []
        now = ends.add("SequenceInsert", [past.name, part, *place])
        carried.append(helper.make_tensor_sequence_value_info(now, kind, None))
        outputs.append(whole)
        behind.add("ConcatFromSequence", [whole], node.output[states + i], axis=axes[i])
    kept = [i for i in stacks if i not in odd]
    body.node.extend(ends.made)
    replace_all(
        body.output, [*given[: 1 + states], *carried, *(given[1 + states + i] for i in kept)]
    )
    stacked = [node.output[states + i] for i in kept]
    replace_all(node.output, [*list(node.output)[:states], *outputs, *stacked])
    at = _place(graph, node)
    _put(graph, at + 1, behind.made)
    _put(graph, at, front.made)


class _Nodes:
    """Nodes in the making."""

    def __init__(self, fresh: Fresh) -> None:
        self.made: list[onnx.NodeProto] = []
        self._fresh = fresh

    def add(self, op: str, inputs: Sequence[str], output: str = "", **how: Any) -> str:
        """One more node; returns its output."""
        name = self._fresh("scanned")
        output = output or name
        self.made.append(helper.make_node(op, inputs, [output], name, **how))
        return output

    def constant(self, values: object) -> str:
        """A constant of integers."""
        tensor = numpy_helper.from_array(np.asarray(values, np.int64))
        return self.add("Constant", [], value=tensor)


def _place(graph: onnx.GraphProto, node: onnx.NodeProto) -> int:
    """Where ``node`` is; no other computes the same tensors, while names may be empty."""
    return next(i for i, other in enumerate(graph.node) if other.output == node.output)


def _put(graph: onnx.GraphProto, at: int, nodes: Sequence[onnx.NodeProto]) -> None:
    """Insert ``nodes`` in order."""
    for node in reversed(nodes):
        graph.node.insert(at, node)
