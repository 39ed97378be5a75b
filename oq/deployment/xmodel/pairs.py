"""Q/DQ pairs: a pair is one ``fix``, a DequantizeLinear of constants is ``const`` and ``fix``."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from oq.deployment.xmodel.placed import Parameter
from oq.deployment.xmodel.translation import Translation, refusal
from oq.dpu.scales import position_of
from oq.model.view import NodeView
from oq.numerics.values import Array

ZERO_POINTS: Mapping[str, int] = {"int8": 0, "uint8": 128, "int32": 0}
LOW, HIGH = -128, 127
"""The codes of the DPU; uint8 around 128 has the same, plus 128."""


def grid(t: Translation, node: NodeView, codes: str = "uint8") -> tuple[int, int]:
    """The position and the zero point of ``node``; ``codes`` is its type without a zero point."""
    scale = t.constant(node, 1, "scale")
    position = None if scale is None else position_of(scale)
    if position is None:
        raise refusal(node, "its scale is no single power of two")
    zero = t.constant(node, 2, "zero point")
    dtype = codes if zero is None else zero.dtype.name
    point = 0 if zero is None else int(zero.reshape(-1)[0])
    if ZERO_POINTS.get(dtype) != point:
        raise refusal(node, f"its codes are {dtype} around {point}, not int8 around 0")
    return position, point


def quantize(t: Translation, node: NodeView) -> None:
    """QuantizeLinear: ``fix``, left out where the values lie on that grid already."""
    source, made = node.inputs[0], node.outputs[0]
    position, _ = grid(t, node)
    constant = t.parameter(source)
    if constant is not None:
        steps = np.floor(np.ldexp(constant.values.astype(np.float64), position) + 0.5)
        values = np.ldexp(np.clip(steps, LOW, HIGH), -position)
        t.parameters[made] = replace(constant, values=values, position=position)
        return
    x = t.data(node, source)
    if x.position != position:
        known = t.fixed.get((x.op, position))
        op = known or t.builder.fix(f"{x.op}_fix", x.op, x.dims, position)
        t.fixed[x.op, position] = op
        x = replace(x, op=op, exact=True, position=position, gain=1.0)
    t.put(made, x)


def dequantize(t: Translation, node: NodeView) -> None:
    """DequantizeLinear: nothing behind a QuantizeLinear."""
    source, made = node.inputs[0], node.outputs[0]
    if source in t.parameters:
        t.parameters[made] = t.parameters[source]
    elif t.view.is_constant(source):
        t.parameters[made] = _stored(t, node, np.asarray(t.view.constants[source]))
    elif source in t.placed:
        x = t.placed[source]
        if x.position != grid(t, node)[0]:
            raise refusal(node, "its scale is another than its QuantizeLinear's")
        t.put(made, x)
    else:
        raise refusal(node, f"its codes {source!r} are an input of the model")


def _stored(t: Translation, node: NodeView, codes: Array) -> Parameter:
    position, zero = grid(t, node, codes.dtype.name)
    plain = codes.astype(np.int64) - zero
    if plain.size and (plain.min() < LOW or plain.max() > HIGH):
        raise refusal(
            node,
            f"{node.inputs[0]!r} has codes from {plain.min()} to {plain.max()}, and the DPU has 8 "
            "bits (oq quantize -t dpu writes biases of 8 bits)",
        )
    index = np.arange(codes.size).reshape(codes.shape)
    return Parameter(node.inputs[0], np.ldexp(plain.astype(np.float64), -position), position, index)
