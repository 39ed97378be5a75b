"""Float constants that are stored as float16, with a Cast behind them.

The quantized file of a float16 model computes its float rest in float32 where the target has no
float16.  Its weights hold float16 numbers still; stored as such they take half, and a runtime casts
them once, when it loads the file.
"""

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from oq.model.bodies import graphs_in
from oq.model.names import claim_name
from oq.model.ops import CASTING, STANDARD
from oq.model.qdq import PAIR
from oq.model.stored import values_of
from oq.model.submodels import names_in

LEAST = 1024
"""Bytes of a constant that is stored so: a Cast takes a hundred."""


def store_halves(model: onnx.ModelProto) -> int:
    """Store, in place, every large float32 constant of ``model`` and its bodies that float16 holds
    without a loss; returns their number.  Each keeps its name, which the Cast computes."""
    taken, count = names_in(model.graph), 0
    for graph in graphs_in(model.graph):
        casts = []
        for tensor in _floats(graph):
            values = values_of(tensor)
            with np.errstate(over="ignore"):
                half = values.astype(np.float16)
            if not np.array_equal(half.astype(np.float32), values, equal_nan=True):
                continue
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(half, claim_name(f"{name}_float16", taken)))
            node = claim_name(f"{name}_Cast", taken)
            casts.append(
                helper.make_node("Cast", [tensor.name], [name], node, to=TensorProto.FLOAT)
            )
        for cast in reversed(casts):
            graph.node.insert(0, cast)
        count += len(casts)
    return count


def _floats(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """The constants of ``graph`` that may be stored so: no inputs or outputs, no scales, nothing
    that operators of a runtime read as constants."""
    fixed = {v.name for v in (*graph.input, *graph.output)}
    for part in graphs_in(graph):
        fixed |= {v.name for v in part.output}
        for node in part.node:
            if node.op_type in PAIR or node.domain not in STANDARD:
                fixed.update(node.input)
    for tensor in graph.initializer:
        size = 4 * np.prod(tensor.dims, dtype=np.int64)
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in fixed and size >= LEAST:
            yield tensor


def in_single(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with such constants in float32, as they are read; itself where there are none."""
    if not any(True for graph in graphs_in(model.graph) for _ in _stored_halves(graph)):
        return model
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for graph in graphs_in(made.graph):
        found = list(_stored_halves(graph))
        for cast, half in found:
            values = values_of(half).astype(np.float32)
            graph.initializer.append(numpy_helper.from_array(values, cast.output[0]))
            graph.node.remove(cast)
        read = {t for part in graphs_in(graph) for n in part.node for t in n.input}
        read |= {v.name for part in graphs_in(graph) for v in part.output}
        for half in {half.name: half for _, half in found if half.name not in read}.values():
            graph.initializer.remove(half)
    return made


def _stored_halves(
    graph: onnx.GraphProto,
) -> Iterator[tuple[onnx.NodeProto, onnx.TensorProto]]:
    """The Casts of ``graph`` from float16 constants to float32, and these."""
    halves = {t.name: t for t in graph.initializer if t.data_type == TensorProto.FLOAT16}
    outputs = {v.name for v in graph.output}
    for node in graph.node if halves else ():
        if node.op_type not in CASTING or node.input[0] not in halves:
            continue
        kind = next((a.i for a in node.attribute if a.name == "to"), None)
        if kind == TensorProto.FLOAT and node.output[0] not in outputs:
            yield node, halves[node.input[0]]
