"""The shapes of inputs, where a user knows more than the model says."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import onnx

from oq.errors import OptionError
from oq.model.proto_fields import feedable, inputs_of, read_type
from oq.numerics.values import Shape, TensorInfo

Shapes = Mapping[str, Sequence[int | None]]
"""Input -> sizes of its axes; None leaves an axis free."""


def with_shapes(model: onnx.ModelProto, shapes: Shapes | None) -> onnx.ModelProto:
    """``model`` whose inputs have ``shapes``; ``model`` itself if there are none.

    An axis name that gets one size gets it in the other inputs too.

    Raises:
        OptionError: no such input, another number of axes, or an axis that the model fixes at
            another size.
    """
    if not shapes:
        return model
    known = {info.name: info.shape for info in inputs_of(model)}
    sizes: dict[str, set[int]] = {}
    for name, shape in shapes.items():
        if name not in known:
            there = ", ".join(map(repr, known))
            raise OptionError(f"--shape {name}: the model has no such input; it has {there}")
        declared = known[name]
        _check(name, shape, declared)
        for axis, size in zip(declared or (), shape, strict=False):
            if isinstance(axis, str) and size is not None:
                sizes.setdefault(axis, set()).add(size)
    settled = {axis: found.pop() for axis, found in sizes.items() if len(found) == 1}
    shaped = onnx.ModelProto()
    shaped.CopyFrom(model)
    for value in shaped.graph.input:
        if value.name in known:
            _settle(value, shapes.get(value.name), settled)
    return shaped


def _check(name: str, shape: Sequence[int | None], declared: Shape | None) -> None:
    given = f"--shape {name}={write_shape(shape)}"
    if any(size is not None and size < 1 for size in shape):
        raise OptionError(f"{given}: sizes are 1 or more, or ? for an axis that stays free")
    if declared is None:
        return
    if len(shape) != len(declared):
        raise OptionError(
            f"{given} has {len(shape)} axes; the model's input has {len(declared)}:"
            f" {write_shape(declared)}"
        )
    for at, (size, axis) in enumerate(zip(shape, declared, strict=True)):
        if size is not None and isinstance(axis, int) and axis > 0 and size != axis:
            raise OptionError(f"{given}: the model fixes axis {at} at {axis}, not {size}")


def write_shape(shape: Sequence[int | str | None]) -> str:
    """As the command line takes it.

    >>> write_shape((1, 3, None))
    '1x3x?'
    """
    return "x".join("?" if axis is None else str(axis) for axis in shape)


def _settle(
    value: onnx.ValueInfoProto, shape: Sequence[int | None] | None, settled: Mapping[str, int]
) -> None:
    declared = value.type.tensor_type.shape
    if shape is not None:
        while len(declared.dim) < len(shape):
            declared.dim.add()
        for axis, size in zip(declared.dim, shape, strict=True):
            if size is not None:
                axis.dim_value = size
    for axis in declared.dim:
        if axis.dim_param in settled:
            axis.dim_value = settled[axis.dim_param]


def common_inputs(first: onnx.ModelProto, second: onnx.ModelProto) -> tuple[TensorInfo, ...]:
    """The inputs of ``first``, an axis that only ``second`` fixes having its size: what both
    models take."""
    others = {value.name: read_type(value).shape for value in second.graph.input}
    found = []
    for info in feedable(first):
        other = others.get(info.name)
        if info.shape is not None and other is not None and len(other) == len(info.shape):
            both = zip(info.shape, other, strict=True)
            fixed = tuple(
                b if isinstance(b, int) and not isinstance(a, int) else a for a, b in both
            )
            info = replace(info, shape=fixed)
        found.append(info)
    return tuple(found)
