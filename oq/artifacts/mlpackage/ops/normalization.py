"""Normalizations, computed in double precision."""

import numpy as np

from oq.numerics.values import Array


def _normalize(x: Array, axes: tuple[int, ...], epsilon: float) -> Array:
    wide = x.astype(np.float64)
    centred = wide - wide.mean(axes, keepdims=True)
    return np.asarray(centred / np.sqrt(np.square(centred).mean(axes, keepdims=True) + epsilon))


def _by_channel(values: Array, rank: int) -> Array:
    return values.reshape(-1, *(1,) * (rank - 2))


def batch_norm(
    x: Array,
    mean: Array,
    variance: Array,
    gamma: Array | None = None,
    beta: Array | None = None,
    epsilon: Array | float = 1e-5,
) -> Array:
    """``gamma (x - mean) / sqrt(variance + epsilon) + beta`` by channels (axis 1)."""
    factor = 1 / np.sqrt(variance.astype(np.float64) + float(epsilon))
    factor = factor if gamma is None else factor * gamma
    made = (x - _by_channel(mean, x.ndim)) * _by_channel(factor, x.ndim)
    return made if beta is None else made + _by_channel(beta, x.ndim)


def instance_norm(
    x: Array,
    gamma: Array | None = None,
    beta: Array | None = None,
    epsilon: Array | float = 1e-5,
) -> Array:
    """Mean 0 and variance 1 in each sample and channel, then ``gamma`` and ``beta`` by channels."""
    made = _normalize(x, tuple(range(2, x.ndim)), float(epsilon))
    made = made if gamma is None else made * _by_channel(gamma, x.ndim)
    return made if beta is None else made + _by_channel(beta, x.ndim)


def layer_norm(
    x: Array,
    axes: Array | None = None,
    gamma: Array | None = None,
    beta: Array | None = None,
    epsilon: Array | float = 1e-5,
) -> Array:
    """Mean 0 and variance 1 over ``axes`` (all without), then ``gamma`` and ``beta``, which have
    the shape of these axes."""
    along = range(x.ndim) if axes is None else sorted(int(a) % x.ndim for a in np.ravel(axes))
    shape = [x.shape[a] if a in along else 1 for a in range(x.ndim)]
    made = _normalize(x, tuple(along), float(epsilon))
    made = made if gamma is None else made * gamma.reshape(shape)
    return made if beta is None else made + beta.reshape(shape)


def l2_norm(x: Array, epsilon: Array | float = 1e-6) -> Array:
    """``x / sqrt(sum(x x) + epsilon)`` over the last three axes."""
    axes = tuple(range(max(x.ndim - 3, 0), x.ndim))
    total = np.square(x.astype(np.float64)).sum(axes, keepdims=True)
    return np.asarray(x / np.sqrt(total + float(epsilon)))


def local_response_norm(
    x: Array,
    size: Array,
    alpha: Array | float = 1e-4,
    beta: Array | float = 0.75,
    k: Array | float = 1.0,
) -> Array:
    """``x / (k + alpha / size sum(x x))^beta``, the sum over ``size`` channels around each."""
    near, count = int(size), x.shape[1]
    squares = np.square(x.astype(np.float64))
    front, back = near // 2, (near - 1) // 2
    padded = np.pad(squares, ((0, 0), (front, back), *((0, 0),) * (x.ndim - 2)))
    total = sum(padded[:, i : i + count] for i in range(near))
    return np.asarray(x / (float(k) + float(alpha) / near * total) ** float(beta))
