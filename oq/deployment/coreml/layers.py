"""Conv, ConvTranspose, Gemm, MatMul: operators with weights that stay codes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from oq.deployment.coreml.net import Net, is_size, refusal
from oq.model.view import NodeView
from oq.numerics.values import Array

PAD_TYPES = {"SAME_UPPER": "same", "SAME_LOWER": "same_lower", "VALID": "valid"}
"""ONNX's auto_pad -> MIL's pad_type."""


def window(node: NodeView, axes: int) -> dict[str, Any]:
    """Strides, padding and the like of a node over ``axes`` spatial axes, in MIL's words."""
    given = node.attributes
    found: dict[str, Any] = {"strides": ints(given.get("strides"), [1] * axes)}
    auto = given.get("auto_pad", "NOTSET")
    if auto in PAD_TYPES:
        return found | {"pad_type": PAD_TYPES[auto]}
    pads = ints(given.get("pads"), [0] * 2 * axes)
    return found | {"pad_type": "custom", "pad": interleave(pads)}


def ints(given: Any, otherwise: Sequence[int]) -> list[int]:
    """An attribute as a list of plain integers."""
    return [int(v) for v in (otherwise if given is None else given)]


def interleave(pads: Sequence[int]) -> list[int]:
    """ONNX's (begins, ends) as MIL's (begin, end) of every axis.

    >>> interleave([1, 2, 3, 4])
    [1, 3, 2, 4]
    """
    half = len(pads) // 2
    return [side for pair in zip(pads[:half], pads[half:], strict=True) for side in pair]


def conv(net: Net, node: NodeView) -> None:
    """Conv, of 1 to 3 spatial axes."""
    shape = net.shape(node.inputs[1])
    axes = len(shape) - 2
    net.put(
        node.outputs[0],
        "conv",
        x=net.var(node.inputs[0]),
        weight=net.weight(node.inputs[1]),
        dilations=ints(node.attributes.get("dilations"), [1] * axes),
        groups=int(node.attributes.get("group", 1)),
        **window(node, axes),
        **_bias(net, node),
    )


def conv_transpose(net: Net, node: NodeView) -> None:
    """ConvTranspose; an output padding is taken from the padding at the end, which it undoes."""
    given = node.attributes
    shape = net.shape(node.inputs[1])
    axes = len(shape) - 2
    strides = ints(given.get("strides"), [1] * axes)
    dilations = ints(given.get("dilations"), [1] * axes)
    reach = [(k - 1) * d + 1 for k, d in zip(shape[2:], dilations, strict=True)]
    more = ints(given.get("output_padding"), [0] * axes)
    pads = ints(given.get("pads"), [0] * 2 * axes)
    sizes = net.shape(node.inputs[0])[2:]
    auto = given.get("auto_pad", "NOTSET")
    if given.get("output_shape") is not None or auto in {"SAME_UPPER", "SAME_LOWER"}:
        if not all(is_size(s) for s in sizes):
            raise refusal(node, "an output shape, with an input of free height or width")
        wanted = ints(
            given.get("output_shape"), [s * t for s, t in zip(sizes, strides, strict=True)]
        )[-axes:]
        total = [
            (s - 1) * t + r + m - w
            for s, t, r, m, w in zip(sizes, strides, reach, more, wanted, strict=True)
        ]
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        pads = [*small, *large] if auto == "SAME_UPPER" else [*large, *small]
    ends = [p - m for p, m in zip(pads[axes:], more, strict=True)]
    if min(*pads[:axes], *ends) < 0:
        raise refusal(node, "an output padding beyond the padding at the end")
    net.put(
        node.outputs[0],
        "conv_transpose",
        x=net.var(node.inputs[0]),
        weight=net.weight(node.inputs[1]),
        strides=strides,
        dilations=dilations,
        groups=int(given.get("group", 1)),
        pad_type="custom",
        pad=interleave([*pads[:axes], *ends]),
        **_bias(net, node),
    )


def _bias(net: Net, node: NodeView) -> dict[str, Any]:
    if not node.input(2):
        return {}
    if net.codes(node.input(2)) is not None:
        raise refusal(
            node,
            "its bias has codes of 8 bits, which are for weights in a program; "
            "oq quantize FLOAT.onnx -t coreml makes a file that it takes",
        )
    return {"bias": net.required(node, 2, "its bias")}


