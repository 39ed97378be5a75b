"""Operators of element by element: arithmetic, activations, comparisons, casts."""

from collections.abc import Callable
from typing import Any

import numpy as np

from oq.deployment.coreml.net import NARROW, Net, refusal
from oq.model.view import NodeView
from oq.numerics.values import Array

Row = Callable[[Net, NodeView], None]

CASTS = {"float32": "fp32", "float16": "fp16", "int32": "int32", "bool": "bool",
    "int8": "int8", "uint8": "uint8"}  # fmt: skip
"""NumPy's names of types -> MIL's."""


def unary(op: str, **fixed: Any) -> Row:
    """The row of an operator of one tensor that MIL has as ``op``."""

    def row(net: Net, node: NodeView) -> None:
        net.put(node.outputs[0], op, x=net.var(node.inputs[0]), **fixed)

    return row


def alpha(op: str, name: str, otherwise: float) -> Row:
    """The row of an activation with one number, ONNX's attribute ``name``."""

    def row(net: Net, node: NodeView) -> None:
        slope = np.float32(node.attributes.get(name, otherwise))
        net.put(node.outputs[0], op, x=net.var(node.inputs[0]), alpha=slope)

    return row


def pair(op: str, integer: str = "") -> Row:
    """The row of an operator of two tensors; ``integer``: MIL's operator for integers."""

    def row(net: Net, node: NodeView) -> None:
        x, y = (net.var(t) for t in node.inputs[:2])
        whole = integer and not net.is_float(node.inputs[0])
        net.put(node.outputs[0], integer if whole else op, x=x, y=y)

    return row


def fold(op: str, *, mean: bool = False) -> Row:
    """The row of Sum, Max, Min, Mean: ``op`` from operand to operand."""

    def row(net: Net, node: NodeView) -> None:
        output, total = node.outputs[0], net.var(node.inputs[0])
        for tensor in node.inputs[1:-1]:
            total = net.step(output, op, x=total, y=net.var(tensor))
        if len(node.inputs) == 1:
            net.put(output, "identity", x=total)
            return
        last = net.var(node.inputs[-1])
        if not mean:
            net.put(output, op, x=total, y=last)
            return
        total = net.step(output, op, x=total, y=last)
        net.put(output, "mul", x=total, y=np.float32(1 / len(node.inputs)))

    return row


def hard_sigmoid(net: Net, node: NodeView) -> None:
    """HardSigmoid: min(1, max(0, alpha x + beta))."""
    net.put(
        node.outputs[0],
        "sigmoid_hard",
        x=net.var(node.inputs[0]),
        alpha=np.float32(node.attributes.get("alpha", 0.2)),
        beta=np.float32(node.attributes.get("beta", 0.5)),
    )


def hard_swish(net: Net, node: NodeView) -> None:
    """HardSwish: x min(1, max(0, x / 6 + 1 / 2))."""
    x, output = net.var(node.inputs[0]), node.outputs[0]
    gate = net.step(output, "sigmoid_hard", x=x, alpha=np.float32(1 / 6), beta=np.float32(0.5))
    net.put(output, "mul", x=x, y=gate)


def gelu(net: Net, node: NodeView) -> None:
    """Gelu, exact or by tanh."""
    by_tanh = node.attributes.get("approximate", "none") == "tanh"
    mode = "TANH_APPROXIMATION" if by_tanh else "EXACT"
    net.put(node.outputs[0], "gelu", x=net.var(node.inputs[0]), mode=mode)


def swish(net: Net, node: NodeView) -> None:
    """Swish, QuickGelu: x sigmoid(alpha x)."""
    x, output = net.var(node.inputs[0]), node.outputs[0]
    slope = float(node.attributes.get("alpha", 1.0))
    inner = x if slope == 1.0 else net.step(output, "mul", x=x, y=np.float32(slope))
    net.put(output, "mul", x=x, y=net.step(output, "sigmoid", x=inner))


def mish(net: Net, node: NodeView) -> None:
    """Mish: x tanh(log(1 + exp(x)))."""
    x, output = net.var(node.inputs[0]), node.outputs[0]
    gate = net.step(output, "tanh", x=net.step(output, "softplus", x=x))
    net.put(output, "mul", x=x, y=gate)


def modulo(net: Net, node: NodeView) -> None:
    """Mod with the sign of the divisor, as MIL's."""
    if node.attributes.get("fmod", 0):
        raise refusal(node, "fmod: the remainder with the sign of the dividend")
    x, y = (net.var(t) for t in node.inputs)
    net.put(node.outputs[0], "mod", x=x, y=y)


def selu(net: Net, node: NodeView) -> None:
    """Selu: gamma (x if x > 0, else alpha (exp(x) - 1))."""
    slope = np.float32(node.attributes.get("alpha", 1.67326319217681884765625))
    gamma = np.float32(node.attributes.get("gamma", 1.05070102214813232421875))
    inner = net.step(node.outputs[0], "elu", x=net.var(node.inputs[0]), alpha=slope)
    net.put(node.outputs[0], "mul", x=inner, y=gamma)


