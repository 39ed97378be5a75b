"""The arithmetic of every op, in the DPU's numbers where its operands come out of ``fix``.

    fix          clamp(round(x 2**p)) 2**-p; DPU_ROUND: halves up, STD_ROUND: away from zero,
                 PY3_ROUND: to even
    conv, matmul the exact sum of products, the bias truncated to one bit below the accumulator
    add          operands truncated to two bits below the coarsest of them; sub, max, min: to seven
    means        the exact sum, divided by the mul behind it: c / count is N / 2**M
    hard-sigmoid clip(x + 3, 0, 6), divided by 6 the same way: c / 6 is 2731 / 2**14

After AMD's CPU runner of xmodels (Xilinx/Vitis-AI, ``src/vai_runtime/cpu-runner``).  What reads a
float operand is computed in float32, as the CPU would.
"""

import functools
import math
from collections.abc import Callable, Mapping

import numpy as np

from oq.artifacts.xmodel import moves
from oq.artifacts.xmodel.values import Call, Exact, Value, floats, like, numbers
from oq.artifacts.xmodel.windows import correlate, correlate_depthwise, spread, windows_of
from oq.errors import ModelError
from oq.numerics.values import Array

Kernel = Callable[[Call], Value]

FLOAT32_INTEGERS = 2.0**24
BIAS_GUARD, ADD_GUARD, COMPARE_GUARD = 1, 2, 7
"""Bits below the accumulator, or below the coarsest operand, that the hardware keeps."""

ROUNDS: Mapping[str, Callable[[Array], Array]] = {
    "DPU_ROUND": lambda x: np.floor(x + 0.5),
    "STD_ROUND": lambda x: np.copysign(np.floor(np.abs(x) + 0.5), x),
    "PY3_ROUND": np.rint,
}


def const(call: Call) -> Value:
    """Raw float32 in C order."""
    return np.frombuffer(call.op.get("data"), "<f4").reshape(call.op.dims)


