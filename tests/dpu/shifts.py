"""Q/DQ graphs on power-of-two grids, and the DPU's equations in Python's own integers."""

from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import onnx

from oq.dpu.fixed_point import DPU, Arithmetic
from oq.dpu.simulate import Simulator
from oq.numerics.values import Array
from tests.graphs import Net


def two(exponent: int) -> Fraction:
    return Fraction(2) ** exponent


def half_up(x: Fraction) -> int:
    return floor(x + Fraction(1, 2))


def int8(x: int) -> int:
    return max(-128, min(127, x))


@dataclass(slots=True)
class ShiftNet(Net):
    """A :class:`Net` whose tensors get pairs of scale ``2**-position``."""

    def pair(self, tensor: str, position: int, dtype: Any = np.int8, zero: int = 0) -> str:
        """Q/DQ behind ``tensor``; returns the name that carries the real values again."""
        grid = self._grid(tensor, position, dtype, zero)
        self.node("QuantizeLinear", [tensor, *grid], f"{tensor}_q")
        return self.node("DequantizeLinear", [f"{tensor}_q", *grid], f"{tensor}_dq")

    def codes(self, name: str, values: Any, position: int, dtype: Any = np.int8) -> str:
        """A constant of integer ``values`` behind its DequantizeLinear."""
        self.constant(f"{name}_codes", values, dtype)
        grid = self._grid(name, position, dtype, 0)
        return self.node("DequantizeLinear", [f"{name}_codes", *grid], name)

    def random_codes(self, name: str, position: int, *shape: int, top: int = 127) -> str:
        values = self.random.integers(-top - 1, top + 1, shape)
        return self.codes(name, values.clip(-128, 127), position)

    def _grid(self, name: str, position: int, dtype: Any, zero: int) -> list[str]:
        scale = self.constant(f"{name}_scale", 2.0**-position)
        return [scale, self.constant(f"{name}_zero", zero, dtype)]


def run(model: onnx.ModelProto, arithmetic: Arithmetic = DPU, **feeds: Any) -> Array:
    """The first output as the simulator computes it."""
    values = {k: np.asarray(v, np.float32) for k, v in feeds.items()}
    return Simulator(model, arithmetic).run(values)[0]


def codes(model: onnx.ModelProto, position: int, arithmetic: Arithmetic = DPU, **feeds: Any) -> Any:
    """As :func:`run`, in steps of ``2**-position``, as nested lists of whole numbers."""
    found = run(model, arithmetic, **feeds).astype(np.float64) * 2.0**position
    assert (found == np.rint(found)).all()
    return found.astype(int).tolist()
