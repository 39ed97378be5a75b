"""A part of a random graph (:mod:`tests.fuzz`) moved into the bodies of an If, a Loop or a Scan."""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.fuzz import grow

KINDS = ("If", "Loop", "Scan")


def enclose(seed: int) -> onnx.ModelProto | None:
    """The graph of ``seed`` with some nodes in a row in both branches of an If, which the first
    input decides, or in a body that runs once; None where nobody reads what these nodes give."""
    model = onnx.shape_inference.infer_shapes(grow(seed))
    graph, random = model.graph, np.random.default_rng(seed)
    nodes = list(graph.node)
    start = int(random.integers(len(nodes)))
    end = start + int(random.integers(1, len(nodes) + 1))
    part, rest = nodes[start:end], [*nodes[:start], *nodes[end:]]
    read = {t for n in rest for t in n.input} | {v.name for v in graph.output}
    given = [t for n in part for t in n.output if t in read]
    if not given:
        return None
    types = {v.name: v for v in (*graph.value_info, *graph.output)}
    first = graph.input[0].name
    around = (
        _choice(part, given, types, first)
        if (kind := KINDS[seed % 3]) == "If"
        else _once(kind, part, given, types)
    )
    del graph.node[:], graph.value_info[:]
    graph.node.extend([*nodes[:start], *around, *nodes[end:]])
    for name, values in {"none": np.float32(0), "once": 1, "axis": [0], "row": [1.0]}.items():
        graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
    return model


Types = dict[str, onnx.ValueInfoProto]


def _choice(
    part: Sequence[onnx.NodeProto], given: Sequence[str], types: Types, decides: str
) -> list[onnx.NodeProto]:
    then, other = (_body(part, given, types, ending) for ending in ("_then", "_else"))
    return [
        helper.make_node("ReduceSum", [decides], ["total"], keepdims=0),
        helper.make_node("Greater", ["total", "none"], ["goes"]),
        helper.make_node("If", ["goes"], given, then_branch=then, else_branch=other),
    ]


def _once(
    kind: str, part: Sequence[onnx.NodeProto], given: Sequence[str], types: Types
) -> list[onnx.NodeProto]:
    """Outputs are stacked along a first axis of length 1."""
    body, stacked = _body(part, given, types, "_turn"), [f"{t}_stacked" for t in given]
    if kind == "Loop":
        body.input.append(helper.make_tensor_value_info("turn", TensorProto.INT64, []))
        body.input.append(helper.make_tensor_value_info("on", TensorProto.BOOL, []))
        body.node.append(helper.make_node("Identity", ["on"], ["still"]))
        body.output.insert(0, helper.make_tensor_value_info("still", TensorProto.BOOL, []))
        node = helper.make_node("Loop", ["once", ""], stacked, body=body)
    else:
        body.input.append(helper.make_tensor_value_info("turn", TensorProto.DOUBLE, []))
        node = helper.make_node("Scan", ["row"], stacked, body=body, num_scan_inputs=1)
    pairs = zip(stacked, given, strict=True)
    return [node, *(helper.make_node("Squeeze", [s, "axis"], [t]) for s, t in pairs)]


def _body(
    part: Sequence[onnx.NodeProto], given: Sequence[str], types: Types, ending: str
) -> onnx.GraphProto:
    made = {t for n in part for t in n.output}
    nodes = []
    for node in part:
        copy = onnx.NodeProto.FromString(node.SerializeToString())
        copy.input[:] = [t + ending if t in made else t for t in node.input]
        copy.output[:] = [t + ending for t in node.output]
        nodes.append(copy)
    outputs = []
    for tensor in given:
        outputs.append(onnx.ValueInfoProto.FromString(types[tensor].SerializeToString()))
        outputs[-1].name = tensor + ending
    return helper.make_graph(nodes, "body" + ending, [], outputs)
