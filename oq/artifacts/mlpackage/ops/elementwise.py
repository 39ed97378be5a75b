"""Operations on each element: arithmetic with NumPy's broadcasting, comparisons, casts."""

import math

import numpy as np

from oq.artifacts.mlpackage.dtypes import FLOATS, SHORT, numpy_dtype
from oq.errors import ModelError
from oq.numerics.values import Array


def add(x: Array, y: Array) -> Array:
    """``x + y``."""
    return x + y


def sub(x: Array, y: Array) -> Array:
    """``x - y``."""
    return x - y


def mul(x: Array, y: Array) -> Array:
    """``x y``."""
    return x * y


def real_div(x: Array, y: Array) -> Array:
    """``x / y`` of floats."""
    return x / y


def floor_div(x: Array, y: Array) -> Array:
    """``floor(x / y)``."""
    return np.floor_divide(x, y)


def mod(x: Array, y: Array) -> Array:
    """The remainder of ``floor_div``, of the sign of ``y``."""
    return np.mod(x, y)


def power(x: Array, y: Array) -> Array:
    """``x ** y``."""
    return np.power(x, y)


def maximum(x: Array, y: Array) -> Array:
    """The larger one."""
    return np.maximum(x, y)


def minimum(x: Array, y: Array) -> Array:
    """The smaller one."""
    return np.minimum(x, y)


def equal(x: Array, y: Array) -> Array:
    """``x == y``."""
    return np.asarray(x == y)


def not_equal(x: Array, y: Array) -> Array:
    """``x != y``."""
    return np.asarray(x != y)


def less(x: Array, y: Array) -> Array:
    """``x < y``."""
    return np.asarray(x < y)


def less_equal(x: Array, y: Array) -> Array:
    """``x <= y``."""
    return np.asarray(x <= y)


def greater(x: Array, y: Array) -> Array:
    """``x > y``."""
    return np.asarray(x > y)


def greater_equal(x: Array, y: Array) -> Array:
    """``x >= y``."""
    return np.asarray(x >= y)


def logical_and(x: Array, y: Array) -> Array:
    """Both."""
    return np.logical_and(x, y)


def logical_or(x: Array, y: Array) -> Array:
    """Either."""
    return np.logical_or(x, y)


def logical_xor(x: Array, y: Array) -> Array:
    """One of them."""
    return np.logical_xor(x, y)


def logical_not(x: Array) -> Array:
    """The contrary."""
    return np.logical_not(x)


def select(cond: Array, a: Array, b: Array) -> Array:
    """``a`` where ``cond`` holds, else ``b``."""
    return np.where(cond, a, b)


def absolute(x: Array) -> Array:
    """``|x|``."""
    return np.abs(x)


def ceil(x: Array) -> Array:
    """The next integer above."""
    return np.ceil(x)


def floor(x: Array) -> Array:
    """The next integer below."""
    return np.floor(x)


def rounded(x: Array) -> Array:
    """The nearest integer, of two the even one."""
    return np.rint(x)


def sign(x: Array) -> Array:
    """-1, 0 or 1."""
    return np.sign(x)


def sqrt(x: Array) -> Array:
    """The square root."""
    return np.sqrt(x)


def rsqrt(x: Array, epsilon: Array | float = 1e-12) -> Array:
    """``1 / sqrt(x + epsilon)``."""
    return np.asarray(1 / np.sqrt(x + epsilon))


def inverse(x: Array, epsilon: Array | float = 1e-4) -> Array:
    """``1 / (x + epsilon)``."""
    return np.asarray(1 / (x + epsilon))


def log(x: Array, epsilon: Array | float = 1e-45) -> Array:
    """``log(x + epsilon)``."""
    return np.log(x + epsilon)


def square(x: Array) -> Array:
    """``x x``."""
    return np.square(x)


def exp(x: Array) -> Array:
    """``e ** x``."""
    return np.exp(x)


def exp2(x: Array) -> Array:
    """``2 ** x``."""
    return np.exp2(x)


def sin(x: Array) -> Array:
    """The sine of radians."""
    return np.sin(x)


def cos(x: Array) -> Array:
    """The cosine of radians."""
    return np.cos(x)


def atan(x: Array) -> Array:
    """The arc tangent in radians."""
    return np.arctan(x)


_ERF = np.frompyfunc(math.erf, 1, 1)


def erf(x: Array) -> Array:
    """The error function, in double precision."""
    return np.asarray(_ERF(x)).astype(np.float32)


def clip(x: Array, alpha: Array, beta: Array) -> Array:
    """``min(max(x, alpha), beta)``."""
    return np.minimum(np.maximum(x, alpha), beta)


def threshold(x: Array, alpha: Array) -> Array:
    """``max(x, alpha)``."""
    return np.maximum(x, alpha)


def identity(x: Array) -> Array:
    """``x``."""
    return x


def cast(x: Array, dtype: Array) -> Array:
    """``x`` as another type: floats become integers by cutting off the fraction.

    Raises:
        ModelError: a type that oq does not read.
    """
    if str(dtype) not in SHORT:
        raise ModelError(f"cast to {str(dtype)!r}, a type that oq does not read")
    name = SHORT[str(dtype)]
    if name in FLOATS:
        return x.astype(np.float32)
    return x != 0 if name == "bool" else x.astype(numpy_dtype(name))
