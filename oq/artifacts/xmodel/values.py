"""What the kernels compute on: numbers that the DPU holds exactly, or the floats of the CPU."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from oq.artifacts.xmodel.file import Op
from oq.numerics.values import Array


@dataclass(frozen=True, slots=True)
class Exact:
    """``real / divisor``, both exact (float64); ``real`` is a multiple of ``2**-position``.

    ``divisor``: that of a mean or of a hard sigmoid, which the ``mul`` behind it turns into the
    DPU's multiplier; None elsewhere.
    """

    real: Array
    position: int
    divisor: float | None = None

    def floats(self) -> Array:
        """As float32."""
        divided = self.real if self.divisor is None else self.real / self.divisor
        return divided.astype(np.float32)


Value = Exact | Array
"""An exact tensor, or float32 values."""


@dataclass(frozen=True, slots=True)
class Call:
    """An op, and the values of its arguments."""

    op: Op
    arguments: Mapping[str, Sequence[Value]]

    @property
    def values(self) -> Sequence[Value]:
        """Those of the argument ``input``."""
        return self.arguments["input"]

    def floats(self) -> list[Array]:
        """Those of the argument ``input`` as float32."""
        return [floats(v) for v in self.values]

    def exact(self) -> list[Exact]:
        """Those of the argument ``input`` where the DPU holds all of them; else empty."""
        found = [v for v in self.values if isinstance(v, Exact) and v.divisor is None]
        return found if len(found) == len(self.values) else []


def floats(value: Value) -> Array:
    """``value`` as float32."""
    return value.floats() if isinstance(value, Exact) else value


def like(value: Value, real: Array) -> Value:
    """``real`` in place of the numbers of ``value``, which were only moved."""
    return Exact(real, value.position, value.divisor) if isinstance(value, Exact) else real


def numbers(value: Value) -> Array:
    """The numbers to be moved: see :func:`like`."""
    return value.real if isinstance(value, Exact) else value
