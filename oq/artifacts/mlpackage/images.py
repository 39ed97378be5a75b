"""Inputs that are images: what the program makes of their pixels before the network begins."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from oq.artifacts.mlpackage.program import Description, Program
from oq.errors import ModelError
from oq.numerics.values import Array


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """``value = pixel scale + bias``, either a scalar or with axes (1, channel, 1, 1)."""

    scale: Array
    bias: Array

    def find(self, values: Array) -> Array:
        """The pixels that become ``values``, not rounded to whole ones."""
        return np.asarray((values - self.bias) / self.scale, np.float32)


def find_pixels(description: Description, program: Program) -> Mapping[str, Pixels]:
    """What becomes of the pixels of each image, by the input's name in the program: the product
    with constants and the sum with constants that follow it, as far as they are there.

    Raises:
        ModelError: a scale of 0.
    """
    names = [f.info.name for f in description.inputs if f.image]
    return {name: _follow(program, name) for name in names}


def _follow(program: Program, name: str) -> Pixels:
    scale, bias = np.ones((), np.float32), np.zeros((), np.float32)
    _, inner = _step(program, name, "cast")
    factor, inner = _step(program, inner, "mul")
    shift, _ = _step(program, inner, "add")
    scale, bias = (scale if factor is None else factor), (bias if shift is None else shift)
    if not scale.all():
        raise ModelError(f"{name!r} is an image whose pixels are multiplied by 0")
    return Pixels(scale, bias)


def _widen(values: Array) -> Array:
    return values.astype(np.float32) if values.dtype.kind == "f" else values


def _step(program: Program, name: str, kind: str) -> tuple[Array | None, str]:
    """The constant that ``name`` is joined with, and the result; without a single reader of this
    ``kind``, None and ``name`` itself."""
    readers = [o for o in program.operations if any(name in b for b in o.inputs.values())]
    if len(readers) != 1 or readers[0].kind != kind:
        return None, name
    bindings = [b for bound in readers[0].inputs.values() for b in bound if b != name]
    held = [program.constants.get(b) if isinstance(b, str) else b for b in bindings]
    if len(held) != 1 or held[0] is None:
        return None, name
    return _widen(held[0].values), readers[0].outputs[0][0]