def fix(call: Call) -> Value:
    """Codes of ``bit_width`` bits at ``fix_point``."""
    x, op = call.values[0], call.op
    mode, bits, position = op.get("round_mode"), op.get("bit_width"), op.get("fix_point")
    if mode not in ROUNDS:
        raise ModelError(f"op {op.name!r} (fix) has round_mode {mode!r}")
    low, high = (
        (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if op.get("if_signed") else (0, 2**bits - 1)
    )
    real = x.real if isinstance(x, Exact) else np.asarray(x, np.float64)
    real = real / x.divisor if isinstance(x, Exact) and x.divisor is not None else real
    codes = np.clip(ROUNDS[mode](np.ldexp(real, position)), low, high)
    return Exact(np.ldexp(codes, -position), position)


def _floored(x: Exact, position: int) -> Array:
    """Without what lies below ``2**-position``."""
    return (
        x.real
        if x.position <= position
        else np.ldexp(np.floor(np.ldexp(x.real, position)), -position)
    )


# -- sums of products ----------------------------------------------------------------------------


def weighted(products: Callable[[Call, Array, Array], Array]) -> Kernel:
    """A kernel of ``products`` of the data and the weights, and of the bias."""

    def run(call: Call) -> Value:
        x, w = call.values[0], call.arguments["weights"][0]
        return _with_bias(call, x, w, lambda a, b: products(call, a, b))

    return run


def _with_bias(call: Call, x: Value, w: Value, work: Callable[[Array, Array], Array]) -> Value:
    bias = call.arguments.get("bias", ())
    operands = (x, w, *bias)
    if not all(isinstance(v, Exact) and v.divisor is None for v in operands):
        total = work(floats(x), floats(w))
        return total + floats(bias[0]) if bias else total
    left, right, *given = (v for v in operands if isinstance(v, Exact))
    position = left.position + right.position
    dtype = _holds(left, right)
    total = work(left.real.astype(dtype), right.real.astype(dtype)).astype(np.float64)
    if not given:
        return Exact(total, position)
    return Exact(total + _floored(given[0], position + BIAS_GUARD), position + BIAS_GUARD)


def _holds(x: Exact, w: Exact) -> type:
    """The smallest type that sums their products exactly, in any order."""
    largest = [float(np.abs(v.real).max(initial=0.0)) * 2.0**v.position for v in (x, w)]
    terms = max(w.real.size // max(1, w.real.shape[0]), w.real.shape[-1], x.real.shape[-1])
    return np.float32 if math.prod(largest) * terms < FLOAT32_INTEGERS else np.float64


def _conv(call: Call, x: Array, w: Array) -> Array:
    return correlate(x, w, windows_of(call.op, x), call.op.get("group", 1))


def _depthwise(call: Call, x: Array, w: Array) -> Array:
    if w.shape[0] != 1:
        raise ModelError(f"op {call.op.name!r} has {w.shape[0]} weights per channel")
    return correlate_depthwise(x, w, windows_of(call.op, x))


def _transposed(call: Call, x: Array, w: Array) -> Array:
    wide, windows = spread(call.op, x)
    return correlate(wide, w, windows, 1)


def _transposed_depthwise(call: Call, x: Array, w: Array) -> Array:
    wide, windows = spread(call.op, x)
    return correlate_depthwise(wide, w, windows)


def matmul(call: Call) -> Value:
    """Stacks of matrices, the last two axes of each operand swapped where its flag says so."""
    flags = [call.op.get(f) for f in ("transpose_a", "transpose_b")]

    def work(a: Array, b: Array) -> Array:
        left, right = (v.swapaxes(-1, -2) if f else v for v, f in zip((a, b), flags, strict=True))
        found: Array = np.matmul(left, right)
        return found

    return _with_bias(call, call.values[0], call.values[1], work)


# -- two operands --------------------------------------------------------------------------------


def guarded(work: Callable[[Array, Array], Array], guard: int) -> Kernel:
    """``work`` over all operands, truncated to ``guard`` bits below the coarsest."""

    def run(call: Call) -> Value:
        operands = call.exact()
        if not operands:
            return functools.reduce(work, call.floats())
        position = min(x.position for x in operands) + guard
        cut = [_floored(x, position) for x in operands]
        return Exact(functools.reduce(work, cut), position)

    return run


def mul(call: Call) -> Value:
    """The exact product; a float factor behind a mean or a hard sigmoid becomes its multiplier."""
    operands = call.exact()
    if operands:
        product = functools.reduce(np.multiply, (x.real for x in operands))
        return Exact(product, sum(x.position for x in operands))
    first, *rest = call.values
    factor = rest[0] if len(rest) == 1 and isinstance(rest[0], np.ndarray) else None
    if isinstance(first, Exact) and first.divisor is not None and factor is not None:
        share = factor.astype(np.float64) / first.divisor
        return Exact(first.real * share, first.position + _bits(share))
    return functools.reduce(np.multiply, call.floats())


def _bits(factor: Array) -> int:
    """How many bits below the point ``factor`` has."""
    return next((b for b in range(64) if not (np.ldexp(factor, b) % 1).any()), 64)


def div(call: Call) -> Value:
    """The quotient, in float."""
    return functools.reduce(np.divide, call.floats())


# -- activations ---------------------------------------------------------------------------------


def bounded(low: float, high: float) -> Kernel:
    """``min(max(x, low), high)``, before rounding."""

    def run(call: Call) -> Value:
        x = call.values[0]
        if isinstance(x, Exact) and x.divisor is not None and (low, high) != (0.0, np.inf):
            x = x.floats()
        return like(x, np.clip(numbers(x), low, high))

    return run


def leaky_relu(call: Call) -> Value:
    """``alpha x`` below zero; exact, alpha being a number of 256ths."""
    x, alpha = call.values[0], call.op.get("alpha")
    if isinstance(x, Exact) and x.divisor is None:
        return Exact(np.where(x.real < 0, x.real * alpha, x.real), x.position + 8)
    real = floats(x)
    return np.where(real < 0, real * np.float32(alpha), real)


def hard_sigmoid(call: Call) -> Value:
    """``clip(x + 3, 0, 6) / 6``."""
    found = call.exact()
    if found:
        return Exact(np.clip(found[0].real + 3.0, 0.0, 6.0), found[0].position, 6.0)
    return np.clip(call.floats()[0] + np.float32(3), 0, 6) / np.float32(6)


def in_float(function: Callable[[Array], Array]) -> Kernel:
    """A function of the CPU, evaluated in double precision and rounded to float32."""

    def run(call: Call) -> Value:
        return function(call.floats()[0].astype(np.float64)).astype(np.float32)

    return run


def _sigmoid(x: Array) -> Array:
    small = np.exp(-np.abs(x))
    return np.where(x < 0, small, 1.0) / (1.0 + small)


def _gelu(x: Array) -> Array:
    erf: Array = np.vectorize(math.erf, otypes=[float])(x / math.sqrt(2.0))
    return 0.5 * x * (1.0 + erf)


def _mish(x: Array) -> Array:
    return x * np.tanh(np.logaddexp(0.0, x))


def _selu(x: Array) -> Array:
    scale, alpha = 1.0507009873554805, 1.6732632423543772
    return scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0)))


