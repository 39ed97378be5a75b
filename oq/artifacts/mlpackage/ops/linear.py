"""Products of matrices, and attention."""

from collections.abc import Sequence

import numpy as np

from oq.artifacts.mlpackage.ops.activation import softmax
from oq.numerics.values import Array


def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """``x weight^T + bias``, ``weight`` with axes (output, input)."""
    made: Array = np.matmul(x, weight.T)
    return made if bias is None else made + bias


def matmul(
    x: Array, y: Array, transpose_x: Array | bool = False, transpose_y: Array | bool = False
) -> Array:
    """``x y`` over the last two axes, each transposed first on request."""
    left = x.swapaxes(-1, -2) if transpose_x and x.ndim > 1 else x
    right = y.swapaxes(-1, -2) if transpose_y and y.ndim > 1 else y
    return np.asarray(np.matmul(left, right))


def einsum(values: Sequence[Array], equation: Array) -> Array:
    """Einstein's sum of two tensors."""
    return np.asarray(np.einsum(str(equation), *values))


def scaled_dot_product_attention(
    query: Array, key: Array, value: Array, attn_mask: Array | None = None
) -> Array:
    """``softmax(query key^T / sqrt(width) + mask) value``; a boolean mask keeps what it marks."""
    scores = np.matmul(query, key.swapaxes(-1, -2)) / np.float32(np.sqrt(query.shape[-1]))
    if attn_mask is not None and attn_mask.dtype == np.bool_:
        scores = np.where(attn_mask, scores, np.float32(-np.inf))
    elif attn_mask is not None:
        scores = scores + attn_mask
    return np.asarray(np.matmul(softmax(scores), value))
