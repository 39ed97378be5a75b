"""Activations."""

import numpy as np

from oq.artifacts.mlpackage.ops.elementwise import erf
from oq.errors import ModelError
from oq.numerics.values import Array


def relu(x: Array) -> Array:
    """``max(x, 0)``."""
    return np.maximum(x, np.zeros((), x.dtype))


def relu6(x: Array) -> Array:
    """``min(max(x, 0), 6)``."""
    return np.clip(x, 0, 6)


def leaky_relu(x: Array, alpha: Array) -> Array:
    """``x`` where it is not negative, else ``alpha x``."""
    return np.where(x >= 0, x, alpha * x)


def clamped_relu(x: Array, alpha: Array, beta: Array) -> Array:
    """``min(leaky_relu(x), beta)``."""
    return np.minimum(leaky_relu(x, alpha), beta)


def thresholded_relu(x: Array, alpha: Array) -> Array:
    """``x`` where it is at least ``alpha``, else 0."""
    return np.where(x >= alpha, x, np.zeros((), x.dtype))


def prelu(x: Array, alpha: Array) -> Array:
    """``x`` where it is positive, else ``alpha[c] x``, by channels (axis 1)."""
    slope = alpha.reshape(-1, *(1,) * (x.ndim - 2))
    return np.where(x > 0, x, slope * x)


def elu(x: Array, alpha: Array) -> Array:
    """``x`` where it is positive, else ``alpha (e^x - 1)``."""
    return np.where(x > 0, x, np.asarray(alpha * np.expm1(np.minimum(x, 0))))


def sigmoid(x: Array) -> Array:
    """``1 / (1 + e^-x)``."""
    return np.asarray(0.5 * (np.tanh(0.5 * x.astype(np.float64)) + 1))


def sigmoid_hard(x: Array, alpha: Array, beta: Array) -> Array:
    """``min(max(alpha x + beta, 0), 1)``."""
    return np.asarray(np.clip(alpha * x + beta, 0, 1))


def silu(x: Array) -> Array:
    """``x sigmoid(x)``."""
    return x * sigmoid(x)


def tanh(x: Array) -> Array:
    """The hyperbolic tangent."""
    return np.tanh(x)


def scaled_tanh(x: Array, alpha: Array, beta: Array) -> Array:
    """``alpha tanh(beta x)``."""
    return np.asarray(alpha * np.tanh(beta * x))


def linear_activation(x: Array, alpha: Array, beta: Array) -> Array:
    """``alpha x + beta``."""
    return alpha * x + beta


def softplus(x: Array) -> Array:
    """``log(1 + e^x)``."""
    return np.logaddexp(x, np.zeros((), x.dtype))


def softsign(x: Array) -> Array:
    """``x / (1 + |x|)``."""
    return np.asarray(x / (1 + np.abs(x)))


def softmax(x: Array, axis: Array | int = -1) -> Array:
    """``e^x`` over its sum along ``axis``."""
    along = int(axis)
    shifted = np.exp(x - x.max(along, keepdims=True))
    return np.asarray(shifted / shifted.sum(along, keepdims=True))


def gelu(x: Array, mode: Array | str = "EXACT") -> Array:
    """``x Phi(x)``: by the error function, by tanh, or by a sigmoid of ``1.702 x``.

    Raises:
        ModelError: another mode.
    """
    match str(mode):
        case "EXACT":
            return np.asarray(0.5 * x * (1 + erf(x * np.float32(np.sqrt(0.5)))))
        case "TANH_APPROXIMATION":
            inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
            return np.asarray(0.5 * x * (1 + np.tanh(inner)))
        case "SIGMOID_APPROXIMATION":
            return x * sigmoid(np.asarray(1.702 * x))
        case other:
            raise ModelError(f"gelu in mode {other!r}, which oq does not read")
