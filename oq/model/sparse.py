"""Constants that a file stores sparsely, written out: the graph library reads none.

A sparse tensor of shape ``dims`` has ``values[i]`` at ``indices[i]``, a place in C order or one
index per axis, and 0 elsewhere (ONNX, ``SparseTensorProto``).
"""

from math import prod

import numpy as np
import onnx
from onnx import numpy_helper

from oq.errors import ModelError
from oq.model.bodies import graphs_in

MOST_BYTES = 2**31 - 1
"""Of a constant that is written out, as in a protobuf."""


def with_dense_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with a dense initializer for every sparse one, and for every Constant node of a
    sparse value a dense value; itself where there are none.

    Raises:
        ModelError: one is too large, or its indices lie outside of it.
    """
    if not any(g.sparse_initializer or _sparse_values(g) for g in graphs_in(model.graph)):
        return model
    dense = onnx.ModelProto()
    dense.CopyFrom(model)
    for graph in graphs_in(dense.graph):
        graph.initializer.extend(_dense(sparse) for sparse in graph.sparse_initializer)
        graph.ClearField("sparse_initializer")
        for attribute in _sparse_values(graph):
            value = _dense(attribute.sparse_tensor)
            attribute.ClearField("sparse_tensor")
            attribute.name, attribute.type = "value", onnx.AttributeProto.TENSOR
            attribute.t.CopyFrom(value)
    return dense


def _sparse_values(graph: onnx.GraphProto) -> list[onnx.AttributeProto]:
    attributes = (a for n in graph.node for a in n.attribute if a.name == "sparse_value")
    return [a for a in attributes if a.type == onnx.AttributeProto.SPARSE_TENSOR]


def _dense(sparse: onnx.SparseTensorProto) -> onnx.TensorProto:
    name, shape = sparse.values.name, tuple(sparse.dims)
    values, at = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
    if min(shape, default=0) < 0 or prod(shape) * values.dtype.itemsize > MOST_BYTES:
        raise ModelError(f"sparse constant {name!r} of shape {list(shape)} cannot be written out")
    try:
        places = at if at.ndim == 1 else np.ravel_multi_index(tuple(at.T), shape)
        found = np.zeros(prod(shape), values.dtype)
        found[places] = values
    except (IndexError, ValueError) as error:
        raise ModelError(f"sparse constant {name!r} has indices outside {list(shape)}") from error
    return numpy_helper.from_array(found.reshape(shape), name)
