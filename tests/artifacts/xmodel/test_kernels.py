"""The DPU's arithmetic by hand: rounding, guard bits, multipliers, and where values go."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from oq.artifacts.xmodel.file import Op
from oq.artifacts.xmodel.kernels import KERNELS
from oq.artifacts.xmodel.values import Call, Exact, Value, floats
from oq.artifacts.xmodel.wire import Attribute
from oq.errors import ModelError
from oq.numerics.values import Array


def run(
    kind: str, *inputs: Value, dims: tuple[int, ...] = (), more: dict[str, Value] | None = None,
    **attributes: object,
) -> Value:  # fmt: skip
    given = {k: Attribute("any", v) for k, v in attributes.items()}
    op = Op("o", kind, given, {}, "o", dims, "FLOAT", 32)
    arguments = {"input": inputs, **{k: (v,) for k, v in (more or {}).items()}}
    return KERNELS[kind](Call(op, arguments))


def exact(codes: object, position: int) -> Exact:
    return Exact(np.ldexp(np.asarray(codes, np.float64), -position), position)


def fix(
    x: Value, position: int, mode: str = "DPU_ROUND", bits: int = 8, sign: bool = True
) -> Array:
    """Codes."""
    found = run("fix", x, fix_point=position, bit_width=bits, if_signed=sign, round_mode=mode)
    assert isinstance(found, Exact) and found.position == position
    return np.ldexp(found.real, position)


HALVES = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 2.6, -2.6]


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [
        ("DPU_ROUND", [-2, -1, 0, 1, 2, 3, 3, -3]),
        ("STD_ROUND", [-3, -2, -1, 1, 2, 3, 3, -3]),
        ("PY3_ROUND", [-2, -2, 0, 0, 2, 2, 3, -3]),
    ],
)
def test_rounding(mode: str, wanted: list[int]) -> None:
    x = np.asarray(HALVES, np.float32)
    assert fix(x, 0, mode).tolist() == wanted
    assert fix(x / 4, 2, mode).tolist() == wanted


def test_saturation_and_unknown_modes() -> None:
    x = np.asarray([-300.0, 300.0], np.float32)
    assert fix(x, 0).tolist() == [-128, 127]
    assert fix(x, 0, bits=4).tolist() == [-8, 7]
    assert fix(x, 0, sign=False).tolist() == [0, 255]
    assert fix(x, -2).tolist() == [-75, 75]
    with pytest.raises(ModelError, match="round_mode 'NEAR'"):
        fix(x, 0, "NEAR")


def test_a_bias_is_truncated_to_one_bit_below_the_accumulator() -> None:
    """Position of the products: 2 + 3; the bias has 8 bits behind the point."""
    x, w = exact([[3]], 2), exact([[5], [-7]], 3)
    bias = exact([100, -101], 8)
    found = run(
        *("matmul", x, w), dims=(1, 2), more={"bias": bias}, transpose_a=False, transpose_b=True
    )
    wanted = [Fraction(15, 32) + Fraction(25, 64), Fraction(-21, 32) - Fraction(26, 64)]
    assert floats(found).tolist() == [[float(f) for f in wanted]]


def test_operands_of_add_keep_two_guard_bits_and_those_of_sub_seven() -> None:
    a, b = exact([1, -1], 0), exact([3, -3], 4)
    assert floats(run("add", a, b)).tolist() == [1.0, -1.25]
    assert floats(run("sub", a, b)).tolist() == [1 - 3 / 16, -1 + 3 / 16]
    fine = exact([1, -1], 9)
    assert floats(run("sub", a, fine)).tolist() == [1.0, -1 + 1 / 128]
    assert floats(run("max", a, fine)).tolist() == [1.0, -1 / 128]


def test_a_mean_is_a_sum_times_n_and_a_shift() -> None:
    """3x3: 7 / 2**6; and a window cut by the image's edge counts its zeros."""
    image = exact(np.arange(1, 10).reshape(1, 3, 3, 1), 0)
    window: dict[str, Any] = {"kernel": (3, 3), "stride": (1, 1), "pad_mode": "FLOOR"}
    mean = run("avgpool2d", image, dims=(1, 1, 1, 1), **window)
    assert floats(mean).item() == 5.0
    found = run("mul", mean, np.asarray([63 / 64], np.float32))
    assert isinstance(found, Exact) and found.real.item() == 45 * 7 / 64
    padded = run("avgpool2d", image, dims=(1, 3, 3, 1), **window, pad=(1, 1, 1, 1))
    assert floats(padded)[0, 0, 0, 0] == np.float32(12 / 9)
    uncounted: dict[str, Any] = {**window, "pad": (1, 1, 1, 1), "count_include_pad": False}
    assert floats(run("avgpool2d", image, dims=(1, 3, 3, 1), **uncounted))[0, 0, 0, 0] == 3.0