def gemm(net: Net, node: NodeView) -> None:
    """Gemm: alpha A' B' + beta C; ``linear`` where B is a constant and C one number per output."""
    given, output = node.attributes, node.outputs[0]
    alpha, beta = float(given.get("alpha", 1.0)), float(given.get("beta", 1.0))
    first, second = node.inputs[:2]
    x = net.var(first)
    if given.get("transA"):
        x = net.step(output, "transpose", x=x, perm=[1, 0])
    bias = net.known(node.input(2))
    if is_stored(net, second) and (not node.input(2) or _per_output(bias)):
        weight = net.weight(second, () if given.get("transB") else (1, 0))
        features = net.shape(second)[0 if given.get("transB") else 1]
        if alpha != 1.0:
            x = net.step(output, "mul", x=x, y=np.float32(alpha))
        added = {}
        if bias is not None:
            whole = np.broadcast_to(bias.reshape(-1), (features,)) * np.float32(beta)
            added = {"bias": whole.astype(bias.dtype)}
        net.put(output, "linear", x=x, weight=weight, **added)
        return
    arguments = {"x": x, "y": net.var(second), "transpose_y": bool(given.get("transB"))}
    if alpha == 1.0 and not node.input(2):
        net.put(output, "matmul", **arguments)
        return
    y = net.step(output, "matmul", **arguments)
    if alpha != 1.0:
        y = net.step(output, "mul", x=y, y=np.float32(alpha))
    if not node.input(2):
        net.put(output, "identity", x=y)
        return
    c = net.var(node.inputs[2])
    if beta != 1.0:
        c = net.step(f"{output}_c", "mul", x=c, y=np.float32(beta))
    net.put(output, "add", x=y, y=c)


def _per_output(bias: Array | None) -> bool:
    """Whether ``bias`` has one number for each output, the same for every row."""
    return bias is not None and (bias.ndim < 2 or all(d == 1 for d in bias.shape[:-1]))


def is_stored(net: Net, tensor: str) -> bool:
    """Whether ``tensor`` is a constant, of codes or of numbers."""
    return net.codes(tensor) is not None or net.known(tensor) is not None


def matmul(net: Net, node: NodeView) -> None:
    """MatMul; ``linear`` where the second operand is a constant matrix, with the bias that a lone
    Add behind it adds."""
    first, second = node.inputs[:2]
    output = node.outputs[0]
    if is_stored(net, second) and len(net.shape(second)) == 2 and len(net.shape(first)) > 1:
        weight = net.weight(second, (1, 0))
        added = bias_behind(net, node)
        bias = {} if added is None else {"bias": added[1]}
        place = output if added is None else added[0]
        net.put(place, "linear", x=net.var(first), weight=weight, **bias)
        return
    x, y = net.var(first), net.var(second)
    vectors = [len(net.shape(t)) == 1 for t in (first, second)]
    if not any(vectors):
        net.put(output, "matmul", x=x, y=y)
        return
    x = net.step(f"{output}_x", "expand_dims", x=x, axes=[0]) if vectors[0] else x
    y = net.step(f"{output}_y", "expand_dims", x=y, axes=[1]) if vectors[1] else y
    found = net.step(output, "matmul", x=x, y=y)
    gone = [axis for axis, vector in zip((-2, -1), vectors, strict=True) if vector]
    net.put(output, "squeeze", x=found, axes=gone)


def bias_behind(net: Net, node: NodeView) -> tuple[str, Array] | None:
    """The output of the Add that alone reads a MatMul, and the numbers per output that it adds."""
    output = node.outputs[0]
    readers = net.view.consumers(output)
    if len(readers) != 1 or net.view.edges(output) != 1 or readers[0].op not in ADDS:
        return None
    other = next((t for t in readers[0].inputs if t != output), "")
    bias = net.known(other) if other and net.view.is_constant(other) else None
    features = net.shape(node.inputs[1])[-1]
    if bias is None or bias.size != features or bias.shape[-1:] != (features,):
        return None
    if bias.ndim > len(net.shape(node.inputs[0])):
        return None
    return readers[0].outputs[0], bias.reshape(-1)


ADDS = frozenset({"Add"})
"""Ops that a ``linear`` takes in as its bias."""