def elu(call: Call) -> Value:
    """``alpha (exp(x) - 1)`` below zero."""
    x, alpha = call.floats()[0].astype(np.float64), call.op.get("alpha", 1.0)
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0))).astype(np.float32)


def celu(call: Call) -> Value:
    """``alpha (exp(x / alpha) - 1)`` below zero."""
    x, alpha = call.floats()[0].astype(np.float64), call.op.get("alpha", 1.0)
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0) / alpha)).astype(np.float32)


def prelu(call: Call) -> Value:
    """``weight x`` below zero."""
    x, weight = call.floats()[0], floats(call.arguments["weight"][0])
    return np.where(x < 0, x * weight, x)


def softmax(call: Call) -> Value:
    """Along ``axis``."""
    x, axis = call.floats()[0].astype(np.float64), call.op.get("axis")
    powers = np.exp(x - x.max(axis=axis, keepdims=True))
    found: Array = (powers / powers.sum(axis=axis, keepdims=True)).astype(np.float32)
    return found


def batchnorm(call: Call) -> Value:
    """``(x - mean) / sqrt(variance + epsilon) gamma + beta`` along ``axis``."""
    x, axis = call.floats()[0].astype(np.float64), call.op.get("axis")
    shape = [1] * x.ndim
    shape[axis] = -1
    gamma, beta, mean, variance = (
        floats(call.arguments[name][0]).astype(np.float64).reshape(shape)
        for name in ("gamma", "beta", "moving_mean", "moving_var")
    )
    found = (x - mean) / np.sqrt(variance + call.op.get("epsilon")) * gamma + beta
    return np.asarray(found, np.float32)