def celu(net: Net, node: NodeView) -> None:
    """Celu: x if x > 0, else alpha (exp(x / alpha) - 1)."""
    x, output = net.var(node.inputs[0]), node.outputs[0]
    slope = float(node.attributes.get("alpha", 1.0))
    inner = net.step(output, "mul", x=x, y=np.float32(1 / slope))
    curved = net.step(output, "elu", x=inner, alpha=np.float32(1))
    net.put(output, "mul", x=curved, y=np.float32(slope))


def prelu(net: Net, node: NodeView) -> None:
    """PRelu; with one slope per channel as MIL's, else from its parts."""
    x, output = net.var(node.inputs[0]), node.outputs[0]
    slope = net.required(node, 1, "its slope")
    shape = net.shape(node.inputs[0])
    per_channel = slope.size == 1 or (
        slope.ndim == len(shape) - 1 and slope.shape[0] == shape[1] == slope.size
    )
    if 3 <= len(shape) <= 5 and per_channel and isinstance(shape[1], int):
        net.put(output, "prelu", x=x, alpha=np.broadcast_to(slope.reshape(-1), (shape[1],)).copy())
        return
    below = net.step(output, "minimum", x=x, y=np.float32(0))
    below = net.step(output, "mul", x=below, y=slope)
    net.put(output, "add", x=net.step(output, "relu", x=x), y=below)


def clip(net: Net, node: NodeView) -> None:
    """Clip; relu and relu6 where it is one."""
    x, output = net.var(node.inputs[0]), node.outputs[0]
    low, high = (_bound(net, node, slot) for slot in (1, 2))
    if net.is_float(node.inputs[0]) and low == 0.0 and high in {None, 6.0}:
        net.put(output, "relu" if high is None else "relu6", x=x)
    elif net.is_float(node.inputs[0]) and low is not None and high is not None:
        net.put(output, "clip", x=x, alpha=low, beta=high)
    elif low is not None and high is not None:
        net.put(output, "minimum", x=net.step(output, "maximum", x=x, y=low), y=high)
    elif low is not None:
        net.put(output, "maximum", x=x, y=low)
    elif high is not None:
        net.put(output, "minimum", x=x, y=high)
    else:
        net.put(output, "identity", x=x)


def _bound(net: Net, node: NodeView, slot: int) -> Any:
    if not node.input(slot):
        return None
    return net.required(node, slot, "its limits").reshape(())[()]


def power(net: Net, node: NodeView) -> None:
    """Pow; a square where the exponent is 2."""
    x, exponent = net.var(node.inputs[0]), net.known(node.inputs[1])
    if exponent is not None and exponent.size == 1 and exponent.ndim <= len(x.shape):
        if float(exponent.item()) == 2.0:
            net.put(node.outputs[0], "square", x=x)
            return
        net.put(node.outputs[0], "pow", x=x, y=np.float32(exponent.item()))
        return
    net.put(node.outputs[0], "pow", x=x, y=net.var(node.inputs[1]))


def negative(net: Net, node: NodeView) -> None:
    """Neg: x times -1."""
    minus = np.float32(-1) if net.is_float(node.inputs[0]) else np.int32(-1)
    net.put(node.outputs[0], "mul", x=net.var(node.inputs[0]), y=minus)


def reciprocal(net: Net, node: NodeView) -> None:
    """Reciprocal: 1 / x, without the number that MIL's ``inverse`` adds to x."""
    net.put(node.outputs[0], "real_div", x=np.float32(1), y=net.var(node.inputs[0]))


def where(net: Net, node: NodeView) -> None:
    """Where: the second operand where the first is true, else the third."""
    condition, yes, no = (net.var(t) for t in node.inputs)
    net.put(node.outputs[0], "select", cond=condition, a=yes, b=no)


def cast(net: Net, node: NodeView) -> None:
    """Cast, to the type that programs have in place of ONNX's."""
    import onnx

    wanted = onnx.helper.tensor_dtype_to_np_dtype(int(node.attributes["to"]))
    found = cast_name(str(np.dtype(wanted).name))
    if found is None:
        raise refusal(node, f"programs have no type {np.dtype(wanted).name}")
    known: Array | None = net.known(node.inputs[0])
    if known is not None:
        name = NARROW.get(np.dtype(wanted).name, np.dtype(wanted).name)
        net.values[node.outputs[0]] = known.astype(name)
        return
    net.put(node.outputs[0], "cast", x=net.var(node.inputs[0]), dtype=found)


def cast_name(dtype: str) -> str | None:
    """MIL's name of the NumPy type ``dtype``, or of what stands for it; None where nothing does."""
    return CASTS.get(NARROW.get(dtype, dtype))
