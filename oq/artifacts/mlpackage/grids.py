"""The quantizers and the stored weights of a program."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from oq.artifacts.mlpackage.dtypes import unpack
from oq.artifacts.mlpackage.program import Binding, Constant, Operation, Program
from oq.errors import ModelError
from oq.numerics.values import Array


@dataclass(frozen=True, slots=True, eq=False)
class Quantizer:
    """A quantize (``kind`` "quantize") or dequantize operation: the tensor that it reads and the
    one that it gives, by their names in the program; ``dtype`` is that of the codes.  ``scale`` and
    ``zero_point`` are scalars, or vectors along ``axis``."""

    kind: str
    input: str
    output: str
    scale: Array
    zero_point: Array
    dtype: str
    axis: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Weight:
    """A weight stored compressed: ``tensor`` is the name of what it unpacks to, ``codes`` has the
    weight's shape.

    The value is ``scale (codes - zero_point)``: both scalars, vectors along ``axis``, or, where
    ``axis`` is None, of the rank of ``codes`` with one entry per block.  A palette has its entries
    in ``lut`` instead, whose last axis they are, with the axes of the groups before it."""

    kind: str
    tensor: str
    codes: Array
    dtype: str
    scale: Array
    zero_point: Array
    axis: int | None
    lut: Array | None = None


def find_quantizers(program: Program) -> tuple[Quantizer, ...]:
    """Every quantize and dequantize of a tensor that is computed."""
    return tuple(_quantizers(program))


def _quantizers(program: Program) -> Iterator[Quantizer]:
    types = {n: t for made in program.operations for n, t in made.outputs} | dict(program.inputs)
    for made in program.operations:
        if made.kind not in ("quantize", "dequantize") or _is_stored(program, made):
            continue
        source, (output, given) = _input(made, "input"), made.outputs[0]
        if not isinstance(source, str):
            continue
        scale, zero, axis = _grid(program, made, "scale", "zero_point")
        dtype = given.dtype if made.kind == "quantize" else types[source].dtype
        yield Quantizer(made.kind, source, output, scale, zero, dtype, axis)


def find_weights(program: Program) -> tuple[Weight, ...]:
    """Every constant that is stored compressed: by a ``constexpr_`` operation, or as a constant
    that a dequantize reads."""
    return tuple(_weights(program))


AFFINE: Mapping[str, tuple[str, str, str]] = {
    "constexpr_affine_dequantize": ("quantized_data", "scale", "zero_point"),
    "constexpr_blockwise_shift_scale": ("data", "scale", "offset"),
    "dequantize": ("input", "scale", "zero_point"),
}
"""Operation -> its inputs with codes, scales and zero points."""

PALETTE = "constexpr_lut_to_dense"


def _weights(program: Program) -> Iterator[Weight]:
    for made in program.operations:
        name = made.outputs[0][0]
        if made.kind in AFFINE and (made.kind != "dequantize" or _is_stored(program, made)):
            codes, scale, zero = AFFINE[made.kind]
            held = _constant(program, _input(made, codes))
            if held is None:
                continue
            grid = _grid(program, made, scale, zero)
            yield Weight(made.kind, name, held.values, held.type.dtype, *grid)
        elif made.kind == PALETTE:
            yield from _palette(program, made, name)


def _palette(program: Program, made: Operation, name: str) -> Iterator[Weight]:
    held = _constant(program, _input(made, "indices"))
    table = _constant(program, _input(made, "lut"))
    if held is None or table is None:
        return
    flat = "shape" in made.inputs
    entries = table.values if flat or not table.values.ndim else table.values[..., 0]
    bits, codes = int(entries.shape[-1] if entries.ndim else 0).bit_length() - 1, held.values
    if not (entries.ndim and entries.size) or entries.shape[-1] != 1 << bits:
        raise ModelError(f"{name!r} is a palette with a table of {table.values.shape}")
    if flat:
        sizes = made.outputs[0][1].shape or ()
        count = math.prod(n or 0 for n in sizes)
        codes = codes if bits == 8 else unpack(codes, count, f"uint{bits}")
        codes = codes.reshape([n or 0 for n in sizes])
    one, none = np.ones((), np.float32), np.zeros((), np.int8)
    yield Weight(made.kind, name, codes, f"uint{bits}", one, none, None, entries)


def _is_stored(program: Program, made: Operation) -> bool:
    return _constant(program, _input(made, "input")) is not None


def _input(made: Operation, key: str) -> Binding:
    """What feeds an input that takes one value.

    Raises:
        ModelError: there is none, or there are several.
    """
    bindings = made.inputs.get(key, ())
    if len(bindings) != 1:
        raise ModelError(f"input {key!r} of {made.name!r} ({made.kind}) has {len(bindings)} values")
    return bindings[0]


def _constant(program: Program, binding: Binding) -> Constant | None:
    return program.constants.get(binding) if isinstance(binding, str) else binding


def _grid(
    program: Program, made: Operation, scale: str, zero_point: str
) -> tuple[Array, Array, int | None]:
    """Scale, zero point (0 where none is given) and axis, as vectors where one axis has them.

    Raises:
        ModelError: the scales are not constant.
    """
    found = {
        key: held.values
        for key in (scale, zero_point, "axis")
        if key in made.inputs and (held := _constant(program, _input(made, key))) is not None
    }
    if scale not in found:
        raise ModelError(f"the scales of {made.name!r} ({made.kind}) are compressed themselves")
    factor = found[scale].astype(np.float32)
    if not factor.size:
        raise ModelError(f"{made.name!r} ({made.kind}) has no scales")
    zero = found.get(zero_point, np.zeros(factor.shape, np.int8))
    if "axis" in found and factor.ndim + zero.ndim:
        return factor, zero, int(found["axis"])
    long = [axis for axis, size in enumerate(factor.shape) if size > 1]
    codes = made.outputs[0][1].shape
    if not long:
        return factor.reshape(()), zero.reshape(()), None
    if len(long) == 1 and codes is not None and codes[long[0]] == factor.size:
        return factor.reshape(-1), zero.reshape(-1), long[0]
    return factor, zero, None
