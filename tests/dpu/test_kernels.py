"""Each operator's equation, worked out in Python's own integers and fractions."""

from collections.abc import Callable
from math import floor
from typing import Any

import numpy as np
import onnx
import pytest

from oq.dpu.fixed_point import DPU, NPU, Arithmetic
from tests.dpu.shifts import ShiftNet, codes, half_up, int8, two

ROW = ("n", 1, 1, 8)
X = [-128, -96, -37, -1, 0, 1, 90, 127]


def row(values: list[int], position: int) -> np.ndarray:
    return np.asarray(values, np.float32).reshape(1, 1, 1, -1) / 2.0**position


def point(
    weight: int,
    bias: int | None,
    positions: tuple[int, int, int, int],
    act: str = "",
    **more: float,
) -> onnx.ModelProto:
    """A 1x1 convolution of one channel; positions of input, weight, bias and output."""
    ipos, wpos, bpos, opos = positions
    net = ShiftNet()
    names = [net.pair(net.input("x", ROW), ipos), net.codes("w", [[[[weight]]]], wpos)]
    if bias is not None:
        names.append(net.codes("b", [bias], bpos))
    end = net.node("Conv", names, "c")
    if act == "Clip":
        net.constant("low", 0.0)
        net.constant("high", 6.0)
        end = net.node("Clip", [end, "low", "high"], "a")
    elif act:
        end = net.node(act, [end], "a", **more)
    return net.model(net.pair(end, opos))


def by_hand(x: int, w: int, b: int, positions: tuple[int, int, int, int]) -> int:
    """``(2 acc + floor(2 b 2**shift_bias)) / 2**(shift_cut + 1)``, rounded half up."""
    ipos, wpos, bpos, opos = positions
    shift_cut, shift_bias = wpos + ipos - opos, wpos + ipos - bpos
    t = (2 * x * w + floor(2 * b * two(shift_bias))) / two(shift_cut + 1)
    return int8(half_up(t))


@pytest.mark.parametrize(
    ("weight", "bias", "positions"),
    [
        (77, 0, (4, 6, 0, 3)),
        (-53, 41, (5, 7, 6, 4)),
        (127, -128, (4, 7, 11, 3)),
        (9, 33, (2, 3, 5, 1)),  # shift_bias 0
        (9, 33, (2, 3, 8, 4)),  # shift_bias -3: two bits of the bias are cut off
        (1, -127, (0, 3, 8, 3)),
        (3, 5, (1, 1, 4, 2)),
    ],
)
def test_convolution_with_bias(
    weight: int, bias: int, positions: tuple[int, int, int, int]
) -> None:
    found = codes(point(weight, bias, positions), positions[3], x=row(X, positions[0]))
    assert found == [[[[by_hand(x, weight, bias, positions) for x in X]]]]


def test_a_bias_cut_off_shows_where_ties_do_not_go_up() -> None:
    """Bias 6 at position 8 is 3/4 of a step of 5; its guard bit keeps 1/2, which is a tie."""
    model = point(1, 6, (2, 3, 8, 5))
    cut = Arithmetic("half to even, cut off", half_up=False)
    assert codes(model, 5, cut, x=row([0], 2)) == [[[[0]]]]
    assert codes(model, 5, NPU, x=row([0], 2)) == [[[[1]]]]
    assert codes(model, 5, DPU, x=row([0], 2)) == [[[[1]]]]  # up, as 3/4 does


def test_relu_comes_before_rounding() -> None:
    found = codes(point(1, None, (1, 0, 0, 0), "Relu"), 0, x=row([-3, -1, 1, 3], 1))
    assert found == [[[[0, 0, 1, 2]]]]


@pytest.mark.parametrize(("position", "six"), [(5, 127), (4, 96), (3, 96), (2, 96)])
def test_relu6_is_6_at_position_4_only(position: int, six: int) -> None:
    model = point(127, None, (0, 0, 0, position), "Clip")
    assert codes(model, position, x=row([-9, 0, 127], 0)) == [[[[0, 0, six]]]]


