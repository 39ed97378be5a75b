"""One function per operator: what the DPU computes before it rounds.

A kernel takes a :class:`Call` and returns a :class:`FixedPoint`, or the reason why the DPU does not
run the node, which is then computed in float.  With ``x_i`` integers at position ``p_i``:

    Conv, Gemm   sum(x * w) with one guard bit, the bias shifted to it and truncated
    Relu         max(x, 0) before rounding; Clip(0, 6) clips at the integer 96 (position <= 4)
    LeakyRelu    x * k / 256 below zero, k = round(256 * alpha)
    Add          sum_i floor(4 x_i / 2**(p_i - min p)): two guard bits
    Sub Max Min  the same with seven guard bits
    Mul          the exact product
    means        sum(x) * N / 2**M (:mod:`oq.dpu.mean_factors`)
    HardSigmoid  max(0, 2731 x + 3 * 2731 * 2**p) at position 14 + p
    HardSwish    x * h, with h the HardSigmoid of x rounded to position 7
"""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from oq.dpu.convolutions import convolve
from oq.dpu.fixed_point import Arithmetic, FixedPoint, floored, hold, rounded, scaled
from oq.dpu.mean_factors import LARGEST_SIDE, mean_factors, mean_gain
from oq.numerics.values import Array
from oq.numerics.windows import scatter, window_sums, windows_of

SLOPE_BITS = 8
SIXTH, SIXTH_BITS = 2731, 14
"""``2731 / 2**14``: the hardware's 1/6."""

SWISH_POSITION = 7
ADD_GUARD, COMPARE_GUARD = 2, 7

Value = FixedPoint | Array | None
"""A fixed-point tensor, a tensor of any other type, or an empty optional input."""


@dataclass(frozen=True, slots=True)
class Call:
    """A node to run: its attributes, its inputs by slot, and the rounding mode."""

    attributes: Mapping[str, Any]
    inputs: tuple[Value, ...]
    arithmetic: Arithmetic

    def exact(self, slot: int) -> FixedPoint:
        """Input ``slot``, which must be in fixed point."""
        value = self.inputs[slot]
        if not isinstance(value, FixedPoint):
            raise TypeError(f"input {slot} is not in fixed point")
        return value

    def given(self, slot: int) -> Value:
        """Input ``slot``, or None if the node has fewer."""
        return self.inputs[slot] if slot < len(self.inputs) else None


Kernel = Callable[[Call], FixedPoint | str]


# -- sums of products --------------------------------------------------------------------------


def conv(call: Call) -> FixedPoint | str:
    """Convolution over any number of spatial axes, grouped or depthwise."""
    x, w = call.exact(0), call.exact(1)
    windows = windows_of(call.attributes, w.numerator.shape[2:], x.numerator.shape[2:])
    group = int(call.attributes.get("group", 1))
    found = _products(x, w, lambda a, b: convolve(a, b, windows, group))
    return _with_bias(call, found, (-1, *(1,) * (w.numerator.ndim - 2)))


def conv_transpose(call: Call) -> FixedPoint | str:
    """Transposed convolution; weight axes (in, out / group, kernel...)."""
    if call.attributes.get("auto_pad", "NOTSET") != "NOTSET" or "output_shape" in call.attributes:
        return "its padding is implicit (auto_pad or output_shape)"
    x, w = call.exact(0), call.exact(1)
    rank = w.numerator.ndim - 2
    windows = windows_of(call.attributes, w.numerator.shape[2:], x.numerator.shape[2:])
    group = int(call.attributes.get("group", 1))
    extra = tuple(call.attributes.get("output_padding", (0,) * rank))
    wide = replace(w, numerator=np.moveaxis(w.numerator, 1, 0))  # bound per output channel
    found = _products(x, wide, lambda a, b: scatter(a, np.moveaxis(b, 1, 0), windows, group, extra))
    return _with_bias(call, found, (-1, *(1,) * rank))


def gemm(call: Call) -> FixedPoint | str:
    """``A @ B + C`` with alpha = beta = 1."""
    if call.attributes.get("alpha", 1.0) != 1.0 or call.attributes.get("beta", 1.0) != 1.0:
        return "its alpha or beta is not 1"
    x, w = call.exact(0), call.exact(1)
    if call.attributes.get("transA"):
        x = x.with_codes(x.numerator.T)
    if not call.attributes.get("transB"):
        w = w.with_codes(w.numerator.T)
    return _with_bias(call, _products(x, w, lambda a, b: a @ b.T), (-1,))


