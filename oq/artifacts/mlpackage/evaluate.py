"""An ML program computed in NumPy: operation by operation, each result held to its declared type.

Floats are float32 inside.  In the declared arithmetic, what a program declares as float16 is
rounded to float16 after each operation, which accumulates in float32; in the exact one it is not.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from oq.artifacts.mlpackage.dtypes import FLOATS, numpy_dtype
from oq.artifacts.mlpackage.ops.table import call
from oq.artifacts.mlpackage.program import Operation, Program, TensorType
from oq.errors import DataError, ModelError, one_line
from oq.numerics.values import Array

STORED = "constexpr_"
"""How operations are called that unpack a constant: computed once."""


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """A program to be computed, in one arithmetic (``exact``: float16 is not rounded)."""

    program: Program
    exact: bool = False
    kept: dict[str, Array] = field(default_factory=dict)

    def run(
        self,
        feeds: Mapping[str, Array],
        wanted: Collection[str],
        forced: Mapping[str, Array],
    ) -> dict[str, Array]:
        """The tensors ``wanted`` by their name in the program, for one set of inputs.

        A tensor in ``forced`` is given as computed where it is wanted, and has the given values for
        all that reads it.

        Raises:
            ModelError: an operation or an input that oq does not evaluate, a result of another
                shape or type than declared, or a name that is none of the program's.
            DataError: a feed is missing, or has another shape.
        """
        values = {name: self._feed(name, kind, feeds) for name, kind in self.program.inputs.items()}
        found = {name: values[name] for name in wanted if name in values}
        needed, last = self._order({*wanted} - found.keys())
        for name in {*wanted, *forced} - {*values, *self.program.constants}:
            if not any(name == output for made in needed for output, _ in made.outputs):
                raise ModelError(f"the program has no tensor {name!r} on the way to what is asked")
        for place, made in enumerate(needed):
            for (name, kind), value in zip(made.outputs, self._compute(made, values), strict=True):
                if name in wanted:
                    found[name] = value
                values[name] = (
                    value if name not in forced else _forced(name, kind, forced[name], value)
                )
            for name in last.get(place, ()):
                values.pop(name, None)
        constants = {n: self._constant(n) for n in wanted if n in self.program.constants}
        return found | constants

    def _order(self, wanted: Collection[str]) -> tuple[list[Operation], dict[int, list[str]]]:
        """The operations that lead to ``wanted``, and after which of them a tensor is of no use."""
        reached, needed = set(wanted), []
        for made in reversed(self.program.operations):
            if any(name in reached for name, _ in made.outputs):
                needed.append(made)
                reached.update(_read(made))
        needed.reverse()
        users = {name: place for place, made in enumerate(needed) for name in _read(made)}
        last: dict[int, list[str]] = {}
        for name, place in users.items():
            last.setdefault(place, []).append(name)
        return needed, last

    def _compute(self, made: Operation, values: Mapping[str, Array]) -> tuple[Array, ...]:
        stored = made.kind.startswith(STORED)
        if stored and made.outputs[0][0] in self.kept:
            return tuple(self.kept[name] for name, _ in made.outputs)
        if made.blocks:
            raise ModelError(
                f"{made.name!r} ({made.kind}) holds blocks, which oq does not evaluate"
            )
        inputs = {
            key: tuple(
                (values[b] if b in values else self._constant(b))
                if isinstance(b, str)
                else _widen(b.values)
                for b in bindings
            )
            for key, bindings in made.inputs.items()
        }
        try:
            with np.errstate(all="ignore"):
                results = call(made.kind, inputs)
        except (ModelError, ValueError, IndexError) as error:
            raise ModelError(f"{made.name!r} ({made.kind}): {one_line(error)}") from error
        if len(results) != len(made.outputs):
            raise ModelError(f"{made.name!r} ({made.kind}) declares {len(made.outputs)} outputs")
        held = tuple(
            self._hold(made, name, kind, value)
            for (name, kind), value in zip(made.outputs, results, strict=True)
        )
        if stored:
            self.kept.update((name, v) for (name, _), v in zip(made.outputs, held, strict=True))
        return held

    def _hold(self, made: Operation, name: str, kind: TensorType, value: Array) -> Array:
        """A result in its declared type.

        Raises:
            ModelError: it is of another type or shape.
        """
        where = f"{name!r} ({made.kind})"
        if kind.dtype in FLOATS:
            if value.dtype.kind != "f":
                raise ModelError(f"{where} is declared {kind.dtype}, and is {value.dtype}")
            value = self._round(value, kind.dtype)
        elif kind.dtype == "string":
            return value
        elif value.dtype != numpy_dtype(kind.dtype):
            raise ModelError(f"{where} is declared {kind.dtype}, and is {value.dtype}")
        if not _fits(value.shape, kind.shape):
            raise ModelError(f"{where} is declared {kind.shape}, and is {value.shape}")
        return value

    def _round(self, value: Array, dtype: str) -> Array:
        if dtype == "float16" and not self.exact:
            with np.errstate(over="ignore"):
                value = value.astype(np.float16)
        return np.asarray(value, np.float32)

    def _constant(self, name: str) -> Array:
        return _widen(self.program.constants[name].values)

    def _feed(self, name: str, kind: TensorType, feeds: Mapping[str, Array]) -> Array:
        if name not in feeds:
            raise DataError(f"input {name!r} of the package gets no data")
        value = np.asarray(feeds[name])
        if not _fits(value.shape, kind.shape):
            raise DataError(f"input {name!r} of the package takes {kind.shape}, got {value.shape}")
        if kind.dtype in FLOATS:
            return self._round(value, kind.dtype)
        return value.astype(numpy_dtype(kind.dtype))


def _read(made: Operation) -> Iterable[str]:
    return (b for bindings in made.inputs.values() for b in bindings if isinstance(b, str))


def _widen(values: Array) -> Array:
    """Constants in what the operations compute in."""
    return values.astype(np.float32) if values.dtype.kind == "f" else values


def _fits(shape: tuple[int, ...], declared: tuple[int | None, ...] | None) -> bool:
    if declared is None:
        return True
    return len(shape) == len(declared) and all(
        b is None or a == b for a, b in zip(shape, declared, strict=True)
    )


def _forced(name: str, kind: TensorType, given: Array, computed: Array) -> Array:
    """What stands for a computed tensor.

    Raises:
        ModelError: it has another shape or type.
    """
    floats = kind.dtype in FLOATS and given.dtype.kind == "f"
    if given.shape != computed.shape or not (floats or given.dtype == computed.dtype):
        raise ModelError(
            f"{name!r} is {computed.dtype} {computed.shape}; forced are {given.dtype} {given.shape}"
        )
    return given.astype(computed.dtype, copy=False)