@pytest.mark.parametrize("opos", [3, 6])
def test_leaky_relu_multiplies_by_256ths_before_rounding(opos: int) -> None:
    """0.1 is 26 / 256 in hardware."""
    positions = (4, 6, 8, opos)
    found = codes(point(50, 20, positions, "LeakyRelu", alpha=0.1), opos, x=row(X, 4))
    totals = [(2 * x * 50 + floor(2 * 20 * two(2))) / two(10 - opos + 1) for x in X]
    leaked = [t * 26 / 256 if t < 0 else t for t in totals]
    assert found == [[[[int8(half_up(t)) for t in leaked]]]]


def test_other_slopes_are_kept_unless_the_hardware_has_one() -> None:
    model = point(1, None, (0, 0, 0, 0), "LeakyRelu", alpha=0.25)
    assert codes(model, 0, x=row([-100], 0)) == [[[[-25]]]]
    edge = Arithmetic("edge", leaky=26)
    assert codes(model, 0, edge, x=row([-100], 0)) == [[[[half_up(-100 * two(-8) * 26)]]]]


def test_prelu_uses_the_codes_of_its_slope() -> None:
    net = ShiftNet()
    net.node("PRelu", [net.pair(net.input("x", ROW), 3), net.codes("s", [5], 4)], "y")
    expected = [int8(half_up(x * two(-4) * 5)) if x < 0 else x for x in X]
    assert codes(net.model(net.pair("y", 3)), 3, x=row(X, 3)) == [[[[*expected]]]]


def pairs(op: str, positions: tuple[int, int, int]) -> onnx.ModelProto:
    net = ShiftNet()
    first, second, out = positions
    names = [net.pair(net.input("x", ROW), first), net.pair(net.input("z", ROW), second)]
    net.node(op, names, "y")
    return net.model(net.pair("y", out))


Z = [127, -5, 64, -1, 0, 1, -128, 3]


@pytest.mark.parametrize("positions", [(4, 4, 4), (6, 3, 3), (3, 7, 5), (8, 1, 5), (1, 8, 4)])
@pytest.mark.parametrize(("op", "guard"), [("Add", 2), ("Sub", 7), ("Max", 7), ("Min", 7)])
def test_sums_keep_their_guard_bits(op: str, guard: int, positions: tuple[int, int, int]) -> None:
    first, second, out = positions
    low = min(first, second)
    works: dict[str, Callable[[int, int], int]] = {
        "Add": lambda a, b: a + b,
        "Sub": lambda a, b: a - b,
        "Max": max,
        "Min": min,
    }
    expected = []
    for x, z in zip(X, Z, strict=True):
        a = floor(x * two(guard) / two(first - low))
        b = floor(z * two(guard) / two(second - low))
        expected.append(int8(half_up(works[op](a, b) / two(guard) / two(low - out))))
    feeds: dict[str, Any] = {"x": row(X, first), "z": row(Z, second)}
    assert codes(pairs(op, positions), out, **feeds) == [[[expected]]]


def test_what_add_loses_below_its_guard_bits() -> None:
    """15 at position 8 is 15/128 of a step of position 1: two bits hold none of it."""
    feeds: dict[str, Any] = {"x": row([15, 31, 32, -1], 8), "z": row([0] * 4, 1)}
    assert codes(pairs("Add", (8, 1, 4)), 4, **feeds) == [[[[0, 0, 2, -2]]]]
    assert codes(pairs("Sub", (8, 1, 4)), 4, **feeds) == [[[[1, 2, 2, 0]]]]  # seven bits do


@pytest.mark.parametrize("out", [0, 5, 9])
def test_products_are_exact(out: int) -> None:
    expected = [int8(half_up(x * z / two(9 - out))) for x, z in zip(X, Z, strict=True)]
    feeds: dict[str, Any] = {"x": row(X, 4), "z": row(Z, 5)}
    assert codes(pairs("Mul", (4, 5, out)), out, **feeds) == [[[expected]]]


