"""The grids of a graph of aten ops, found by their arithmetic.

activation   clamp(round(x / scale) + zero, least, greatest)
weight       (codes - zero) * scale         codes: a constant of integers
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from oq.artifacts.artifact import GridUse


@dataclass(frozen=True, slots=True)
class Name:
    """A value of the graph."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """One op of aten (without overload): its arguments, numbers or names, and its first result."""

    op: str
    args: tuple[Any, ...]
    result: str


ENDS: Mapping[tuple[int, int], str] = {
    (-128, 127): "int8",
    (0, 255): "uint8",
    (-8, 7): "int4",
    (0, 15): "uint4",
    (-32768, 32767): "int16",
    (0, 65535): "uint16",
}
"""Least and greatest code -> type."""

SHAPING = frozenset({"reshape", "to", "view", "repeat_interleave", "narrow"})
"""Ops across which a constant keeps its values."""

SHIFTS = frozenset({"add", "sub"})
CODES = frozenset({torch.int8, torch.uint8, torch.int16, torch.uint16, torch.int32})
WEIGHTED = frozenset({
    *("_convolution", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d"),
    *("conv_transpose3d", "linear", "matmul", "mm", "addmm"),
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Flow:
    """A graph: who makes a value, and the constants."""

    calls: Sequence[Call]
    constants: Mapping[str, Tensor]

    def makers(self) -> dict[str, Call]:
        """Value -> its call."""
        return {call.result: call for call in self.calls}

    def activations(self) -> Iterator[GridUse]:
        """The grids of tensors that are computed."""
        makers = self.makers()
        for call in self.calls:
            ends = tuple(call.args[1:3])
            if call.op != CLAMP or ends not in ENDS:
                continue
            rounded, zero = self._unshifted(makers, call.args[0])
            made = makers.get(rounded.name) if isinstance(rounded, Name) else None
            if made is None or made.op != ROUND:
                continue
            divided = makers.get(made.args[0].name)
            scale = None if divided is None else self._constant(makers, divided.args[1])
            if divided is not None and scale is not None:
                yield _use(divided.args[0].name, ENDS[ends], scale, zero)

    def weights(self) -> Iterator[GridUse]:
        """The grids of constants."""
        makers = self.makers()
        for call in self.calls:
            if call.op != MUL or not all(isinstance(a, Name) for a in call.args[:2]):
                continue
            codes, zero = self._unshifted(makers, call.args[0])
            name, scale = self._named(makers, codes), self._constant(makers, call.args[1])
            if name is None or scale is None or self.constants[name].dtype not in CODES:
                continue
            dtype = str(self.constants[name].dtype).removeprefix("torch.")
            yield _use(name, dtype, scale, zero)

    def _unshifted(self, makers: Mapping[str, Call], value: Any) -> tuple[Any, Any]:
        """What a zero point was added to or taken from, and that; 0 without one."""
        made = makers.get(value.name) if isinstance(value, Name) else None
        if made is None or made.op not in SHIFTS:
            return value, 0
        other = made.args[1]
        return made.args[0], self._constant(makers, other) if isinstance(other, Name) else other

    def _named(self, makers: Mapping[str, Call], value: Any) -> str | None:
        while isinstance(value, Name):
            if value.name in self.constants:
                return value.name
            made = makers.get(value.name)
            if made is None or made.op not in SHAPING:
                return None
            value = made.args[0]
        return None

    def _constant(self, makers: Mapping[str, Call], value: Any) -> Tensor | None:
        name = self._named(makers, value)
        return None if name is None else self.constants[name]

    def weighted(self) -> int:
        """The number of layers whose operand is a weight."""
        makers = self.makers()
        held = {call.result for call in self.calls if self._of_weight(makers, call)}
        return sum(
            1
            for call in self.calls
            if call.op in WEIGHTED
            and any(
                isinstance(a, Name) and (a.name in held or self._named(makers, a))
                for a in call.args[1:2]
            )
        )

    def _of_weight(self, makers: Mapping[str, Call], call: Call) -> bool:
        """Whether the result is a weight, as such or transposed."""
        while call.op in MOVING and isinstance(call.args[0], Name):
            made = makers.get(call.args[0].name)
            if made is None:
                return call.args[0].name in self.constants
            call = made
        if call.op != MUL:
            return False
        return self._named(makers, self._unshifted(makers, call.args[0])[0]) is not None


CLAMP, ROUND, MUL = "clamp", "round", "mul"
MOVING = frozenset({"t", "transpose", "permute", "reshape"})


def _use(name: str, dtype: str, scale: Tensor, zero: Any) -> GridUse:
    points = zero.reshape(-1) if isinstance(zero, Tensor) else torch.tensor([zero or 0])
    return GridUse(
        name,
        dtype,
        (float(scale.min()), float(scale.max())),
        (int(points.min()), int(points.max())),
        scale.numel(),
    )
