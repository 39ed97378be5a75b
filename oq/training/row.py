"""The type of rows of the operator table, and what rows share.

A value between nodes is a tensor, or a NumPy array where it is a shape, an axis or a bound: those
stay on the host, as plain numbers, so that ``Reshape(x, Concat(Shape(x)[0], -1))`` reads no device
and a trace keeps its batch axis.  Such an array may hold symbols in place of integers (dtype
object), which ``torch.export`` writes for dynamic axes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from oq.errors import ModelError
from oq.numerics.values import Array

Value: TypeAlias = Tensor | Array
"""What a node reads or writes."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node as its row sees it: ``outputs`` is the number of them that have a name, ``codes`` the
    integer type that a QuantizeLinear writes."""

    name: str
    op: str
    attributes: Mapping[str, Any]
    opset: int
    outputs: int = 1
    codes: str = ""

    def get(self, attribute: str, default: Any = None) -> Any:
        """The value of ``attribute``."""
        return self.attributes.get(attribute, default)

    def refuse(self, what: str) -> ModelError:
        """The error that says ``what`` of this node has no form in torch."""
        return ModelError(f"node {self.name!r}: {self.op} with {what} cannot be run in torch here")


@dataclass(frozen=True, slots=True)
class Row:
    """What an operator computes.

    ``run(node, *inputs)`` gets a tensor per input, None for one that is left out, and a NumPy array
    for the slots ``host``; it returns a value or a tuple of them.  ``on_host`` does the same on
    NumPy arrays alone, where all inputs are such.  A float constant is a parameter, of any size at
    the slots ``learns`` and of more than one value elsewhere, but for the slots ``fixed``.
    """

    run: Callable[..., Any]
    learns: tuple[int, ...] = ()
    fixed: tuple[int, ...] = ()
    host: tuple[int, ...] = ()
    on_host: Callable[..., Any] | None = None


TORCH: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "float64": torch.float64,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float8_e4m3fn": torch.float8_e4m3fn,
    "int8": torch.int8,
    "int16": torch.int16,
    "int32": torch.int32,
    "int64": torch.int64,
    "uint8": torch.uint8,
    "uint16": torch.uint16,
    "uint32": torch.uint32,
    "bool": torch.bool,
    "int4": torch.int8,
    "uint4": torch.uint8,
}
"""NumPy's name of a type -> torch's; 4-bit codes take a byte each."""


def integers(values: Value) -> list[Any]:
    """``values`` as a flat list of integers, or of symbols that stand for some."""
    found = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    flat: list[Any] = found.reshape(-1).tolist()
    return [int(v) if isinstance(v, float) else v for v in flat]


def integer(values: Value) -> Any:
    """The only element of ``values``."""
    return integers(values)[0]


def to_tensor(values: Value, device: torch.device | None = None) -> Tensor:
    """``values`` as a tensor on ``device``."""
    if isinstance(values, Tensor):
        return values
    if values.dtype == object:
        flat = torch.stack([torch.as_tensor(v, device=device) for v in values.reshape(-1)])
        return flat.reshape(values.shape).to(torch.int64)
    dtype = TORCH.get(values.dtype.name)
    if dtype is None:
        raise ModelError(f"a constant of type {values.dtype.name} cannot be read in torch")
    if values.dtype.name in {"int4", "uint4"}:
        values = values.astype(values.dtype.name.replace("4", "8"))
    if values.dtype.name in {"bfloat16", "float8_e4m3fn"}:
        values = values.astype(np.float32)
    return torch.tensor(values.copy(), dtype=dtype, device=device)


def to_host(values: Value) -> Array:
    """``values`` as a NumPy array: of a tensor, what it holds now."""
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else values


def axes_of(node: Node, given: Value | None, slot_from: int) -> list[int] | None:
    """The axes of ``node``: an input from opset ``slot_from`` on, an attribute before; None where
    neither is there."""
    if given is not None:
        return integers(given)
    found = node.get("axes") if node.opset < slot_from else None
    return None if found is None else [int(a) for a in found]


def sizes_of(x: Value) -> Sequence[Any]:
    """The shape of ``x``."""
    return tuple(x.shape)