def matmul(call: Call) -> FixedPoint | str:
    """Product of two tensors, axes as NumPy's matmul."""
    x, y = call.exact(0), call.exact(1)
    reach = x.reach * y.reach * x.numerator.shape[-1]
    values = np.matmul(hold(x.numerator, reach), hold(y.numerator, reach))
    return FixedPoint(values, x.position + y.position, reach, summed=True)


def _products(x: FixedPoint, w: FixedPoint, work: Callable[[Array, Array], Array]) -> FixedPoint:
    """``work(x, w)``, in a type that holds ``max|x| * sum|w|`` of the largest output channel.

    Weights have their output channels first.
    """
    rows = np.abs(w.numerator.astype(np.float64)).reshape(len(w.numerator), -1)
    reach = x.reach * max(1.0, float(rows.sum(axis=1).max(initial=0.0)))
    values = work(hold(x.numerator, reach), hold(w.numerator, reach))
    return FixedPoint(values, x.position + w.position, reach, summed=True)


def _with_bias(call: Call, total: FixedPoint, shape: tuple[int, ...]) -> FixedPoint | str:
    bias = call.given(2)
    if bias is None:
        return total
    if not isinstance(bias, FixedPoint):
        return "its bias is float"
    flat = bias.numerator.reshape(shape) if bias.numerator.size > 1 else bias.numerator
    return _add_bias(total, bias.with_codes(flat), call.arithmetic)


def _add_bias(total: FixedPoint, bias: FixedPoint, arithmetic: Arithmetic) -> FixedPoint:
    """``2 acc + floor(2 b 2**shift_bias)`` at one bit below the accumulator's position."""
    if arithmetic.bias_floor:
        position = total.position + 1
        added, reach = floored(bias, position - bias.position)
    else:
        position = max(total.position, bias.position)
        added, reach = scaled(bias, position - bias.position)
    base, base_reach = scaled(total, position - total.position)
    whole = base_reach + reach
    values, added = hold(base, whole), hold(added, whole)
    fits = np.broadcast_shapes(values.shape, added.shape) == values.shape
    own = values if fits and values is not total.numerator else None  # else others may read it
    return FixedPoint(np.add(values, added, out=own), position, whole)


# -- activations -------------------------------------------------------------------------------


def relu(call: Call) -> FixedPoint:
    """``max(x, 0)``, before rounding."""
    x = call.exact(0)
    return replace(x, numerator=np.maximum(x.numerator, 0), summed=False)


def clip(call: Call) -> FixedPoint | str:
    """Clip: ReLU6 as in hardware, other bounds at their real values."""
    x = call.exact(0)
    bounds = [_bound(call, slot, name) for slot, name in ((1, "min"), (2, "max"))]
    if any(isinstance(b, str) for b in bounds):
        return "its bounds are not constants"
    low, high = (None if b is None else float(b) for b in bounds)
    if low == 0.0 and high == 6.0:
        return replace(x, numerator=np.maximum(x.numerator, 0), summed=False, capped=True)
    values = x.numerator
    if low is not None:
        values = np.maximum(values, low * 2.0**x.position)
    if high is not None:
        values = np.minimum(values, high * 2.0**x.position)
    return replace(x, numerator=values, summed=False)


def _bound(call: Call, slot: int, name: str) -> float | str | None:
    if name in call.attributes:
        return float(call.attributes[name])
    value = call.given(slot)
    if value is None:
        return None
    found = value.real() if isinstance(value, FixedPoint) else value
    return float(found.reshape(-1)[0]) if found.size == 1 else "no number"


def leaky_relu(call: Call) -> FixedPoint:
    """Negative values times k / 256."""
    k = call.arithmetic.leaky
    k = round(2**SLOPE_BITS * float(call.attributes.get("alpha", 0.01))) if k is None else k
    return _slope(call.exact(0), np.asarray(k), max(1, abs(k)), SLOPE_BITS)


