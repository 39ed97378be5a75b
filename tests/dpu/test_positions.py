"""Every inequality at its bounds and one step beyond, and what repairing leaves behind."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oq.dpu.legalize import solve_positions
from oq.dpu.places import Place
from oq.dpu.positions import ROWS, violations
from oq.errors import ModelError

ONE = Place("", "n", ("x",), None, None, "y", sloped=False, relu6=False)
TWO = replace(ONE, inputs=("x", "z"))
LAYER = replace(ONE, weight="w", bias="b")
LEAKY = replace(LAYER, sloped=True)
RELU6 = replace(ONE, relu6=True)

CASES: list[tuple[str, Place, dict[str, int], dict[str, int]]] = [
    # all equal, at the coarsest
    ("Concat", TWO, {"x": 4, "z": 4, "y": 4}, {}),
    ("Concat", TWO, {"x": 4, "z": 5, "y": 6}, {"x": 4, "z": 4, "y": 4}),
    ("MaxPool", ONE, {"x": 4, "y": 3}, {"x": 3, "y": 3}),
    ("AveragePool", ONE, {"x": 3, "y": 5}, {"x": 3, "y": 3}),
    ("GlobalAveragePool", ONE, {"x": 3, "y": 5}, {"x": 3, "y": 3}),
    ("Pad", ONE, {"x": 3, "y": 5}, {"x": 3, "y": 3}),
    ("Slice", ONE, {"x": 3, "y": 5}, {"x": 3, "y": 3}),
    # shift_read: at most 7 bits between the operands
    ("Add", TWO, {"x": 9, "z": 2, "y": 2}, {}),
    ("Add", TWO, {"x": 10, "z": 2, "y": 2}, {"x": 9}),
    ("Sub", TWO, {"x": 0, "z": 8, "y": 0}, {"z": 7}),
    # shift_write: -7 <= min(ipos) - opos <= 15; too fine an output and too fine an input give way
    ("Add", TWO, {"x": 3, "z": 4, "y": 10}, {}),
    ("Add", TWO, {"x": 3, "z": 4, "y": 11}, {"y": 10}),
    ("Add", TWO, {"x": 11, "z": 12, "y": -4}, {}),
    ("Add", TWO, {"x": 12, "z": 13, "y": -4}, {"x": 11, "z": 11}),
    # Mul: 0 <= sum(ipos) - opos <= 32, -15 <= min(ipos) - opos <= 15
    ("Mul", TWO, {"x": 3, "z": 4, "y": 7}, {}),
    ("Mul", TWO, {"x": 3, "z": 4, "y": 8}, {"y": 7}),
    ("Mul", TWO, {"x": 20, "z": 14, "y": 1}, {"x": 19}),
    ("Mul", TWO, {"x": 16, "z": 15, "y": 0}, {}),
    ("Mul", TWO, {"x": 16, "z": 16, "y": 0}, {"x": 15, "z": 15}),
    ("Mul", TWO, {"x": -4, "z": 17, "y": 12}, {"y": 11}),
    # shift_cut: 0 <= wpos + ipos - opos <= 16
    ("Conv", LAYER, {"x": 5, "w": 7, "b": 7, "y": 12}, {}),
    ("Conv", LAYER, {"x": 5, "w": 7, "b": 7, "y": 13}, {"y": 12}),
    ("Gemm", LAYER, {"x": 5, "w": 14, "b": 7, "y": 3}, {}),
    ("Gemm", LAYER, {"x": 5, "w": 15, "b": 7, "y": 3}, {"w": 14}),
    # shift_bias: at most 15 up; down by 16 - shift_cut bits, by none before a LeakyRelu
    ("Conv", LAYER, {"x": 5, "w": 12, "b": 2, "y": 1}, {}),
    ("Conv", LAYER, {"x": 5, "w": 12, "b": 1, "y": 1}, {"w": 11}),
    ("Conv", LAYER, {"x": 2, "w": 4, "b": 20, "y": 4}, {}),  # cut 2: shift -14 = -(16 - 2)
    ("Conv", LAYER, {"x": 2, "w": 4, "b": 21, "y": 4}, {"b": 20}),
    ("Conv", LEAKY, {"x": 2, "w": 4, "b": 6, "y": 4}, {}),
    ("Conv", LEAKY, {"x": 2, "w": 4, "b": 7, "y": 4}, {"b": 6}),
    ("ConvTranspose", LEAKY, {"x": 2, "w": 4, "b": 7, "y": 4}, {"b": 6}),
    # HardSigmoid: 0 <= ipos <= 15, opos >= 7, 0 <= 14 + ipos - opos <= 31
    ("HardSigmoid", ONE, {"x": 0, "y": 7}, {}),
    ("HardSigmoid", ONE, {"x": -1, "y": 7}, {"x": 0, "y": 7}),
    ("HardSigmoid", ONE, {"x": 16, "y": 7}, {"x": 15, "y": 7}),
    ("HardSigmoid", ONE, {"x": 4, "y": 6}, {"x": 4, "y": 7}),
    ("HardSigmoid", ONE, {"x": 4, "y": 19}, {"x": 4, "y": 18}),
    # x * HardSigmoid(x): 0 <= sum(ipos) - opos <= 15
    ("Swish", TWO, {"x": 5, "z": 7, "y": 5}, {}),
    ("Swish", TWO, {"x": 5, "z": 7, "y": -4}, {"z": 6}),
    ("Swish", TWO, {"x": 5, "z": 7, "y": 13}, {"y": 12}),
    ("HardSwish", ONE, {"x": 5, "y": -3}, {}),
    ("HardSwish", ONE, {"x": 5, "y": -4}, {"x": 4, "y": -4}),
    ("HardSwish", ONE, {"x": 5, "y": 13}, {"x": 5, "y": 12}),
    # ReLU6: code 96 is 6 at position 4, and 12 at 3
    ("Add", replace(TWO, relu6=True), {"x": 4, "z": 4, "y": 4}, {}),
    ("Add", replace(TWO, relu6=True), {"x": 4, "z": 4, "y": 3}, {"y": 4}),
    ("Add", replace(TWO, relu6=True), {"x": 4, "z": 4, "y": 6}, {}),
]


@pytest.mark.parametrize(("op", "place", "at", "moves"), CASES)
def test_bounds(op: str, place: Place, at: dict[str, int], moves: dict[str, int]) -> None:
    found = violations(replace(place, op=op), at)
    assert [b.moves for _, b in found] == ([moves] if moves else [])
    if moves:
        assert not violations(replace(place, op=op), {**at, **moves})


def test_every_row_is_in_a_case() -> None:
    named = {name for op, p, at, m in CASES for name, _ in violations(replace(p, op=op), at)}
    assert named == {row.name for row in ROWS}


def test_words() -> None:
    ((name, violation),) = violations(replace(LAYER, op="Conv"), {"x": 5, "w": 15, "b": 7, "y": 3})
    assert (name, violation.message) == (
        "shift_cut",
        "shift_cut = 15 + 5 - 3 = 17 is outside 0..16",
    )
    ((_, violation),) = violations(replace(TWO, op="Add", relu6=True), {"x": 4, "z": 4, "y": 2})
    assert violation.message == "a ReLU6 at position 2: the DPU cuts it off at 24, not at 6"


def test_what_alignment_ties_moves_together() -> None:
    """The pool's output lies in the Concat, and so does the Conv's output behind the pool."""
    places = (
        replace(LAYER, op="Conv", output="c"),
        Place("MaxPool", "p", ("c",), None, None, "d", sloped=False, relu6=False),
        Place("Concat", "k", ("d", "e"), None, None, "f", sloped=False, relu6=False),
    )
    at, moved = solve_positions(places, {"x": 5, "w": 7, "b": 7, "c": 6, "d": 5, "e": 4, "f": 3})
    assert {g: at[g] for g in "cdef"} == dict.fromkeys("cdef", 3)
    assert set(moved) == {"c", "d", "e"} and set(moved.values()) == {"align"}
    assert (at["x"], at["w"], at["b"]) == (5, 7, 7)


def test_a_least_position_pushes_what_lies_beside_it() -> None:
    """A ReLU6 (4 or finer) added to what lies at -5, 9 bits apart: the other operand moves."""
    places = (
        Place("Relu", "r", ("x",), None, None, "z", sloped=False, relu6=True),
        Place("Add", "a", ("z", "s"), None, None, "y", sloped=False, relu6=False),
    )
    at, moved = solve_positions(places, {"x": 4, "z": 4, "s": -5, "y": -5})
    assert at == {"x": 4, "z": 4, "s": -3, "y": -5} and moved == {"s": "shift_read"}


def test_demands_without_end_are_an_error_with_words() -> None:
    """x * x + x on values of thousands: the product needs half the position, and x follows it."""
    places = (
        Place("Mul", "m", ("x", "x"), None, None, "y", sloped=False, relu6=False),
        Place("Add", "a", ("y", "x"), None, None, "z", sloped=False, relu6=False),
    )
    with pytest.raises(
        ModelError, match=r"no positions satisfy the DPU's constraints: .* keep one of these layers"
    ):
        solve_positions(places, {"x": -8, "y": -8, "z": -8})


OPS = ("Conv", "Gemm", "Add", "Sub", "Mul", "Concat", "MaxPool", "AveragePool", "HardSwish")
GRIDS = [f"g{i}" for i in range(8)]


@st.composite
def chains(draw: st.DrawFn) -> tuple[tuple[Place, ...], dict[str, int]]:
    places = []
    for i in range(1, len(GRIDS)):
        op = draw(st.sampled_from(OPS))
        pair = op in {"Add", "Sub", "Mul", "Concat"}
        other = (draw(st.sampled_from(GRIDS[:i])),) if pair else ()
        layer = op in {"Conv", "Gemm"}
        places.append(
            Place(
                op=op,
                node=f"n{i}",
                inputs=(GRIDS[i - 1], *other),
                weight=f"w{i}" if layer else None,
                bias=f"b{i}" if layer and draw(st.booleans()) else None,
                output=GRIDS[i],
                sloped=layer and draw(st.booleans()),
                relu6=False,
            )
        )
    names = {g for p in places for g in (*p.inputs, p.weight, p.bias, p.output) if g is not None}
    at = {name: draw(st.integers(-6, 20)) for name in sorted(names)}
    return tuple(places), at


@given(chains())
def test_repairs_end_legal_and_only_make_grids_coarser(
    case: tuple[tuple[Place, ...], dict[str, int]],
) -> None:
    """But for the input of a HardSwish, which is clamped to 0 or finer."""
    places, before = case
    try:
        after, moved = solve_positions(places, before)
    except ModelError:  # values beyond 127 that are multiplied and fed back have no end
        assert min(before.values()) < 0 or any(p.op == "HardSwish" for p in places)
        return
    assert not [b for p in places for b in violations(p, after)]
    assert set(moved) >= {g for g in before if before[g] != after[g]}
    pinned = any(p.op == "HardSwish" for p in places)
    assert pinned or all(after[g] <= before[g] for g in before)


@given(chains())
def test_legal_positions_stay(case: tuple[tuple[Place, ...], dict[str, int]]) -> None:
    places, before = case
    try:
        after, _ = solve_positions(places, before)
    except ModelError:
        return
    assert solve_positions(places, after) == (after, {})
