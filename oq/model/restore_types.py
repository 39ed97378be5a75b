"""Gives a model that was computed in float32 the types back that its inputs and outputs have."""

from collections.abc import Mapping

import numpy as np
import onnx

from oq.model.graph import Graph
from oq.model.view import GraphView


def restore_types(graph: Graph, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> None:
    """Give graph ``inputs`` and ``outputs`` (name -> dtype) types other than the float32 that
    ``graph`` computes in; Casts stand between.  An output that is an input has its type."""
    for name, dtype in inputs.items():
        single = graph.add_node(
            *("Cast", (name,), f"{name}_float32"),
            name=f"{name}_Cast",
            attributes={"to": onnx.TensorProto.FLOAT},
            like=name,
            dtype="float32",
        )
        cast = graph.maker(single)
        graph.redirect(name, single)
        if cast is not None:
            graph.set_input(cast, 0, name)
        graph.set_dtype(name, dtype)
    view = graph.view() if outputs else None
    for name, dtype in outputs.items():
        if view is not None and name not in inputs:
            _restore_output(graph, view, name, dtype)


def _restore_output(graph: Graph, view: GraphView, name: str, dtype: str) -> None:
    if view.is_constant(name):
        values = view.constants[name]
        graph.redirect(name, graph.add_constant(f"{name}_float32", values))
        graph.set_constant(name, values.astype(dtype))
        return
    single = graph.split_output(name, f"{name}_float32")
    graph.redirect(name, single)
    cast = graph.add_node(
        *("Cast", (single,), f"{name}_cast"),
        name=f"{name}_Cast",
        attributes={"to": onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))},
        like=name,
    )
    graph.set_dtype(name, dtype)
    graph.give_output(name, cast)
