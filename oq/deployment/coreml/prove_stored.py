"""Is every number of the Q/DQ file in the package: scales, zero points, codes of weights."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from oq.artifacts.mlpackage.grids import Quantizer, Weight
from oq.deployment.coreml.stored import Codes, Palette
from oq.model.qdq import PAIR, Q, codes_dtype, constant, pairs, stored
from oq.model.view import GraphView, NodeView
from oq.numerics.values import Array

STORED = frozenset({"int8", "uint8", "int4", "uint4"})
"""Types of codes that a program stores; an int32 bias is float in it."""


@dataclass(frozen=True, slots=True)
class Stored:
    """How many pairs and weights were compared, codes of weights among them, and what differs."""

    quantizers: int
    weights: int
    codes: int
    wrong: tuple[str, ...]


def compare_stored(
    view: GraphView,
    names: Mapping[str, str],
    quantizers: tuple[Quantizer, ...],
    weights: tuple[Weight, ...],
    *,
    half: bool,
) -> Stored:
    """The constants of the Q/DQ graph ``view`` against those of a package.

    ``names``: ONNX tensor -> the program's; ``half``: scales are stored as float16.
    """
    there = {q.output: q for q in quantizers}
    held = {w.tensor: w for w in weights}
    wrong: list[str] = []
    counts = [0, 0, 0]
    for node in pairs(view):
        if not _of_weight(view, node):
            name = names.get(node.outputs[0])
            if name is None or node.op not in PAIR:
                continue
            counts[0] += 1
            wrong += _grid_differs(view, node, there.get(name), half)
        elif node.op != Q and codes_dtype(view, node) in STORED:
            found = _find(view, node, names, held)
            counts[1] += 1
            counts[2] += 0 if found is None else found.codes.size
            wrong += _weight_differs(view, node, found, half)
    return Stored(counts[0], counts[1], counts[2], tuple(wrong))


def _find(
    view: GraphView, node: NodeView, names: Mapping[str, str], held: Mapping[str, Weight]
) -> Weight | None:
    """The weight of ``node`` in the package; equal ones are stored once, by the name of one."""
    for name in _calls(names, node.outputs[0]):
        if name in held:
            return held[name]
    codes, scale = constant(view, node, 0), constant(view, node, 1)
    if codes is None or scale is None:
        return None
    alike = (w for w in held.values() if _same_codes(codes, w.codes))
    return next((w for w in alike if w.scale.size == scale.size), None)


def _of_weight(view: GraphView, node: NodeView) -> bool:
    return view.is_constant(node.inputs[0]) or stored(view, node)


def _calls(names: Mapping[str, str], tensor: str) -> tuple[str, ...]:
    name = names.get(tensor, tensor)
    return name, f"{name}_cast_fp16"


def _real(scale: Array, half: bool) -> Array:
    return scale.astype(np.float16 if half else np.float32).astype(np.float32).reshape(-1)


def _grid_differs(
    view: GraphView, node: NodeView, found: Quantizer | None, half: bool
) -> Iterator[str]:
    where = f"{node.name!r} ({node.op})"
    if found is None:
        yield f"{where} is not in the package"
        return
    scale, zero = constant(view, node, 1), constant(view, node, 2)
    if not _same_scale(scale, found.scale, half):
        yield f"{where}: scale {found.scale} in the package, {scale} in the file"
    if not _same_zero(zero, found.zero_point):
        yield f"{where}: zero point {found.zero_point} in the package, {zero} in the file"
    if found.dtype != codes_dtype(view, node):
        yield f"{where}: {found.dtype} in the package, {codes_dtype(view, node)} in the file"


def _weight_differs(
    view: GraphView, node: NodeView, found: Weight | None, half: bool
) -> Iterator[str]:
    where = f"weight {node.outputs[0]!r}"
    if found is None:
        yield f"{where} is not in the package"
        return
    scale, zero = constant(view, node, 1), constant(view, node, 2)
    codes = constant(view, node, 0)
    if codes is not None and not _same_codes(codes, found.codes):
        yield f"{where}: its codes differ"
    if not _same_scale(scale, found.scale, half):
        yield f"{where}: its scales differ"
    if not _same_zero(zero, found.zero_point):
        yield f"{where}: its zero points differ"


def _same_scale(scale: Array | None, found: Array, half: bool) -> bool:
    return scale is not None and np.array_equal(_real(scale, half), found.reshape(-1))


def _same_zero(zero: Array | None, found: Array) -> bool:
    """Equal; none in the file means 0 everywhere."""
    expected = np.zeros(1, np.int32) if zero is None else zero.reshape(-1).astype(np.int32)
    return bool(np.all(found.reshape(-1).astype(np.int32) == expected))


def _same_codes(codes: Array, found: Array) -> bool:
    """Equal, or equal with the last two axes swapped, as linear layers have them."""
    if np.array_equal(codes, found):
        return True
    return codes.ndim == 2 and np.array_equal(codes.T, found)


def compare_compressed(
    compressed: Mapping[str, Codes | Palette],
    names: Mapping[str, str],
    weights: tuple[Weight, ...],
    *,
    half: bool,
) -> Stored:
    """Weights that oq compressed against those of a package: codes, scales, palettes."""
    held = {w.tensor: w for w in weights}
    wrong, codes = [], 0
    for tensor, given in compressed.items():
        found = next((held[n] for n in _calls(names, tensor) if n in held), None)
        if found is None:
            wrong.append(f"weight {tensor!r} is not in the package")
            continue
        codes += found.codes.size
        if not _same_codes(given.codes, found.codes):
            wrong.append(f"weight {tensor!r}: its codes differ")
        wanted = given.tables if isinstance(given, Palette) else given.scale
        numbers = found.lut if isinstance(given, Palette) else found.scale
        if numbers is None or not _same_numbers(_real(wanted, half), numbers.reshape(-1)):
            wrong.append(f"weight {tensor!r}: its scales or palettes differ")
    return Stored(0, len(compressed), codes, tuple(wrong))


def _same_numbers(given: Array, found: Array) -> bool:
    """Equal in some order of axes: those of a transposed weight lie otherwise."""
    return np.array_equal(np.sort(given), np.sort(found))
