"""A Q/DQ graph walked node by node into a MIL function."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from oq.checks.float16 import LARGEST
from oq.deployment.coreml.image import ImageInput, Pixels
from oq.deployment.coreml.library import InputSpec, Library, function
from oq.deployment.coreml.net import Net, narrowed
from oq.deployment.coreml.rows import ROWS
from oq.deployment.coreml.stored import Codes, Palette
from oq.errors import ModelError
from oq.model.ops import STANDARD
from oq.model.qdq import PAIR, Q, constant, stored
from oq.model.view import GraphView, NodeView
from oq.numerics.values import TensorInfo

CONTRIB = frozenset({"QuickGelu", "QuantizeLinear", "DequantizeLinear"})
"""Rows of operators that are onnxruntime's own."""

FREE = 32
"""The largest size of a free batch."""

LONGEST = 2048
"""The largest size of any other free axis."""


@dataclass(frozen=True, slots=True)
class Built:
    """A MIL function and how to find things in it: ``inputs`` as specified, and ONNX's ``names`` of
    them; ``outputs``, ``tensors`` (of activation quantizers) and ``weights`` (compressed constants)
    from ONNX's names to the program's; ``limits``: free axis -> largest size."""

    function: Any
    inputs: tuple[InputSpec, ...]
    names: tuple[str, ...]
    outputs: dict[str, str]
    tensors: dict[str, str]
    weights: dict[str, str]
    limits: dict[str, int]


def check_ops(view: GraphView) -> None:
    """Insist on a row for every operator.

    Raises:
        ModelError: there is none, with the nodes.
    """
    lost = [n for n in view.nodes if not _has_row(n)]
    if lost:
        ops = ", ".join(sorted({n.op for n in lost}))
        raise ModelError(
            f"--to coreml cannot express node {lost[0].name!r} ({lost[0].op}): programs of oq have"
            f" no such operator; of this model they lack: {ops}"
        )


def check_range(view: GraphView) -> None:
    """Insist on activations that float16 holds, largest code times scale.

    Raises:
        ModelError: one that it does not hold.
    """
    for node in view.nodes:
        if node.op == Q and not _of_constant(view, node):
            scale = constant(view, node, 1)
            most = 0.0 if scale is None else float(np.max(scale)) * SPAN
            if most > LARGEST:
                raise ModelError(
                    f"--to coreml: {node.inputs[0]!r} reaches {most:.3g}, beyond float16's"
                    f" {LARGEST:.0f}: --precision float32"
                )


SPAN = 127
"""Codes on each side of 0."""


def _has_row(node: NodeView) -> bool:
    if node.op in CONSTANT:
        return True
    return node.op in ROWS and (node.domain in STANDARD or node.op in CONTRIB)


CONSTANT = frozenset({"Constant"})
"""Ops whose value the view has."""


def build(
    library: Library,
    view: GraphView,
    *,
    ios: int,
    half: bool,
    image: ImageInput | None = None,
    compressed: Mapping[str, Codes | Palette] = MappingProxyType({}),
) -> Built:
    """The MIL function of ``view``, some of whose constants are ``compressed``.

    Raises:
        ModelError: a node that has no form in a program, or an input that programs do not take.
    """
    check_ops(view)
    if half:
        check_range(view)
    net = Net(library, view, ios, half, dict(compressed))
    for name in view.outputs:  # first, so that no tensor inside takes their names
        net.names[name] = net.name(name)
    specs = [_spec(net, info, image) for info in view.inputs]
    with function(library, specs, ios) as made:
        for info, spec in zip(view.inputs, specs, strict=True):
            _enter(net, info, spec, made.inputs[spec.name], image)
        for node in view.nodes:
            _walk(net, node)
        made.set_outputs([_leave(net, name) for name in view.outputs])
    return Built(
        made,
        tuple(specs),
        tuple(i.name for i in view.inputs),
        {name: net.names[name] for name in view.outputs},
        {name: net.names[name] for name in _quantized(view) if name in net.names},
        {tensor: net.names[tensor] for tensor, _ in net.stored},
        {axis: FREE if at == 0 else LONGEST for s in specs for at, axis in enumerate(s.shape)
         if isinstance(axis, str)},
    )  # fmt: skip


def _quantized(view: GraphView) -> list[str]:
    """The outputs of the Q and DQ nodes of activations."""
    return [n.outputs[0] for n in view.nodes if n.op in PAIR and not _of_constant(view, n)]


def _of_constant(view: GraphView, node: NodeView) -> bool:
    return view.is_constant(node.inputs[0]) or stored(view, node)


def _walk(net: Net, node: NodeView) -> None:
    if node.op in CONSTANT:
        _constant(net, node)
        return
    if all(t in net.values for t in node.outputs if t):  # a bias that a layer took in
        return
    try:
        ROWS[node.op](net, node)
    except (ValueError, NotImplementedError, TypeError, AssertionError) as error:
        said = " ".join(str(error).split())
        raise ModelError(
            f"--to coreml cannot express node {node.name!r} ({node.op}): coreml"
            f"tools says: {said[:300]}"
        ) from error


def _constant(net: Net, node: NodeView) -> None:
    output = node.outputs[0]
    if not net.view.is_constant(output):
        found = next(iter(node.attributes.values()))
        net.values[output] = net.fitting(narrowed(np.asarray(found)))


def _spec(net: Net, info: TensorInfo, image: ImageInput | None) -> InputSpec:
    if not info.shape:
        what = "a scalar" if info.shape == () else "of unknown rank"
        raise ModelError(f"--to coreml: input {info.name!r} is {what}; programs take 1 to 5 axes")
    if info.dtype not in INPUTS:
        raise ModelError(
            f"--to coreml: input {info.name!r} is {info.dtype}; programs take float32, float16 and"
            " integers"
        )
    shape: Sequence[int | str] = [
        a if isinstance(a, int | str) and a != 0 else f"{info.name}.{at}"
        for at, a in enumerate(info.shape)
    ]
    if image is not None:
        shape, layout = image.shape(info, tuple(shape)), image.layout
        return InputSpec(net.name(info.name), "float32", shape, layout)
    return InputSpec(net.name(info.name), INPUTS[info.dtype], tuple(shape))


INPUTS = {"float32": "float32", "float16": "float16", "float64": "float32", "int32": "int32",
    "int64": "int32", "bool": "int32", "uint8": "int32", "int8": "int32", "int16": "int32",
    "uint16": "int32", "uint32": "int32", "uint64": "int32"}  # fmt: skip
"""Types of ONNX's inputs -> those of a program's."""

BACK = {"bool": "bool", "uint8": "uint8", "int8": "int8"}
"""Types of inputs that are made again of integers, inside."""


def _enter(net: Net, info: TensorInfo, spec: InputSpec, x: Any, image: Any) -> None:
    net.names[info.name] = spec.name
    if image is not None:
        x = Pixels(net, info.name).to_values(x, image)
    elif info.dtype in BACK:
        x = net.step(info.name, "cast", x=x, dtype=BACK[info.dtype])
    net.values[info.name] = x


def _leave(net: Net, name: str) -> Any:
    """The output ``name`` as a variable of that name, in a type that a program gives."""
    value = net.var(name)
    wished = net.names[name]
    if isinstance(value, np.ndarray):
        value = net.mb.const(val=value, name=net.name(f"{name}_constant"))
    kind = str(value.dtype.__name__)
    if not kind.startswith("fp") and kind != "int32":
        value = net.mb.cast(x=value, dtype="int32", name=net.name(f"{name}_int32"))
    if value.name != wished:
        value = net.mb.identity(x=value, name=wished)
    return value