def test_the_gate_is_2731_over_two_to_the_14() -> None:
    x = exact([-64, -1, 0, 1, 47], 4)
    gate = run("mul", run("hard-sigmoid", x), np.asarray([6 * 2731 / 2**14], np.float32))
    wanted = [
        Fraction(2731, 2**14) * max(Fraction(0), Fraction(c, 16) + 3) for c in (-64, -1, 0, 1, 47)
    ]
    assert isinstance(gate, Exact) and gate.real.tolist() == [float(f) for f in wanted]


def test_windows_have_width_first() -> None:
    """A window of 1 row and 2 columns, from the left edge on."""
    image = exact(np.arange(6).reshape(1, 2, 3, 1), 0)
    weights = exact(np.asarray([10, 1]).reshape(1, 1, 2, 1), 0)
    found = run(
        *("conv2d", image),
        dims=(1, 2, 3, 1),
        more={"weights": weights},
        kernel=(2, 1),
        stride=(1, 1),
        pad=(1, 0, 0, 0),
        pad_mode="FLOOR",
    )
    assert floats(found)[0, :, :, 0].tolist() == [[0, 1, 12], [3, 34, 45]]


def test_a_transposed_convolution_spreads_its_image() -> None:
    """Stored weights are turned by 180 degrees: [1, 2, 3] in the file is 3, 2, 1 behind a dot."""
    image = exact(np.asarray([1, 10]).reshape(1, 1, 2, 1), 0)
    weights = exact(np.asarray([1, 2, 3]).reshape(1, 1, 3, 1), 0)
    window: dict[str, Any] = {"kernel": (3, 1), "stride": (2, 1), "pad_mode": "FLOOR"}
    more: dict[str, Value] = {"weights": weights}
    whole = run("transposed-conv2d", image, dims=(1, 1, 5, 1), more=more, **window)
    assert floats(whole).ravel().tolist() == [3, 2, 31, 20, 10]
    cut = run("transposed-conv2d", image, dims=(1, 1, 3, 1), more=more, **window, pad=(2, 0, 0, 0))
    assert floats(cut).ravel().tolist() == [31, 20, 10]


def test_where_channels_go() -> None:
    """Of 8 channels, to 2 channels of an image twice as large."""
    image = exact(np.arange(8).reshape(1, 1, 1, 8), 0)
    shuffled = floats(run("pixel-shuffle", image, scale=2, upscale=True))
    assert shuffled[0, :, :, 0].tolist() == [[0, 1], [2, 3]]
    tiled = floats(run("gstiling", image, stride=2, reverse=True))
    assert tiled[0, :, :, 0].tolist() == [[0, 2], [4, 6]]


def test_resize_as_xir_places_pixels() -> None:
    image = exact(np.arange(4).reshape(1, 1, 4, 1), 0)
    plain = run("resize", image, dims=(1, 1, 2, 1), mode="NEAREST", scale=(0.5, 1.0))
    assert floats(plain).ravel().tolist() == [0, 2]
    half: dict[str, Any] = {"mode": "NEAREST", "scale": (0.5, 1.0), "half_pixel_centers": True}
    assert floats(run("resize", image, dims=(1, 1, 2, 1), **half)).ravel().tolist() == [0, 2]
    corners: dict[str, Any] = {"mode": "BILINEAR", "scale": (1.75, 1.0), "align_corners": True}
    found = floats(run("resize", image, dims=(1, 1, 7, 1), **corners)).ravel()
    assert found.tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3]


def test_what_reads_floats_is_float() -> None:
    x = np.asarray([0.1, -0.3], np.float32)
    for kind in ("add", "mul", "max"):
        assert not isinstance(run(kind, exact([1, 2], 3), x), Exact)
    assert isinstance(run("mul", exact([1, 2], 3), exact([1, 2], 3)), Exact)
    assert floats(run("sigmoid", np.asarray([-200.0, 0.0], np.float32))).tolist() == [0.0, 0.5]
