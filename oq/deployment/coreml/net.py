"""What the rows build in: the values of ONNX's tensors, and the names they get in the program."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from oq.deployment.coreml.library import Library
from oq.deployment.coreml.stored import Codes, Palette
from oq.errors import ModelError
from oq.model.names import claim_name
from oq.model.view import GraphView, NodeView
from oq.numerics.values import Array

NARROW = {"int64": "int32", "uint64": "int32", "float64": "float32", "bfloat16": "float32",
    "int16": "int32", "uint16": "int32", "uint32": "int32"}  # fmt: skip
"""Types that a program has not -> the ones it computes in."""

LIMITS = np.iinfo(np.int32)

RESERVED = frozenset(
    {"any", "bool", "program", "func", "tensor", "list", "dict", "tuple", "true", "false", "string",
     "bf16", "fp16", "fp32", "fp64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
     "uint64", "state"}
)  # fmt: skip
"""Words of MIL's text, which are not names; source: coremltools 9.0,
``passes/defs/preprocess.py``."""

HUGE = 1e38
"""Finite constants from here on are masks: what is added to scores so that softmax makes them 0."""

MASK = 3e4
"""A mask in float16, with room for a score; larger ones would be infinite, and 0 times that NaN."""


@dataclass(slots=True)
class Net:
    """A program being built.

    ``values``: ONNX tensor -> a NumPy array, `Codes`, a `Palette` or a variable of the program;
    ``names``: ONNX tensor -> its name in the program, where a variable has one; ``taken``: all
    names; ``half``: whether it will compute in float16; ``stored``: compressed constants that are
    there already, by tensor and order of axes; ``merged``: variable of more than 5 axes -> the same
    values with fewer, neighbours being one.
    """

    library: Library
    view: GraphView
    ios: int
    half: bool
    values: dict[str, Any] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=lambda: set(RESERVED))
    stored: dict[tuple[str, tuple[int, ...]], Any] = field(default_factory=dict)
    merged: dict[str, Any] = field(default_factory=dict)

    @property
    def mb(self) -> Any:
        """The builder of operators."""
        return self.library.mb

    # -- reading ----------------------------------------------------------------------------

    def known(self, tensor: str) -> Array | None:
        """The value of ``tensor`` where it does not depend on the inputs; None otherwise."""
        if not tensor:
            return None
        value = self.values[tensor] if tensor in self.values else self._constant(tensor)
        if isinstance(value, np.ndarray):
            return value
        found = None if isinstance(value, Codes | Palette) else value.val
        return None if found is None else np.asarray(found)

    def sizes(self, tensor: str) -> list[Any] | None:
        """The numbers of a shape that is computed, symbols where axes of the input are free; None
        where they depend on its values."""
        known = self.known(tensor)
        found = getattr(self.var(tensor), "sym_val", None) if known is None else known
        return None if found is None else list(np.asarray(found).reshape(-1))

    def required(self, node: NodeView, slot: int, what: str) -> Array:
        """The constant at input ``slot``; a `ModelError` that says ``what`` where it is none."""
        found = self.known(node.input(slot))
        if found is None:
            raise refusal(node, f"{what} must be a constant")
        return found

    def var(self, tensor: str) -> Any:
        """``tensor`` as an argument of an operator."""
        value = self.values[tensor] if tensor in self.values else self._constant(tensor)
        return self.weight(tensor) if isinstance(value, Codes | Palette) else value

    def codes(self, tensor: str) -> Codes | Palette | None:
        """The compressed constant that ``tensor`` is; None otherwise."""
        value = self.values.get(tensor)
        return value if isinstance(value, Codes | Palette) else None

    def shape(self, tensor: str) -> tuple[Any, ...]:
        """The axes of ``tensor``: sizes, and symbols where they are free."""
        found = self.codes(tensor)
        shape = self.var(tensor).shape if found is None else found.codes.shape
        return tuple(int(d) if is_size(d) else d for d in shape)

    def is_float(self, tensor: str) -> bool:
        """Whether ``tensor`` holds real numbers."""
        if self.codes(tensor) is not None:
            return True
        value = self.var(tensor)
        if isinstance(value, np.ndarray):
            return bool(value.dtype.kind == "f")
        return str(value.dtype.__name__).startswith("fp")

    def _constant(self, tensor: str) -> Array:
        return self.fitting(narrowed(np.asarray(self.view.constants[tensor])))

    def fitting(self, values: Array) -> Array:
        """Float constants of a float16 program, masks among them made small enough for it."""
        if not self.half or values.dtype.kind != "f":
            return values
        masks = (np.abs(values) >= HUGE) & np.isfinite(values)
        return np.where(masks, np.sign(values) * MASK, values).astype(values.dtype)

    # -- writing ----------------------------------------------------------------------------

    def name(self, wish: str) -> str:
        """A name of the program for ``wish``: letters, digits and _, a letter first, unique."""
        plain = re.sub(r"[^A-Za-z0-9_]", "_", wish).lstrip("_")
        plain = plain if re.match(r"[A-Za-z]", plain) else f"t_{plain}"
        return claim_name(plain, self.taken)

    def put(self, tensor: str, op: str, **arguments: Any) -> None:
        """``tensor`` is what the operator ``op`` computes, and has its name."""
        name = self.names.get(tensor) or self.name(tensor)
        self.values[tensor] = getattr(self.mb, op)(name=name, **arguments)
        self.names[tensor] = name

    def put_all(self, tensors: Sequence[str], op: str, **arguments: Any) -> None:
        """``tensors`` are what the operator ``op`` of several outputs computes."""
        found = getattr(self.mb, op)(name=self.name(f"{tensors[0]}_{op}"), **arguments)
        several = found if isinstance(found, list | tuple) else (found,)
        for tensor, value in zip(tensors, several, strict=False):
            if tensor:
                value.name = self.names.get(tensor) or self.name(tensor)
                self.values[tensor] = value
                self.names[tensor] = value.name

    def step(self, tensor: str, op: str, **arguments: Any) -> Any:
        """What ``op`` computes on the way to ``tensor``."""
        return getattr(self.mb, op)(name=self.name(f"{tensor}_{op}"), **arguments)

    def weight(self, tensor: str, order: Sequence[int] = ()) -> Any:
        """The constant ``tensor``, its axes in ``order`` (all as they are if empty): stored codes
        stay codes."""
        found = self.codes(tensor)
        if found is None:
            value = self.known(tensor)
            if value is None:
                return self.var(tensor)
            return value.transpose(order) if order else value
        key = (tensor, tuple(order))
        if key not in self.stored:
            moved = found.transposed(order) if order else found
            name = self.name(found.name)
            self.stored[key] = moved.build(self.library, self.ios, name)
            self.names.setdefault(tensor, name)
        return self.stored[key]


def is_size(axis: Any) -> bool:
    """Whether an axis is a number, not a symbol."""
    return isinstance(axis, int | np.integer)


def narrowed(values: Array) -> Array:
    """``values`` in a type that programs have; integers that do not fit become the closest."""
    wanted = NARROW.get(values.dtype.name)
    if wanted is None:
        return values
    if values.dtype.kind in "iu":
        values = np.asarray(np.clip(values, LIMITS.min, LIMITS.max))
    return values.astype(wanted)


def refusal(node: NodeView, why: str) -> ModelError:
    """The error that ``node`` has no form in a program."""
    return ModelError(f"--to coreml cannot express node {node.name!r} ({node.op}): {why}")


def axes_of(net: Net, node: NodeView, slot: int = 1, name: str = "axes") -> list[int] | None:
    """Axes that ``node`` has as an attribute or as a constant input; None where it names none."""
    if name in node.attributes:
        found = node.attributes[name]
        return [int(a) for a in (found if isinstance(found, list | tuple) else [found])]
    if node.input(slot):
        return [int(a) for a in net.required(node, slot, f"its {name}").reshape(-1)]
    return None
