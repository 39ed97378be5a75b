"""The operands of a node: data, weight, bias, and constants with a meaning.

Facts of ONNX, independent of the target.
"""

from collections.abc import Callable, Mapping

import numpy as np

from oq.model.ops import FACTORS, OFFSETS, RECURRENT, bias_slot, facts
from oq.model.view import GraphView, NodeView
from oq.numerics.values import Array


def pads_zeros(view: GraphView, node: NodeView) -> bool:
    """Whether ``node`` is a Pad that adds zeros."""
    if node.op != "Pad" or node.attributes.get("mode", "constant") != "constant":
        return False
    value = node.input(2)
    return not value or (view.is_constant(value) and not view.constants[value].any())


def factor_of(view: GraphView, node: NodeView) -> tuple[str, float] | None:
    """(x, c) if ``node`` computes ``x * c`` for one constant c > 0, else None.

    A negative c would invert the integer range, which kernels with zero point 0 do not support;
    several values would need one scale each.
    """
    constant = [t for t in node.inputs if view.is_constant(t)]
    varying = [t for t in node.inputs if not view.is_constant(t)]
    if node.op != "Mul" or len(constant) != 1 or view.constants[constant[0]].size != 1:
        return None
    factor = float(view.constants[constant[0]].reshape(()))
    return (varying[0], factor) if 0 < factor < np.inf else None


def affine_operands(view: GraphView, node: NodeView) -> tuple[str, str] | None:
    """(x, c) if ``node`` computes ``x * c``, ``x / c``, ``x + c`` or ``x - c`` for a constant c and
    an x that is none."""
    if node.op not in FACTORS and node.op not in OFFSETS:
        return None
    constant = [view.is_constant(t) for t in node.inputs]
    if sum(constant) != 1 or (constant[0] and node.op in {"Div", "Sub"}):
        return None
    one, two = node.inputs
    return (two, one) if constant[0] else (one, two)


def channel_row(view: GraphView, constant: str, beside: str, channels: object) -> Array | None:
    """The values of ``constant``, (channels,) or (), if there is one for each of the ``channels``
    of ``beside`` (axis 1) or a single one, and they add no axes to it."""
    rank = view.rank(beside)
    if not rank or not view.is_constant(constant):
        return None
    values = view.constants[constant]
    shape = (1,) * (rank - values.ndim) + values.shape
    if values.ndim > rank or shape not in {(1,) * rank, (1, channels, *(1,) * (rank - 2))}:
        return None
    return values.reshape(-1) if values.size > 1 else values.reshape(())


def pads_by_size(attributes: Mapping[str, object]) -> bool:
    """Whether the padding of a window depends on the size of its input (``auto_pad``: SAME_UPPER,
    SAME_LOWER)."""
    return str(attributes.get("auto_pad", "")).startswith("SAME")


def is_padded(attributes: Mapping[str, object]) -> bool:
    """Whether a window may extend beyond its input; with ``auto_pad`` VALID, ``pads`` are
    ignored."""
    if attributes.get("auto_pad") == "VALID":
        return False
    pads = attributes.get("pads")
    return pads_by_size(attributes) or (isinstance(pads, list | tuple) and any(pads))


def clip_bounds(view: GraphView, node: NodeView) -> tuple[float | None, float | None]:
    """The constant bounds of a Clip node, from attributes or inputs; None for a missing one."""
    found: list[float | None] = []
    for slot, name in ((1, "min"), (2, "max")):
        tensor = _at(node, slot)
        value = view.constants[tensor] if tensor is not None and view.is_constant(tensor) else None
        value = node.attributes.get(name) if value is None else value.reshape(-1)[0]
        found.append(None if value is None else float(value))
    return found[0], found[1]


def constant_limits(view: GraphView, node: NodeView) -> tuple[float, float] | None:
    """The bounds of a Clip node, infinite if missing; None if one is computed."""
    if any(name and not view.is_constant(name) for name in node.inputs[1:3]):
        return None
    low, high = clip_bounds(view, node)
    return -np.inf if low is None else low, np.inf if high is None else high


CLIP_LIMITS: Mapping[str, Callable[[GraphView, NodeView], tuple[float, float] | None]] = {
    "Clip": constant_limits,
    "Relu": lambda _view, _node: (0.0, np.inf),
}
"""Activations that clip -> the bounds of a node; None where these are computed."""


def data_inputs(node: NodeView) -> tuple[str, ...]:
    """The tensors at the data slots of ``node``."""
    row = facts(node.op)
    if row is None:
        return ()
    slots = row.data or range(len(node.inputs))
    return tuple(tensor for s in slots if (tensor := node.input(s)))


def weight_input(node: NodeView) -> str | None:
    """The tensor at the weight slot of ``node``."""
    row = facts(node.op)
    return None if row is None else _at(node, row.weight)


def recurrent_input(node: NodeView) -> str | None:
    """The tensor of ``node`` that its own state is multiplied by."""
    return _at(node, RECURRENT.get(node.op))


def bias_input(node: NodeView) -> str | None:
    """The tensor at the bias slot of ``node``."""
    return _at(node, bias_slot(node.op))


def gemm_sum(
    view: GraphView, node: NodeView, *, perhaps: bool = False
) -> tuple[NodeView, str] | None:
    """The Add that is the only reader of the MatMul ``node``, and its other operand, if onnxruntime
    fuses the two into a Gemm before it looks for quantized nodes (MatMulAddFusion, probed with
    1.32): of a matrix x (rows, in) it takes (out,), (1, out), (rows, 1) and (rows, out), of data
    with other axes, all of fixed size, (out,).  ``perhaps``: also where a shape is unknown."""
    readers = view.consumers(node.outputs[0])
    if node.op != "MatMul" or view.edges(node.outputs[0]) != 1 or len(readers) != 1:
        return None
    if readers[0].op != "Add":
        return None
    operand = next((t for t in readers[0].inputs if t != node.outputs[0]), "")
    data, weight, added = (view.shape(t) for t in (*node.inputs[:2], operand))
    if data is None or weight is None or added is None:
        return (readers[0], operand) if perhaps else None
    if len(weight) != 2:
        return None
    fits = added == (weight[1],)
    if len(data) == 2:
        fits |= added in {(1, weight[1]), (data[0], 1), (data[0], weight[1])}
    else:
        fits &= all(isinstance(size, int) for size in data)
    return (readers[0], operand) if fits else None


def added_row(view: GraphView, node: NodeView) -> tuple[NodeView, str] | None:
    """Those of :func:`gemm_sum`, if the operand is a constant bias (out,) and the data no
    matrix."""
    found = gemm_sum(view, node)
    if found is None or view.rank(node.inputs[0]) == 2 or not view.is_constant(found[1]):
        return None
    return found


def _at(node: NodeView, slot: int | None) -> str | None:
    return None if slot is None else node.input(slot) or None
