"""``--weights-only``: the large weights of a float model in few bits, activations in float.

``int8``: per output channel; ``int4``: one scale per :data:`BLOCK` neighbours along the input
channels (iOS 18); ``palette2`` to ``palette8``: that many bits point into a table of values, on
iOS 18 one table per :data:`GROUP` output channels.  Scale: max |w| / 127 or / 7, codes symmetric.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from oq.deployment.coreml.stored import Codes, Palette
from oq.errors import OptionError
from oq.model.ops import facts, weight_axis
from oq.model.view import GraphView, NodeView
from oq.numerics.values import Array

BLOCK = 32
GROUP = 16
SMALLEST = 2048
"""Weights of fewer numbers stay in float, as in ``coremltools.optimize``."""

FLOOR = float(np.finfo(np.float16).smallest_normal)
"""The smallest scale: the program's scales are float16."""

PALETTES: Mapping[int, tuple[int, ...]] = {17: (2, 4, 6, 8), 18: (2, 3, 4, 6, 8)}
"""Oldest system -> the bits of its palettes."""

INPUT_AXIS: Mapping[str, int] = {"Conv": 1, "ConvTranspose": 0, "MatMul": -2, "Gather": 1}
"""op -> the axis of its weight that it sums over, or along which the numbers of one row lie."""

TABLES: Mapping[str, tuple[int, int]] = {"Gather": (0, 0)}
"""op that looks rows up -> the slot of the table, and the axis of its rows."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What ``--weights-only`` names: palettes or codes, of ``bits``."""

    name: str
    bits: int
    palette: bool


def read_kind(name: str | None, ios: int) -> Kind | None:
    """The kind called ``name``; None for None.

    Raises:
        OptionError: there is none on that system.
    """
    if name is None:
        return None
    there = ["int8", *(["int4"] if ios >= 18 else []), *(f"palette{b}" for b in PALETTES[ios])]
    if name not in there:
        raise OptionError(f"--weights-only {name!r}: iOS {ios} has {', '.join(there)}")
    palette = name.startswith("palette")
    bits = int(name.removeprefix("palette").removeprefix("int"))
    return Kind(name, bits, palette)


def compress(view: GraphView, kind: Kind, ios: int) -> dict[str, Codes | Palette]:
    """The large weights of ``view`` by tensor, as ``kind`` stores them."""
    found: dict[str, Codes | Palette] = {}
    for node in view.nodes:
        place = _place(view, node)
        if place is None or place[0] in found:
            continue
        tensor, axis, along = place
        weight = np.asarray(view.constants[tensor]).astype(np.float32)
        if weight.size < SMALLEST or not np.isfinite(weight).all():
            continue
        if kind.palette:
            found[tensor] = palettize(tensor, weight, kind.bits, axis, GROUP if ios >= 18 else 0)
        elif kind.bits == 8:
            found[tensor] = per_channel(tensor, weight, axis)
        else:
            found[tensor] = in_blocks(tensor, weight, axis, along)
    return found


def _place(view: GraphView, node: NodeView) -> tuple[str, int, int] | None:
    """The weight of ``node``, the axis of its output channels and that of its input channels."""
    row, table = facts(node.op), TABLES.get(node.op)
    slot = table[0] if table is not None else None if row is None else row.weight
    if slot is None or (node.op not in INPUT_AXIS and node.op not in BY_FLAG):
        return None
    tensor = node.input(slot)
    if not tensor or not view.is_constant(tensor) or not view.is_float(tensor):
        return None
    rank = np.ndim(view.constants[tensor])
    if rank < 2 or (table is not None and node.attributes.get("axis", 0)):
        return None
    axis = table[1] if table is not None else weight_axis(node.op, node.attributes, rank)
    if axis is None:
        return None
    along = 1 - axis if node.op in BY_FLAG else INPUT_AXIS[node.op] % rank
    return tensor, axis, along


BY_FLAG = frozenset({"Gemm"})
"""Ops whose weight is a matrix that lies as an attribute says."""


def per_channel(name: str, weight: Array, axis: int) -> Codes:
    """int8 codes with one scale per channel of ``axis``: max |w| / 127."""
    others = tuple(a for a in range(weight.ndim) if a != axis)
    scale = _scale(np.abs(weight).max(axis=others, keepdims=True), 127)
    codes = np.clip(np.rint(weight / scale), -127, 127).astype(np.int8)
    return Codes(name, codes, scale.reshape(-1), None, axis)


def in_blocks(name: str, weight: Array, axis: int, along: int) -> Codes:
    """4-bit codes with one scale per channel of ``axis`` and :data:`BLOCK` neighbours of ``along``
    (all of them where they do not divide): max |w| / 7."""
    size = weight.shape[along]
    block = BLOCK if size % BLOCK == 0 else size
    parted = weight.reshape(*weight.shape[:along], size // block, block, *weight.shape[along + 1 :])
    place = axis if axis < along else axis + 1
    others = tuple(a for a in range(parted.ndim) if a not in {place, along})
    scale = _scale(np.abs(parted).max(axis=others, keepdims=True), 7)
    codes = np.clip(np.rint(parted / scale), -7, 7).astype(np.int8).reshape(weight.shape)
    return Codes(name, codes, np.squeeze(scale, along + 1), None, axis, block, 4)


def _scale(largest: Array, codes: int) -> Array:
    """Scales on the grid of float16, that the largest value does not exceed by rounding."""
    wanted = np.maximum(largest / codes, FLOOR).astype(np.float16).astype(np.float32)
    return wanted


def palettize(name: str, weight: Array, bits: int, axis: int, group: int) -> Palette:
    """The ``2 ** bits`` values with the least squared error, by Lloyd's iteration on sorted values,
    for each ``group`` channels of ``axis`` (for all where 0, or where they do not divide)."""
    channels = weight.shape[axis]
    count = channels // group if group and channels % group == 0 else 1
    parts = np.split(np.moveaxis(weight, axis, 0), count)
    tables = np.stack([_table(part.reshape(-1), 2**bits) for part in parts])
    places = [
        np.searchsorted((t[1:] + t[:-1]) / 2, part).astype(np.uint8)
        for t, part in zip(tables, parts, strict=True)
    ]
    codes = np.ascontiguousarray(np.moveaxis(np.concatenate(places), 0, axis))
    return Palette(name, codes, tables, axis, bits)


BINS = 64
"""Of the histogram that the iteration starts from."""

ROUNDS = 100
"""Of Lloyd's iteration, at most."""


def _table(values: Array, size: int) -> Array:
    """``size`` ascending float16 numbers close to ``values``.

    Starts where many levels are best, as dense as the cube root of the density (Panter and Dite
    1951), and goes on by Lloyd's iteration (1982).
    """
    ordered = np.sort(values.astype(np.float64))
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    counts, edges = np.histogram(ordered, BINS)
    reached = np.concatenate([[0.0], np.cumsum(np.cbrt(counts))])
    table = np.interp((np.arange(size) + 0.5) / size * reached[-1], reached, edges)
    for _ in range(ROUNDS):
        ends = np.searchsorted(ordered, (table[1:] + table[:-1]) / 2)
        edges = np.concatenate([[0], ends, [len(ordered)]])
        counts = np.diff(edges)
        means = np.where(counts > 0, np.diff(sums[edges]) / np.maximum(counts, 1), table)
        if np.array_equal(means, table):
            break
        table = means
    return np.sort(table.astype(np.float16)).astype(np.float32)
