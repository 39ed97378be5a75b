"""Slow, obvious references for ranges and errors: float64, every value by itself."""

from collections.abc import Callable

import numpy as np

from oq.numerics.grid import Grid
from oq.numerics.values import Array, QType

COUNT = 50_000


def _pick(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


DISTRIBUTIONS: dict[str, Callable[[], Array]] = {
    "gaussian": lambda: _pick().normal(0, 3, COUNT),
    "shifted": lambda: _pick().normal(2, 1, COUNT),
    "uniform": lambda: _pick().uniform(-1, 1, COUNT),
    "relu": lambda: np.maximum(_pick().normal(0, 1, COUNT), 0),
    "relu6": lambda: np.clip(_pick().normal(3, 4, COUNT), 0, 6),
    "negative": lambda: -np.abs(_pick().normal(0, 1e-3, COUNT)),
    "laplace": lambda: _pick().laplace(0, 1, COUNT),
    "student": lambda: _pick().standard_t(3, COUNT),
    "lognormal": lambda: _pick().lognormal(0, 1.5, COUNT),
    "constant": lambda: np.full(100, 3.7),
    "two values": lambda: np.repeat([-1.0, 4.0], 50),
}
"""Values as activations have them, by name, in float64."""


def draw(name: str) -> Array:
    """The float32 values of a distribution, always the same."""
    return DISTRIBUTIONS[name]().astype(np.float32)


def rounded(x: Array, scale: float, zero: int, qtype: QType) -> Array:
    """What a grid leaves of ``x``, by the equations of the ONNX specification, in float64."""
    codes = np.clip(np.rint(x.astype(np.float64) / scale) + zero, qtype.qmin, qtype.qmax)
    found: Array = (codes - zero) * scale
    return found


def error(x: Array, scale: float, zero: int, qtype: QType) -> Array:
    """``x`` less what a grid leaves of it."""
    return x.astype(np.float64) - rounded(x, scale, zero, qtype)


def square(x: Array, grid: Grid) -> float:
    """Mean squared error of ``grid`` on ``x``."""
    return float((error(x, float(grid.scale), int(grid.zero_point), grid.qtype) ** 2).mean())


def numbers(lo: float, hi: float, qtype: QType) -> tuple[float, int]:
    """(scale, zero point) that cover ``[lo, hi]``: max|x| / qmax, or (hi - lo) / (levels - 1)."""
    if qtype.symmetric:
        return max(-lo, hi) / qtype.qmax, 0
    scale = (hi - lo) / (qtype.qmax - qtype.qmin)
    return scale, int(np.clip(np.rint(qtype.qmin - lo / scale), qtype.qmin, qtype.qmax))


def square_of(x: Array, lo: float, hi: float, qtype: QType) -> float:
    """Mean squared error of the grid that covers ``[lo, hi]``."""
    return float((error(x, *numbers(lo, hi, qtype), qtype) ** 2).mean())
