"""The inequalities between the positions of one DPU kernel, which follow from its shifters.

    real = code * 2**-position: larger is finer

A row names the ops it applies to, and a function that returns None or a :class:`Violation`: a
message, and the positions that would satisfy it.  The same rows check files (:mod:`oq.dpu.checks`)
and repair grids (:mod:`oq.dpu.legalize`).

Bounds hold on both generations: they are the intersection of Quark's (``postprocess/refinement/
refine.py``: ``adjust_quantize_info``) and Vitis AI's (``vai_q_onnx/refine.py``).  Unlike both
tools, a repair never makes a scale smaller, so that no value that was in range is clipped.  Only
the outputs of ReLU6 and HardSigmoid have a minimum position (:func:`floors`), which may affect what
precedes them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from oq.dpu.places import Place
from oq.model.ops import CONVOLUTIONS, PRODUCTS

Positions = Mapping[str, int]
"""Grid name -> position."""

READ = 7
"""Maximum difference in bits between the operands of an Add."""
WRITE = (-7, 15)
"""Shift from an Add's sum to its output."""
PRODUCT = (0, 32)
PRODUCT_WRITE = (-15, 15)
CUT = (0, 16)
"""Shift from a convolution's accumulator to its output."""
BIAS = 15
"""Maximum left shift of a bias, in bits."""
ACCUMULATOR, CODE = 24, 8
GATE_INPUT, GATE_OUTPUT, GATE_BITS, GATE_SHIFT = (0, 15), 7, 14, (0, 31)
SWISH = (0, 15)
RELU6 = 4
"""Minimum position of a ReLU6: the hardware clips at the integer 96, which is 6 at this position,
and 12 and more at smaller ones.  At larger ones int8 saturates below 6, in the file as on the
DPU."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A violated inequality: a message, and grid -> position that would satisfy it."""

    message: str
    moves: Mapping[str, int]


Rule = Callable[[Place, Positions], Violation | None]


def aligned(place: Place, at: Positions) -> Violation | None:
    """Inputs and output have the same position, the smallest of them."""
    around = (*place.inputs, *_there(place.output))
    found = [at[g] for g in around]
    if len(set(found)) <= 1:
        return None
    return Violation(
        f"positions {_list(found)} around a {place.op} must be equal",
        dict.fromkeys(around, min(found)),
    )


def shift_read(place: Place, at: Positions) -> Violation | None:
    """``max(ipos) - min(ipos) <= 7``."""
    found = [at[g] for g in place.inputs]
    spread, limit = max(found) - min(found), min(found) + READ
    if spread <= READ:
        return None
    return Violation(
        f"the positions {_list(found)} of its operands differ by {spread}, more than {READ}",
        {g: limit for g in place.inputs if at[g] > limit},
    )


def shift_write(place: Place, at: Positions) -> Violation | None:
    """``-7 <= min(ipos) - opos <= 15``."""
    if place.output is None:
        return None
    return _write(place, place.output, at, min(at[g] for g in place.inputs), WRITE)


def shift_product(place: Place, at: Positions) -> Violation | None:
    """``0 <= sum(ipos) - opos <= 32`` and ``-15 <= min(ipos) - opos <= 15``."""
    if place.output is None or len(place.inputs) < 2:
        return None
    violation = _shift(place, place.output, at, PRODUCT)
    low = min(at[g] for g in place.inputs)
    return violation or _write(place, place.output, at, low, PRODUCT_WRITE)


def shift_swish(place: Place, at: Positions) -> Violation | None:
    """``0 <= sum(ipos) - opos <= 15``."""
    return None if place.output is None else _shift(place, place.output, at, SWISH)


def shift_cut(place: Place, at: Positions) -> Violation | None:
    """``0 <= wpos + ipos - opos <= 16``."""
    weight = place.weight
    if place.output is None or weight is None:
        return None
    ipos, wpos, opos = at[place.inputs[0]], at[weight], at[place.output]
    cut = wpos + ipos - opos
    words = f"shift_cut = {wpos} + {ipos} - {opos} = {cut} is outside {CUT[0]}..{CUT[1]}"
    if cut > CUT[1]:
        return Violation(words, {weight: opos - ipos + CUT[1]})
    return Violation(words, {place.output: wpos + ipos}) if cut < CUT[0] else None


def shift_bias(place: Place, at: Positions) -> Violation | None:
    """``min(0, shift_cut - 16) <= wpos + ipos - bpos <= 15``; from 0 if a LeakyRelu follows.

    If the bias position is too small, the weight's is reduced: a larger bias position would clip
    it.
    """
    weight = place.weight
    if place.output is None or weight is None or place.bias is None:
        return None
    ipos, wpos, bpos = at[place.inputs[0]], at[weight], at[place.bias]
    cut, shift = wpos + ipos - at[place.output], wpos + ipos - bpos
    low = 0 if place.sloped else min(0, -(ACCUMULATOR - (CODE + cut)))
    words = f"shift_bias = {wpos} + {ipos} - {bpos} = {shift} is outside {low}..{BIAS}"
    if shift > BIAS:
        return Violation(words, {weight: bpos - ipos + BIAS})
    return Violation(words, {place.bias: wpos + ipos - low}) if shift < low else None


