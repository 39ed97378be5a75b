"""The model at batch 1, with the shape of every tensor; XIR has neither free axes nor batches."""

import numpy as np
import onnx

from oq.errors import ModelError
from oq.model.graph import Graph
from oq.model.ops import VALUE_SIZED
from oq.model.proto_fields import inputs_of, read_type
from oq.model.session import expose, run
from oq.model.view import GraphView

REMEDY = "oq quantize FLOAT.onnx -t dpu --shape {name}={shape} fixes it"


def at_batch_1(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` whose inputs have a batch of 1 where they leave it free, all shapes inferred anew.

    Raises:
        ModelError: an input of another batch, with another free axis, or not of float32.
    """
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    _lift_constants(fixed.graph)
    held = {t.name for t in fixed.graph.initializer}
    freed = set()
    for value in fixed.graph.input:
        if value.name in held:
            continue
        _check_input(value)
        first = value.type.tensor_type.shape.dim[0]
        freed |= {first.dim_param} - {""}
        first.dim_value = 1
    for value in fixed.graph.input:
        _check_axes(value, freed)
    del fixed.graph.value_info[:]
    for value in fixed.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(fixed, data_prop=True)
    return _with_shapes(inferred)


CONSTANT = frozenset({"Constant"})


def _lift_constants(graph: onnx.GraphProto) -> None:
    """Constant nodes become initializers."""
    for node in [n for n in graph.node if n.op_type in CONSTANT]:
        (given,) = node.attribute
        value = onnx.helper.get_attribute_value(given)
        if isinstance(value, onnx.TensorProto):
            value = onnx.numpy_helper.to_array(value)
        kind = np.float32 if given.name.startswith("value_float") else None
        array = np.asarray(value, kind)
        graph.initializer.append(onnx.numpy_helper.from_array(array, node.output[0]))
        graph.node.remove(node)


def _with_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with the shapes that follow from computed ones (Shape, Squeeze, Concat), seen in a
    run on zeros; unless a shape depends on values."""
    known = {v.name: v for v in (*model.graph.value_info, *model.graph.output)}
    made = [t for n in model.graph.node for t in n.output if t]
    left = [t for t in made if t not in known or not _is_static(known[t])]
    if not left or any(n.op_type in VALUE_SIZED for n in model.graph.node):
        return model
    zeros = {
        i.name: np.zeros([s for s in i.shape or () if isinstance(s, int)], np.float32)
        for i in inputs_of(model)
    }
    for name, values in run(expose(model, left), zeros).items():
        found = known[name] if name in known else model.graph.value_info.add(name=name)
        kind = onnx.helper.np_dtype_to_tensor_dtype(values.dtype)
        found.CopyFrom(onnx.helper.make_tensor_value_info(name, kind, values.shape))
    return model


def _is_static(value: onnx.ValueInfoProto) -> bool:
    shape = read_type(value).shape
    return shape is not None and all(isinstance(s, int) for s in shape)


def _check_input(value: onnx.ValueInfoProto) -> None:
    found = read_type(value)
    if found.dtype != "float32":
        raise ModelError(
            f"input {value.name!r} is {found.dtype}; an xmodel is fed float32 images or vectors"
        )
    if not found.shape:
        what = "no known shape" if found.shape is None else "no axes"
        raise ModelError(f"input {value.name!r} has {what}; an xmodel has a fixed shape of batch 1")
    if isinstance(found.shape[0], int) and found.shape[0] != 1:
        shape = "x".join(str(s) for s in (1, *found.shape[1:]))
        raise ModelError(
            f"input {value.name!r} has a batch of {found.shape[0]}; the DPU's compiler takes batch "
            f"1 only: export the model with a free batch, or with {shape}"
        )


def _check_axes(value: onnx.ValueInfoProto, freed: set[str]) -> None:
    for axis in value.type.tensor_type.shape.dim:
        if axis.dim_param in freed:
            axis.dim_value = 1
    shape = read_type(value).shape or ()
    free = [str(s or "?") for s in shape if not isinstance(s, int)]
    if free:
        wanted = "x".join(str(s) if isinstance(s, int) else "SIZE" for s in shape)
        raise ModelError(
            f"input {value.name!r} has an axis of free size ({', '.join(free)}), and XIR has none; "
            + REMEDY.format(name=value.name, shape=wanted)
        )


def static_view(model: onnx.ModelProto) -> GraphView:
    """The picture of ``model``."""
    return Graph(model).view()
