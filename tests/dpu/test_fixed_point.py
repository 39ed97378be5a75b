"""Rounding, saturation and the limits up to which floats hold integers."""

import numpy as np
import pytest

from oq.dpu.fixed_point import DPU, NPU, FixedPoint, floored, hold, rounded, scaled


def exact(*numerators: float, position: int = 0, capped: bool = False) -> FixedPoint:
    values = np.asarray(numerators, np.float64)
    return FixedPoint(values, position, float(np.abs(values).max()), capped=capped)


def test_ties_go_up_on_the_dpu_and_to_even_in_onnx() -> None:
    halves = exact(-5, -3, -1, 1, 3, 5, position=1)  # -2.5 .. 2.5
    assert rounded(halves, 0, -128, 127, DPU).tolist() == [-2, -1, 0, 1, 2, 3]
    assert rounded(halves, 0, -128, 127, NPU).tolist() == [-2, -2, 0, 0, 2, 2]


def test_all_else_rounds_alike_and_saturates() -> None:
    x = exact(7, 9, -7, -9, 600, -600, position=2)  # 1.75 2.25 -1.75 -2.25 150 -150
    for arithmetic in (DPU, NPU):
        assert rounded(x, 0, -128, 127, arithmetic).tolist() == [2, 2, -2, -2, 127, -128]


def test_a_finer_position_multiplies() -> None:
    assert rounded(exact(3, -2, position=1), 4, -128, 127, DPU).tolist() == [24, -16]


@pytest.mark.parametrize(("position", "largest"), [(2, 96), (3, 96), (4, 96), (5, 127), (6, 127)])
def test_relu6_cuts_off_at_code_96_and_only_up_to_position_4(position: int, largest: int) -> None:
    """So it is 24, 12, 6 at positions 2, 3, 4; finer ones saturate at 127 steps, below 6."""
    found = rounded(exact(1000, position=0, capped=True), position, -128, 127, DPU)
    assert found.tolist() == [largest]


def test_a_relu6_that_ends_in_float_cuts_off_at_6() -> None:
    assert exact(100, position=4, capped=True).real().tolist() == [6.0]
    assert exact(100, position=4).real().tolist() == [6.25]


def test_bits_below_the_position_are_cut_off_towards_minus_infinity() -> None:
    values, reach = floored(exact(5, -5, 4, position=3), -1)
    assert values.tolist() == [2, -3, 2] and reach >= 3
    values, reach = floored(exact(5, position=3), 2)
    assert values.tolist() == [20] and reach == 20


def test_integers_are_held_exactly_or_refused() -> None:
    big = np.asarray([2.0**24 + 1])
    assert hold(big, 2.0**24).dtype == np.float32
    assert hold(big, 2.0**24 + 1).dtype == np.float64
    with pytest.raises(OverflowError, match=r"pass 2\*\*53"):
        hold(big, 2.0**54)


def test_scaling_widens_the_type_when_it_must() -> None:
    x = FixedPoint(np.asarray([127], np.float32), 0, 127.0)
    assert scaled(x, 4)[0].dtype == np.float32
    values, reach = scaled(x, 20)
    assert values.dtype == np.float64 and values.tolist() == [127 * 2**20] == [reach]


def test_a_number_is_an_array_of_no_axes() -> None:
    """What onnxruntime is fed; NumPy's arithmetic makes scalars of such arrays."""
    for capped in (False, True):
        alone = FixedPoint(np.asarray(3.0), 1, 3.0, capped=capped).real()
        assert isinstance(alone, np.ndarray) and alone.dtype == np.float32 and alone == 1.5
