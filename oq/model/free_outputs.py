"""Axes of outputs whose declared names do not hold.

Exporters give the axes of outputs names that the user thinks of, and one name is one length: where
it is not, onnxruntime may put a tensor into the memory of another that is too small, and fails
("dim_param (all values with the same string should equate to the same size)").  Whether it comes to
that depends on which tensors a graph has, so the float model may run where a file made of it does
not.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

import onnx

from oq.errors import OqError
from oq.model.session import Session, Settings
from oq.numerics.values import Array


def free_outputs(model: onnx.ModelProto, feeds: Mapping[str, Array] | None) -> onnx.ModelProto:
    """``model`` with those axes of its outputs unnamed whose name stands for two lengths in a run
    on ``feeds``; itself where all names hold.

    It is run only if several outputs have an axis of one name that no input has.
    """
    of_inputs = {name for _, _, name in _named(model.graph.input)}
    named = list(_named(model.graph.output))
    shared = Counter(name for _, _, name in named if name not in of_inputs)
    if feeds is None or max(shared.values(), default=0) < 2:
        return model
    outputs = list(dict.fromkeys(output for output, _, _ in named))
    try:
        session = Session(model, Settings("literal", reuse=False))
        read = {i.name for i in session.inputs}
        found = session.run({k: a for k, a in feeds.items() if k in read}, outputs)
    except OqError:
        return model  # what is wrong with it is told where it is used
    shapes = {k: a.shape for k, a in zip(outputs, found, strict=True)}
    shapes |= {k: a.shape for k, a in feeds.items()}
    lengths: defaultdict[str, set[int]] = defaultdict(set)
    for tensor, axis, name in (*_named(model.graph.input), *named):
        if axis < len(shapes.get(tensor, ())):
            lengths[name].add(shapes[tensor][axis])
    wrong = {name for name, many in lengths.items() if len(many) > 1}
    return _without(model, wrong) if wrong else model


def freed_outputs(model: onnx.ModelProto, written: onnx.ModelProto) -> dict[str, str]:
    """Output -> the name of an axis that ``model`` declares and ``written`` leaves free."""
    free = {
        (value.name, axis)
        for value in written.graph.output
        for axis, dim in enumerate(value.type.tensor_type.shape.dim)
        if dim.WhichOneof("value") is None
    }
    return {o: name for o, axis, name in _named(model.graph.output) if (o, axis) in free}


def _named(values: Iterable[onnx.ValueInfoProto]) -> Iterator[tuple[str, int, str]]:
    """(tensor, axis, name) of every named axis."""
    for value in values:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.dim_param:
                yield value.name, axis, dim.dim_param


def _without(model: onnx.ModelProto, names: set[str]) -> onnx.ModelProto:
    freed = onnx.ModelProto()
    freed.CopyFrom(model)
    for value in (*freed.graph.output, *freed.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in names:
                dim.ClearField("dim_param")
    return freed