def prelu(call: Call) -> FixedPoint:
    """Negative values times a quantized slope."""
    slope = call.exact(1)
    reach = max(slope.reach, 2.0 ** max(0, slope.position))
    return _slope(call.exact(0), slope.numerator, reach, slope.position)


def _slope(x: FixedPoint, k: Array, reach: float, bits: int) -> FixedPoint:
    values, wide = scaled(x, max(0, bits))
    whole = max(wide, x.reach * reach)
    below = hold(x.numerator, whole) * k * 2.0 ** max(0, -bits)
    above = hold(values, whole)
    values = np.where(x.numerator < 0, below, above)
    return FixedPoint(hold(values, whole), x.position + max(0, bits), whole)


def hard_sigmoid(call: Call) -> FixedPoint | str:
    """``max(0, 2731 x + 3 * 2731 * 2**p) / 2**(14 + p)``; int8 saturates below 1 at position 7."""
    if not is_hard_sigmoid(call.attributes):
        return "the hardware supports only alpha = 1/6, beta = 0.5"
    x = call.exact(0)
    if x.position < 0:
        return f"its input's position is {x.position}, below 0"
    offset = 3.0 * 2.0**x.position
    reach = SIXTH * (x.reach + offset)
    values = SIXTH * (hold(x.numerator, reach) + offset)
    gain = 6.0 * SIXTH / 2**SIXTH_BITS
    return FixedPoint(np.maximum(values, 0), x.position + SIXTH_BITS, reach, gain=gain)


def is_hard_sigmoid(attributes: Mapping[str, Any]) -> bool:
    """Whether a HardSigmoid has the slope and offset of the hardware."""
    alpha, beta = float(attributes.get("alpha", 0.2)), float(attributes.get("beta", 0.5))
    return abs(alpha - 1 / 6) < 1e-3 and abs(beta - 0.5) < 1e-6


def hard_swish(call: Call) -> FixedPoint | str:
    """``x * h``, h the HardSigmoid of x rounded to position 7."""
    x = call.exact(0)
    found = hard_sigmoid(replace(call, attributes={"alpha": 1 / 6}))
    if isinstance(found, str):
        return found
    gate = rounded(found, SWISH_POSITION, -128, 127, call.arithmetic)
    return _times(x, FixedPoint(gate, SWISH_POSITION, 128.0))


# -- two operands ------------------------------------------------------------------------------


def add(call: Call) -> FixedPoint:
    """Sum with two guard bits; an operand of a sum of products is added as its bias."""
    first, second = call.exact(0), call.exact(1)
    if first.summed != second.summed:
        total, bias = (first, second) if first.summed else (second, first)
        return _add_bias(total, bias, call.arithmetic)
    (a, b), position, reach = _aligned((first, second), ADD_GUARD)
    return FixedPoint(a + b, position, reach)


def sub(call: Call) -> FixedPoint:
    """Difference with seven guard bits."""
    (a, b), position, reach = _aligned((call.exact(0), call.exact(1)), COMPARE_GUARD)
    return FixedPoint(a - b, position, reach)


def extreme(choose: Callable[[Array, Array], Array], call: Call) -> FixedPoint:
    """Largest or smallest of the operands, with seven guard bits."""
    operands = tuple(call.exact(i) for i in range(len(call.inputs)))
    values, position, reach = _aligned(operands, COMPARE_GUARD)
    return FixedPoint(functools.reduce(choose, values), position, reach)


def _aligned(operands: tuple[FixedPoint, ...], guard: int) -> tuple[list[Array], int, float]:
    """Numerators at ``guard`` bits below the coarsest position, what lies finer cut off."""
    position = min(x.position for x in operands) + guard
    found = [floored(x, position - x.position) for x in operands]
    reach = sum(r for _, r in found)
    return [hold(v, reach) for v, _ in found], position, reach


def mul(call: Call) -> FixedPoint | str:
    """The exact product.  A Mul by the hardware's own factor (``gain``) changes nothing."""
    first, second = call.inputs
    if isinstance(first, FixedPoint) and isinstance(second, FixedPoint):
        return _times(first, second)
    fixed, other = (first, second) if isinstance(first, FixedPoint) else (second, first)
    if not isinstance(fixed, FixedPoint) or not isinstance(other, np.ndarray) or other.size != 1:
        return "one of its operands is float"
    factor = float(other.reshape(-1)[0])
    if not math.isclose(factor, fixed.gain, rel_tol=1e-6):
        return f"its factor {factor:.6g} is not quantized"
    return replace(fixed, gain=1.0)