def gate_positions(place: Place, at: Positions) -> Violation | None:
    """HardSigmoid: ``0 <= ipos <= 15``, ``opos >= 7``, ``0 <= 14 + ipos - opos <= 31``."""
    if place.output is None:
        return None
    ipos, opos = at[place.inputs[0]], at[place.output]
    near = _clamp(ipos, GATE_INPUT)
    low, high = (GATE_BITS + near - s for s in reversed(GATE_SHIFT))
    end = _clamp(opos, (max(low, GATE_OUTPUT), high))
    if (near, end) == (ipos, opos):
        return None
    return Violation(
        f"positions {ipos} -> {opos} where a HardSigmoid takes 0..15 -> 7 or more",
        {place.inputs[0]: near, place.output: end},
    )


def swish_positions(place: Place, at: Positions) -> Violation | None:
    """HardSwish in one node: its gate is at 7, so ``0 <= ipos <= 15``, ``0 <= ipos + 7 - opos <=
    15``."""
    if place.output is None:
        return None
    ipos, opos = at[place.inputs[0]], at[place.output]
    near = min(_clamp(ipos, GATE_INPUT), opos + SWISH[1] - GATE_OUTPUT)
    end = min(opos, near + GATE_OUTPUT)
    if (near, end) == (ipos, opos):
        return None
    return Violation(
        f"positions {ipos} -> {opos} where a HardSwish takes 0..15 -> {near - 8}..{near + 7}",
        {place.inputs[0]: near, place.output: end},
    )


def relu6(place: Place, at: Positions) -> Violation | None:
    """``opos >= 4`` after a Clip to [0, 6]."""
    if not place.relu6 or place.output is None or at[place.output] >= RELU6:
        return None
    opos = at[place.output]
    return Violation(
        f"a ReLU6 at position {opos}: the DPU cuts it off at {96 * 2.0**-opos:g}, not at 6",
        {place.output: RELU6},
    )


def _shift(place: Place, output: str, at: Positions, bounds: tuple[int, int]) -> Violation | None:
    """The shift of a product of all inputs to its output lies within ``bounds``."""
    total, opos = sum(at[g] for g in place.inputs), at[output]
    low, high = bounds
    words = f"its shift {total} - {opos} = {total - opos} is outside {low}..{high}"
    if total - opos > high:
        finest = max(place.inputs, key=lambda g: at[g])
        return Violation(words, {finest: at[finest] - (total - opos - high)})
    return Violation(words, {output: total - low}) if total - opos < low else None


def _write(
    place: Place, output: str, at: Positions, low: int, bounds: tuple[int, int]
) -> Violation | None:
    """The shift of the coarsest input to the output lies within ``bounds``."""
    opos, (least, most) = at[output], bounds
    words = f"shift_write = {low} - {opos} = {low - opos} is outside {least}..{most}"
    if low - opos > most:
        return Violation(words, {g: opos + most for g in place.inputs if at[g] > opos + most})
    return Violation(words, {output: low - least}) if low - opos < least else None


def _there(grid: str | None) -> tuple[str, ...]:
    return () if grid is None else (grid,)


def _clamp(value: int, bounds: tuple[int, int]) -> int:
    return max(bounds[0], min(bounds[1], value))


def _list(found: list[int]) -> str:
    return ", ".join(map(str, found))


@dataclass(frozen=True, slots=True)
class Row:
    """A constraint: its name in AMD's tools, the ops it applies to (empty: all), and its
    function."""

    name: str
    ops: frozenset[str]
    rule: Rule


POOLS = ("MaxPool", "AveragePool", "GlobalAveragePool")
LAYERS = CONVOLUTIONS | PRODUCTS
"""ConvTranspose and MatMul are not in AMD's passes; they share the datapath."""

GATES = frozenset({"HardSigmoid"})

ALIGNED = Row("align", frozenset({"Concat", *POOLS, "Pad", "Slice"}), aligned)
ROWS = (
    ALIGNED,
    Row("relu6", frozenset(), relu6),
    Row("shift_read", frozenset({"Add", "Sub"}), shift_read),
    Row("shift_write", frozenset({"Add"}), shift_write),
    Row("shift_write", frozenset({"Mul"}), shift_product),
    Row("shift_cut", LAYERS, shift_cut),
    Row("shift_bias", LAYERS, shift_bias),
    Row("hard_sigmoid", GATES, gate_positions),
    Row("hard_swish", frozenset({"HardSwish"}), swish_positions),
    Row("shift_swish", frozenset({"Swish"}), shift_swish),
)
"""In the order of repair: the constraints of convolutions depend on the positions around them."""


def floors(place: Place) -> Mapping[str, int]:
    """Grid -> the minimum position that the op of ``place`` requires there."""
    if place.output is None:
        return {}
    if place.op in GATES:
        return {place.inputs[0]: GATE_INPUT[0], place.output: GATE_OUTPUT}
    return {place.output: RELU6} if place.relu6 else {}


def violations(place: Place, at: Positions) -> tuple[tuple[str, Violation], ...]:
    """The rows that ``place`` violates, each with its :class:`Violation`."""
    rows = (r for r in ROWS if not r.ops or place.op in r.ops)
    found = ((r.name, r.rule(place, at)) for r in rows)
    return tuple((name, violation) for name, violation in found if violation is not None)