def groupnorm(call: Call) -> Value:
    """Each group of channels less its mean, over the root of its variance and ``eps``, times
    ``weight``, plus ``bias``; the channels are the last axis.  ``instancenorm``: a group each."""
    x = call.floats()[0].astype(np.float64)
    groups = call.op.get("num_groups", x.shape[-1])
    split = x.reshape(x.shape[0], -1, groups, x.shape[-1] // groups)
    less = split - split.mean(axis=(1, 3), keepdims=True)
    spread = np.sqrt((less**2).mean(axis=(1, 3), keepdims=True) + call.op.get("eps"))
    weight, bias = (floats(call.arguments[name][0]) for name in ("weight", "bias"))
    return np.asarray((less / spread).reshape(x.shape) * weight + bias, np.float32)


# -- over windows and axes -----------------------------------------------------------------------


def maxpool(call: Call) -> Value:
    """The largest value of every window."""
    x = call.values[0]
    image = numbers(x)
    cuts = windows_of(call.op, image).cut(image, -np.inf)
    return like(x, functools.reduce(np.maximum, (seen for _, _, seen in cuts)))


def avgpool(call: Call) -> Value:
    """The sum over every window, to be divided by its size; zeros around the image count."""
    op, found = call.op, call.exact()
    image = found[0].real if found else call.floats()[0]
    windows = windows_of(op, image)
    total = functools.reduce(np.add, (seen for _, _, seen in windows.cut(image)))
    if any(map(sum, windows.pads)) and not op.get("count_include_pad", True):
        inside = windows.cut(np.ones((1, *image.shape[1:3], 1), np.float32))
        return total.astype(np.float32) / functools.reduce(np.add, (seen for _, _, seen in inside))
    count = float(math.prod(windows.kernel))
    return Exact(total, found[0].position, count) if found else total / np.float32(count)


def reduction_mean(call: Call) -> Value:
    """The sum along the axes, to be divided by its size."""
    axes, keep = tuple(call.op.get("axis")), call.op.get("keep_dims")
    found = call.exact()
    x = found[0].real if found else call.floats()[0]
    total = np.atleast_1d(x.sum(axis=axes, keepdims=keep))
    count = float(math.prod(x.shape[a] for a in axes))
    return Exact(total, found[0].position, count) if found else total / np.float32(count)


def reduction_max(call: Call) -> Value:
    """The largest value along the axes."""
    x, axes = call.values[0], tuple(call.op.get("axis"))
    found = numbers(x).max(axis=axes, keepdims=call.op.get("keep_dims"))
    return like(x, np.atleast_1d(found))


def reduction_sum(call: Call) -> Value:
    """The sum along the axes, in float."""
    x, axes = call.floats()[0], tuple(call.op.get("axis"))
    return np.atleast_1d(x.sum(axis=axes, keepdims=call.op.get("keep_dims")))


def reduction_product(call: Call) -> Value:
    """The product along the axes, in float."""
    x, axes = call.floats()[0], tuple(call.op.get("axis"))
    return np.atleast_1d(x.prod(axis=axes, keepdims=call.op.get("keep_dims")))


KERNELS: Mapping[str, Kernel] = {
    "const": const,
    "fix": fix,
    "conv2d": weighted(_conv),
    "depthwise-conv2d": weighted(_depthwise),
    "transposed-conv2d": weighted(_transposed),
    "transposed-depthwise-conv2d": weighted(_transposed_depthwise),
    "matmul": matmul,
    "add": guarded(np.add, ADD_GUARD),
    "sub": guarded(np.subtract, COMPARE_GUARD),
    "max": guarded(np.maximum, COMPARE_GUARD),
    "min": guarded(np.minimum, COMPARE_GUARD),
    "mul": mul,
    "div": div,
    "relu": bounded(0.0, np.inf),
    "relu6": bounded(0.0, 6.0),
    "hard-tanh": bounded(-1.0, 1.0),
    "leaky-relu": leaky_relu,
    "hard-sigmoid": hard_sigmoid,
    "sigmoid": in_float(_sigmoid),
    "tanh": in_float(np.tanh),
    "gelu": in_float(_gelu),
    "mish": in_float(_mish),
    "selu": in_float(_selu),
    "elu": elu,
    "celu": celu,
    "exp": in_float(np.exp),
    "neg": in_float(np.negative),
    "prelu": prelu,
    "softmax": softmax,
    "batchnorm": batchnorm,
    "groupnorm": groupnorm,
    "instancenorm": groupnorm,
    "maxpool2d": maxpool,
    "avgpool2d": avgpool,
    "reduction_mean": reduction_mean,
    "reduction_max": reduction_max,
    "reduction_product": reduction_product,
    "reduction_sum": reduction_sum,
    "concat": moves.concat,
    "reshape": moves.reshape,
    "stack": moves.stack,
    "transpose": moves.transpose,
    "strided_slice": moves.strided_slice,
    "pad": moves.pad,
    "resize": moves.resize,
    "pixel-shuffle": moves.pixel_shuffle,
    "gstiling": moves.gstiling,
}
"""Op type -> its kernel; ``data`` has none, it is fed."""

WEIGHTED = frozenset(
    {"conv2d", "depthwise-conv2d", "matmul", "transposed-conv2d", "transposed-depthwise-conv2d"}
)