def _times(x: FixedPoint, y: FixedPoint) -> FixedPoint:
    reach = x.reach * y.reach
    values = hold(x.numerator, reach) * hold(y.numerator, reach)
    return FixedPoint(values, x.position + y.position, reach)


def concat(call: Call) -> FixedPoint:
    """Concatenation, at the largest position among the inputs."""
    operands = [call.exact(i) for i in range(len(call.inputs))]
    position = max(x.position for x in operands)
    found = [scaled(x, position - x.position) for x in operands]
    reach = max(r for _, r in found)
    axis = int(call.attributes["axis"])
    return FixedPoint(np.concatenate([hold(v, reach) for v, _ in found], axis), position, reach)


# -- means -------------------------------------------------------------------------------------


def average_pool(call: Call) -> FixedPoint | str:
    """``sum * N / 2**M`` over windows; zero padding counts."""
    x, attributes = call.exact(0), call.attributes
    if attributes.get("ceil_mode"):
        return "its windows extend beyond the image (ceil_mode)"
    windows = windows_of(attributes, attributes["kernel_shape"], x.numerator.shape[2:])
    if any(map(any, windows.pads)) and not attributes.get("count_include_pad"):
        return "its windows at the edge average fewer values"
    if max(windows.kernel) > LARGEST_SIDE:
        return f"its window is longer than {LARGEST_SIDE}"
    reach = x.reach * windows.count
    return _mean(x, window_sums(hold(x.numerator, reach), windows), windows.count)


def global_average_pool(call: Call) -> FixedPoint | str:
    """The mean over the whole image."""
    x = call.exact(0)
    return _mean_over(x, tuple(range(2, x.numerator.ndim)), keep=True)


def reduce_mean(call: Call) -> FixedPoint | str:
    """The mean over constant axes."""
    x, axes = call.exact(0), call.attributes.get("axes", call.given(1))
    if isinstance(axes, FixedPoint):
        return "its axes are not integers"
    found = range(x.numerator.ndim) if axes is None else [int(a) for a in axes]
    return _mean_over(x, tuple(found), keep=bool(call.attributes.get("keepdims", 1)))


def _mean_over(x: FixedPoint, axes: tuple[int, ...], keep: bool) -> FixedPoint | str:
    sides = [x.numerator.shape[a] for a in axes]
    if max(sides, default=0) > LARGEST_SIDE:
        return f"its window is longer than {LARGEST_SIDE}"
    count = math.prod(sides)
    values = hold(x.numerator, x.reach * count)
    return _mean(x, values.sum(axis=axes, keepdims=keep, dtype=values.dtype), count)


def _mean(x: FixedPoint, total: Array, count: int) -> FixedPoint:
    n, m = mean_factors(count)
    reach = x.reach * count * n
    return FixedPoint(hold(total, reach) * n, x.position + m, reach, gain=mean_gain(count))


@dataclass(frozen=True, slots=True)
class Row:
    """A kernel and the input slots that must be in fixed point (None: all of them)."""

    kernel: Kernel
    slots: tuple[int, ...] | None = (0,)


KERNELS: Mapping[str, Row] = {
    "Add": Row(add, None),
    "AveragePool": Row(average_pool),
    "Clip": Row(clip),
    "Concat": Row(concat, None),
    "Conv": Row(conv, (0, 1)),
    "ConvTranspose": Row(conv_transpose, (0, 1)),
    "Gemm": Row(gemm, (0, 1)),
    "GlobalAveragePool": Row(global_average_pool),
    "HardSigmoid": Row(hard_sigmoid),
    "HardSwish": Row(hard_swish),
    "LeakyRelu": Row(leaky_relu),
    "MatMul": Row(matmul, None),
    "Max": Row(functools.partial(extreme, np.maximum), None),
    "Min": Row(functools.partial(extreme, np.minimum), None),
    "Mul": Row(mul, ()),
    "PRelu": Row(prelu, None),
    "ReduceMean": Row(reduce_mean),
    "Relu": Row(relu),
    "Sub": Row(sub, None),
}
