"""QuantizeLinear, DequantizeLinear: pairs of activations, and constants stored as codes."""

import numpy as np

from oq.checks.float16 import MOVES
from oq.deployment.coreml.library import MOST_AXES
from oq.deployment.coreml.net import Net, refusal
from oq.deployment.coreml.stored import Codes
from oq.model.qdq import block_size, codes_dtype, constant, dequantized_by, same_grid
from oq.model.view import NodeView
from oq.numerics.values import Array

STORED = ("int8", "uint8", "int4", "uint4")
ACTIVATION = ("int8", "uint8")


def quantize(net: Net, node: NodeView) -> None:
    """QuantizeLinear: codes = clip(round_half_even(x / scale) + zero point)."""
    output = node.outputs[0]
    scale, zero = _grid(net, node)
    dtype = codes_dtype(net.view, node)
    x = net.known(node.inputs[0])
    if x is not None and np.asarray(x).dtype.kind == "f":
        net.values[output] = _codes(x, scale, zero, node, dtype)
        return
    _check(node, dtype, scale)
    if len(net.shape(node.inputs[0])) > MOST_AXES and _changes_nothing(net, node):
        net.values[output] = net.var(node.inputs[0])
        return
    shifted = {} if zero is None else {"zero_point": zero[()]}
    net.put(
        output,
        "quantize",
        input=net.var(node.inputs[0]),
        scale=scale[()],
        output_dtype=dtype,
        **shifted,
    )


def dequantize(net: Net, node: NodeView) -> None:
    """DequantizeLinear: (codes - zero point) * scale."""
    source, output = node.inputs[0], node.outputs[0]
    scale, zero = _grid(net, node)
    codes = net.view.constants[source] if net.view.is_constant(source) else None
    if codes is None and isinstance(net.values.get(source), np.ndarray):
        codes = net.values[source]
    if codes is None and source in net.values and net.is_float(source):
        net.values[output] = net.var(source)  # a pair that was left out
    elif codes is None:
        _check(node, codes_dtype(net.view, node), scale)
        shifted = {} if zero is None else {"zero_point": zero[()]}
        net.put(output, "dequantize", input=net.var(source), scale=scale[()], **shifted)
    elif codes.dtype.name in STORED:
        axis, block = _axis(node, codes), block_size(node)
        per_tensor = scale.size == 1 and block is None
        net.values[output] = Codes(
            output,
            codes,
            scale.reshape(()) if per_tensor else scale,
            zero,
            None if per_tensor else axis,
            block,
        )
    else:  # an int32 bias: programs have no such dequantize
        origin = 0.0 if zero is None else zero.astype(np.float64)
        real = scale.astype(np.float64)
        if scale.size > 1:
            real = real.reshape([-1 if a == _axis(node, codes) else 1 for a in range(codes.ndim)])
        net.values[output] = ((codes.astype(np.float64) - origin) * real).astype(np.float32)


def _changes_nothing(net: Net, node: NodeView) -> bool:
    """Whether what ``node`` rounds lies on its grid already: moved from behind a pair of one grid.

    Programs have tensors of at most 5 axes; a reshape through more is possible only where nothing
    stands between it, the transpose and the reshape back, which become one.
    """
    mover = net.view.producer(node.inputs[0])
    if mover is None or mover.op not in MOVES:
        return False
    above = dequantized_by(net.view, mover.inputs[0])
    return above is not None and same_grid(net.view, above, node)


def _grid(net: Net, node: NodeView) -> tuple[Array, Array | None]:
    """Scale, and zero point unless all of it is 0."""
    scale, zero = constant(net.view, node, 1), constant(net.view, node, 2)
    if scale is None:
        raise refusal(node, "its scale must be a constant")
    scale = np.asarray(scale).astype(np.float32)
    scale = scale.reshape(()) if scale.size == 1 and block_size(node) is None else scale
    if zero is None or not np.any(zero):
        return scale, None
    return scale, np.asarray(zero).reshape(scale.shape)


def _axis(node: NodeView, codes: Array) -> int:
    return int(node.attributes.get("axis", 1)) % max(codes.ndim, 1)


def _check(node: NodeView, dtype: str, scale: Array) -> None:
    if dtype not in ACTIVATION:
        raise refusal(node, f"activations are int8 or uint8, not {dtype}")
    if scale.size != 1:
        raise refusal(node, "an activation has one scale")


def _codes(x: Array, scale: Array, zero: Array | None, node: NodeView, dtype: str) -> Array:
    """The codes of a float constant, by ONNX's rule, in float32."""
    if dtype not in ACTIVATION:
        raise refusal(node, f"float constants become int8 or uint8, not {dtype}")
    spread = [1] * x.ndim
    if scale.size > 1:
        spread[_axis(node, x)] = -1
    origin = 0 if zero is None else zero.reshape(spread if zero.size > 1 else []).astype(np.int32)
    limits = np.iinfo(dtype)
    steps = np.rint(x.astype(np.float32) / scale.reshape(spread if scale.size > 1 else []))
    return np.clip(steps + origin, limits.min, limits.max).astype(dtype)