@pytest.mark.parametrize(("side", "n", "m"), [(3, 7, 6), (7, 21, 10), (14, 21, 12), (4, 1, 4)])
@pytest.mark.parametrize("op", ["GlobalAveragePool", "AveragePool", "ReduceMean"])
def test_means_multiply_and_shift(op: str, side: int, n: int, m: int) -> None:
    net = ShiftNet()
    x = net.pair(net.input("x", ("n", 1, side, side)), 5)
    if op == "AveragePool":
        net.node(op, [x], "y", kernel_shape=[side, side])
    elif op == "ReduceMean":
        net.constant("axes", [2, 3], np.int64)
        net.node(op, [x, "axes"], "y")
    else:
        net.node(op, [x], "y")
    values = np.random.default_rng(side).integers(60, 128, (side, side))
    expected = int8(half_up(int(values.sum()) * n * two(6 - 5 - m)))
    feeds = values.reshape(1, 1, side, side) / 32.0
    assert codes(net.model(net.pair("y", 6)), 6, x=feeds) == [[[[expected]]]]


@pytest.mark.parametrize(("ipos", "opos"), [(4, 7), (2, 8), (5, 7)])
def test_hard_sigmoid(ipos: int, opos: int) -> None:
    net = ShiftNet()
    net.node("HardSigmoid", [net.pair(net.input("x", ROW), ipos)], "y", alpha=1 / 6, beta=0.5)
    lines = [max(0, 2731 * x + 3 * 2731 * 2**ipos) for x in X]
    expected = [int8(half_up(t / two(14 + ipos - opos))) for t in lines]
    assert codes(net.model(net.pair("y", opos)), opos, x=row(X, ipos)) == [[[expected]]]


@pytest.mark.parametrize(("ipos", "opos"), [(4, 4), (5, 3)])
def test_hard_swish_rounds_its_gate_to_position_7(ipos: int, opos: int) -> None:
    net = ShiftNet()
    net.node("HardSwish", [net.pair(net.input("x", ROW), ipos)], "y")
    lines = [max(0, 2731 * x + 3 * 2731 * 2**ipos) for x in X]
    gates = [int8(half_up(t / two(7 + ipos))) for t in lines]
    expected = [int8(half_up(x * h * two(opos - ipos - 7))) for x, h in zip(X, gates, strict=True)]
    assert codes(net.model(net.pair("y", opos)), opos, x=row(X, ipos)) == [[[expected]]]


@pytest.mark.parametrize("side", [3, 7])
def test_a_factor_that_the_file_spells_out_is_not_applied_twice(side: int) -> None:
    """Quark writes AveragePool -> Mul(gain); the hardware knows that as one op."""
    models = []
    for gain in (None, {3: 63 / 64, 7: 49 * 21 / 1024}[side]):
        net = ShiftNet()
        x = net.pair(net.input("x", ("n", 1, side, side)), 5)
        end = net.node("GlobalAveragePool", [x], "y")
        if gain is not None:
            end = net.node("Mul", [end, net.constant("g", gain)], "z")
        models.append(net.model(net.pair(end, 5)))
    images = np.random.default_rng(0).integers(40, 128, (64, 1, side, side)) / 32.0
    plain, spelled = (codes(m, 5, x=images) for m in models)
    assert plain == spelled


def test_concat_keeps_every_code() -> None:
    net = ShiftNet()
    names = [net.pair(net.input("x", ROW), 3), net.pair(net.input("z", ROW), 5)]
    net.node("Concat", names, "y", axis=3)
    found = codes(net.model(net.pair("y", 5)), 5, x=row([1, -2], 3), z=row([7], 5))
    assert found == [[[[4, -8, 7]]]]


def test_clip_to_other_bounds_is_what_it_says() -> None:
    net = ShiftNet()
    net.constant("low", -1.0)
    net.constant("high", 2.0)
    net.node("Clip", [net.pair(net.input("x", ROW), 4), "low", "high"], "y")
    found = codes(net.model(net.pair("y", 4)), 4, DPU, x=row(X, 4))
    assert found == [[[[-16, -16, -16, -1, 0, 1, 32, 32]]]]
