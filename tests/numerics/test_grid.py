"""The grid equations against onnxruntime's operators and exact rational arithmetic."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from oq.numerics.grid import SMALLEST_SCALE, Grid, dequantize, fake_quantize, fit, quantize, spread
from oq.numerics.values import (
    FLOAT8,
    INT8,
    INT8_AFFINE,
    INT8_NARROW,
    INT32,
    UINT4,
    UINT8,
    UINT8_POSITIVE,
    Array,
    QType,
    Range,
)
from tests.small import floats, reference, small

CODES = {"int8": (-128, 127), "uint8": (0, 255)}
FULL = (UINT8, INT8_AFFINE, INT8)
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
SCALES = st.floats(SMALLEST_SCALE, 2.0**100, width=32)


def runner(dtype: str, rank: int, axis: int | None) -> ort.InferenceSession:
    """``q = QuantizeLinear(x)``, ``d = DequantizeLinear(c)``, scale and zero point as inputs."""
    real, codes, size = ("float", dtype, "c") if axis is not None else ("float", dtype, "")
    dims = ",".join(f"d{i}" for i in range(rank))
    attribute = "" if axis is None else f"<axis = {axis}>"
    shape = f"[{size}]" if size else "[]"
    model = small(
        f"""net ({real}[{dims}] x, {codes}[{dims}] c, {real}{shape} s, {codes}{shape} z)
            => ({codes}[{dims}] q, {real}[{dims}] d) {{
            q = QuantizeLinear {attribute} (x, s, z)
            d = DequantizeLinear {attribute} (c, s, z)
        }}"""
    )
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options)


RUNNERS = {
    (dtype, axis): runner(dtype, 1 if axis is None else 3, axis)
    for dtype in CODES
    for axis in (None, 0, 1, 2)
}


def bits(x: Array) -> Array:
    return np.asarray(x).view(f"u{np.asarray(x).dtype.itemsize}")


def assert_equal_onnxruntime(x: Array, codes: Array, grid: Grid) -> None:
    feeds = {"x": x, "c": codes, "s": grid.scale, "z": grid.zero_point}
    q, d = RUNNERS[grid.qtype.dtype, grid.axis].run(None, feeds)
    assert np.array_equal(quantize(x, grid), q)
    assert quantize(x, grid).dtype == q.dtype
    assert np.array_equal(bits(dequantize(codes, grid)), bits(d))


@st.composite
def full_grids(draw: st.DrawFn, channels: int | None, axis: int | None = None) -> Grid:
    """Any full-range grid of int8 or uint8, symmetric ones with zero point 0."""
    qtype = draw(st.sampled_from(FULL))
    shape = () if channels is None else (channels,)
    zeros = st.just(0) if qtype.symmetric else st.integers(qtype.qmin, qtype.qmax)
    scale = draw(arrays.arrays(np.float32, shape, elements=SCALES))
    zero = draw(arrays.arrays(qtype.dtype, shape, elements=zeros))
    return Grid(qtype, scale, zero, axis)


@given(st.data())
def test_per_tensor_equals_onnxruntime(data: st.DataObject) -> None:
    grid = data.draw(full_grids(None))
    x = data.draw(arrays.arrays(np.float32, st.integers(0, 20), elements=FLOATS))
    codes = data.draw(arrays.arrays(grid.qtype.dtype, x.shape))
    assert_equal_onnxruntime(x, codes, grid)


@given(st.data())
def test_per_channel_equals_onnxruntime(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(*[st.integers(1, 4)] * 3))
    axis = data.draw(st.integers(0, 2))
    grid = data.draw(full_grids(shape[axis], axis))
    x = data.draw(arrays.arrays(np.float32, shape, elements=FLOATS))
    codes = data.draw(arrays.arrays(grid.qtype.dtype, shape))
    assert_equal_onnxruntime(x, codes, grid)


@pytest.mark.parametrize("qtype", FULL, ids=str)
@pytest.mark.parametrize("scale", [1.0, 0.1, 1 / 127, SMALLEST_SCALE, 2.0**100])
def test_edges_equal_onnxruntime(qtype: QType, scale: float) -> None:
    """Ties and saturation by steps, denormals, the largest floats, infinities, signed zeros."""
    real = np.float32(scale)
    ties = (np.arange(-300, 300) + np.float32(0.5)) * real
    around = np.concatenate([np.nextafter(ties, np.float32(-9e9)), ties, np.nextafter(ties, 9e9)])
    largest = np.finfo(np.float32).max
    rare = [0.0, -0.0, 1e-45, -1e-45, 1e-40, largest, -largest, np.inf, -np.inf]
    x = np.concatenate([around, np.asarray(rare)]).astype(np.float32)
    codes = np.resize(np.arange(qtype.qmin, qtype.qmax + 1).astype(qtype.dtype), x.shape)
    for zero in {0} if qtype.symmetric else {qtype.qmin, 3, qtype.qmax}:
        grid = Grid(qtype, np.asarray(real), np.asarray(zero, qtype.dtype))
        assert_equal_onnxruntime(x, codes, grid)


@given(
    arrays.arrays(np.int32, st.integers(1, 20)),
    st.floats(SMALLEST_SCALE, 1.0, width=32),
)
def test_int32_bias_equals_onnxruntime(codes: Array, scale: float) -> None:
    grid = Grid(INT32, np.asarray(scale, np.float32), np.asarray(0, np.int32))
    model = small(
        "net (int32[n] c, float s, int32 z) => (float[n] d) { d = DequantizeLinear(c, s, z) }"
    )
    feeds = {"c": codes, "s": grid.scale, "z": grid.zero_point}
    assert np.array_equal(bits(dequantize(codes, grid)), bits(reference(model, feeds)["d"]))


@given(
    st.lists(FLOATS.map(lambda v: v % 1e6), min_size=1).map(lambda v: floats(*v)),
    st.floats(1e-3, 1e3),
)
def test_bias_codes_are_the_nearest(values: Array, scale: float) -> None:
    grid = Grid(INT32, np.asarray(scale, np.float32), np.asarray(0, np.int32))
    steps = np.rint(values / grid.scale).astype(np.float64)
    assert np.array_equal(quantize(values, grid), np.clip(steps, -(2.0**31), 2.0**31 - 1))


def test_a_narrow_grid_never_uses_its_lowest_code() -> None:
    grid = fit(Range(np.asarray(-1.0), np.asarray(1.0)), INT8_NARROW)
    assert quantize(floats(-9.0, -1.0, 9.0), grid).tolist() == [-127, -127, 127]


# ---- fit


BOUNDS = st.floats(0, 2.0**120, width=32)
QTYPES = (UINT8, INT8, INT8_AFFINE, INT8_NARROW)


@pytest.mark.parametrize("qtype", QTYPES, ids=str)
@given(low=BOUNDS, high=BOUNDS, parts=st.lists(st.floats(0, 1), max_size=20))
def test_no_value_of_the_range_moves_more_than_half_a_step(
    qtype: QType, low: float, high: float, parts: list[float]
) -> None:
    grid = fit(Range(np.asarray(-low), np.asarray(high)), qtype)
    x = floats(0.0, -low, high, *(p * high - (1 - p) * low for p in parts))
    moved = np.abs(fake_quantize(x, grid).astype(np.float64) - x)
    # half a step, and the rounding of x / scale, of (code - zero) * scale and of the scale itself
    assert (moved <= grid.scale * np.float64(0.5 + 512 * 2.0**-23)).all()
    assert fake_quantize(floats(0.0), grid)[0] == 0.0


@pytest.mark.parametrize("qtype", QTYPES, ids=str)
@given(low=BOUNDS, high=BOUNDS)
def test_the_scale_is_the_nearest_float_to_the_equation(
    qtype: QType, low: float, high: float
) -> None:
    """``max|x| / qmax`` or ``(hi - lo) / (qmax - qmin)`` in exact arithmetic, rounded."""
    grid = fit(Range(np.asarray(-low), np.asarray(high)), qtype)
    if qtype.symmetric:
        reach, steps = max(Fraction(low), Fraction(high)), 127
    else:
        reach, steps = Fraction(low) + Fraction(high), 255
    exact = Fraction(reach or 1) / steps
    if exact < Fraction(SMALLEST_SCALE):
        assert float(grid.scale) == SMALLEST_SCALE
    else:
        assert abs(Fraction(float(grid.scale)) / exact - 1) <= Fraction(1, 2**23)


@given(arrays.arrays(np.float32, st.integers(1, 30), elements=st.floats(-1e6, 1e6, width=32)))
def test_affine_fit_equals_dynamic_quantization(x: Array) -> None:
    """DynamicQuantizeLinear computes the same scale and zero point in float32 steps."""
    model = small(
        """net (float[n] x) => (uint8[n] y, float s, uint8 z) {
            y, s, z = DynamicQuantizeLinear(x)
        }"""
    )
    low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    if high - low < 1e-30:
        return  # its scale of an empty range is its own convention
    found = reference(model, {"x": x})
    grid = fit(Range(np.asarray(low), np.asarray(high)), UINT8)
    assert np.allclose(grid.scale, found["s"], rtol=3e-7, atol=0)
    assert abs(int(grid.zero_point) - int(found["z"])) <= 1


@pytest.mark.parametrize(
    ("low", "high", "qtype", "scale", "zero"),
    [
        (0.0, 255.0, UINT8, 1.0, 0),
        (-255.0, 0.0, UINT8, 1.0, 255),
        (-1.0, 3.0, UINT8, 4 / 255, 64),  # 63.75
        (-1.0, 3.0, INT8_AFFINE, 4 / 255, -64),  # -64.25
        (-2.0, 1.0, INT8, 2 / 127, 0),
        (0.0, 127.0, INT8_NARROW, 1.0, 0),
        (0.0, 0.0, INT8, 1 / 127, 0),
        (0.0, 0.0, UINT8, 1 / 255, 0),
        (-0.0, 1e-45, UINT8, SMALLEST_SCALE, 0),
    ],
)
def test_fit_by_hand(low: float, high: float, qtype: QType, scale: float, zero: int) -> None:
    grid = fit(Range(np.asarray(low), np.asarray(high)), qtype)
    assert (float(grid.scale), int(grid.zero_point)) == (float(np.float32(scale)), zero)
    assert grid.scale.dtype == np.float32
    assert grid.zero_point.dtype == qtype.dtype


def test_channels_are_fitted_one_by_one() -> None:
    lows, highs = np.asarray([-1.0, 0.0, -5.0, 0.0]), np.asarray([2.0, 0.0, 0.0, 7.0])
    for qtype in QTYPES:
        grid = fit(Range(lows, highs), qtype, axis=1)
        assert grid.axis == 1
        for i, (low, high) in enumerate(zip(lows, highs, strict=True)):
            alone = fit(Range(np.asarray(low), np.asarray(high)), qtype)
            assert grid.scale[i] == alone.scale
            assert grid.zero_point[i] == alone.zero_point


def test_lowest_and_highest_are_the_ends_of_the_codes() -> None:
    grid = Grid(UINT8, floats(0.5, 2.0), np.asarray([0, 255], np.uint8), axis=0)
    assert grid.lowest.tolist() == [0.0, -510.0]
    assert grid.highest.tolist() == [127.5, 0.0]


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_the_ends_of_a_grid_do_not_depend_on_its_axis(axis: int) -> None:
    """The weight of a MatMul has its channels on the last axis."""
    grid = Grid(INT8, np.array([0.5, 2.0], np.float32), np.zeros(2, np.int8), axis)
    assert grid.lowest.tolist() == [-64.0, -256.0]
    assert grid.highest.tolist() == [63.5, 254.0]


def test_equal_grids_have_equal_numbers() -> None:
    grid = Grid(UINT8, np.asarray(np.float32(0.5)), np.asarray(np.uint8(3)))
    assert grid == Grid(UINT8, np.asarray(np.float32(0.5)), np.asarray(np.uint8(3)))
    assert grid != Grid(UINT8, np.asarray(np.float32(0.5)), np.asarray(np.uint8(4)))
    assert grid != Grid(UINT8, floats(0.5), np.asarray([3], np.uint8), axis=0)
    assert grid != "a grid"


@pytest.mark.parametrize("scale", [0.0, -1.0, np.inf, np.nan])
def test_a_scale_is_finite_and_positive(scale: float) -> None:
    with pytest.raises(ValueError, match="scales must be finite and positive"):
        Grid(INT8, np.asarray(scale, np.float32), np.asarray(0, np.int8))


def test_a_zero_point_is_a_code() -> None:
    with pytest.raises(ValueError, match=r"zero point -128 outside -127\.\.127"):
        Grid(INT8_NARROW, np.asarray(1, np.float32), np.asarray(-128, np.int8))


@pytest.mark.parametrize(("low", "high"), [(0.5, 1.0), (-2.0, -1.0), (-np.inf, 0.0), (0.0, np.nan)])
def test_a_range_is_finite_and_holds_zero(low: Any, high: Any) -> None:
    with pytest.raises(ValueError, match="a range needs finite lo <= 0 <= hi"):
        Range(np.asarray(low), np.asarray(high))


@pytest.mark.parametrize(
    ("reach", "wanted"),
    [(127.0, 1.0), (127.0001, 2.0), (1.0, 2.0**-6), (0.99, 2.0**-7), (127 * 2.0**-9, 2.0**-9)],
)
def test_a_power_of_two_scale_covers_the_range_and_its_half_does_not(
    reach: float, wanted: float
) -> None:
    qtype = replace(INT8, scale="power_of_two")
    grid = fit(Range(np.asarray(-reach), np.asarray(0.0)), qtype)
    assert float(grid.scale) == wanted
    assert wanted * 127 >= reach > wanted / 2 * 127


@pytest.mark.parametrize(
    ("reach", "wanted"),
    [(0.05 * 127, 0.04998779296875), (1e-9, 2.0**-14), (1e9, 65504.0), (0.0, 0.007873535156250)],
)
def test_a_float16_scale_is_one(reach: float, wanted: float) -> None:
    """0.05 is 0.04998779 in a float16 program of Core ML; subnormal numbers are avoided."""
    qtype = replace(INT8, scale="float16")
    scale = fit(Range(np.asarray(0.0), np.asarray(reach)), qtype).scale
    assert float(scale) == pytest.approx(wanted, rel=1e-7)
    assert scale.dtype == np.float32
    assert np.float32(np.float16(scale)) == scale


def test_a_positive_grid_spends_no_code_on_the_negative_side() -> None:
    grid = fit(Range(np.asarray(-9.0), np.asarray(25.5)), UINT8_POSITIVE)
    assert float(grid.scale) == pytest.approx(0.1)
    assert int(grid.zero_point) == 0
    assert quantize(np.array([-9.0, 0.0, 25.5], np.float32), grid).tolist() == [0, 0, 255]


# ---- float8


FLOAT8_RUNNER = small(
    """net (float[n] x, float8e4m3fn[m] c, float s, float8e4m3fn z)
        => (float8e4m3fn[n] q, float[m] d, float[n] t) {
        q = QuantizeLinear (x, s, z)
        d = DequantizeLinear (c, s, z)
        t = DequantizeLinear (q, s, z)
    }""",
    opset=19,
    ir=9,
)


def run_float8(x: Array, codes: Array, scale: Array) -> list[Array]:
    """onnxruntime's codes of ``x``, values of ``codes`` and values of the codes of ``x``.

    NumPy arrays of float8 do not cross its Python interface, so codes go in and out as bytes.
    """
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(FLOAT8_RUNNER.SerializeToString(), options)
    kind = onnx.TensorProto.FLOAT8E4M3FN
    binding = session.io_binding()
    kept = [np.ascontiguousarray(a) for a in (x, scale)]
    zero, packed = np.zeros((), np.uint8), np.ascontiguousarray(codes.view(np.uint8))
    q = np.empty(x.shape, np.uint8)
    for name, array in (("x", kept[0]), ("s", kept[1])):
        binding.bind_input(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
    for name, array in (("c", packed), ("z", zero)):
        binding.bind_input(name, "cpu", 0, kind, array.shape, array.ctypes.data)
    binding.bind_output("q", "cpu", 0, kind, q.shape, q.ctypes.data)
    binding.bind_output("d")
    binding.bind_output("t")
    session.run_with_iobinding(binding)
    _, d, t = binding.get_outputs()
    return [q, d.numpy(), t.numpy()]


@pytest.mark.parametrize("scale", [1.0, 0.1, 3 / 448, 2.0**-126, 2.0**100])
def test_float8_equals_onnxruntime(scale: float) -> None:
    """All codes, ties between neighbours, saturation, denormals, infinities and signed zeros."""
    real = np.asarray(scale, np.float32)
    grid = Grid(FLOAT8, real, np.zeros((), FLOAT8.dtype))
    codes = np.arange(256, dtype=np.uint8).view(FLOAT8.dtype)
    finite = np.sort(codes[np.isfinite(codes.astype(np.float32))].astype(np.float32))
    ties = (finite[1:] + finite[:-1]) / 2 * real
    beyond = np.asarray([448, 463, 464, 465, 1e6, np.inf, 1e-45, 2**-10, 0.0], np.float32) * real
    around = np.concatenate([np.nextafter(ties, -np.inf), ties, np.nextafter(ties, np.inf)])
    x = np.concatenate([around, beyond, -beyond]).astype(np.float32)
    q, d, t = run_float8(x, codes, real)
    assert np.array_equal(quantize(x, grid).view(np.uint8), q)
    assert np.array_equal(bits(dequantize(codes, grid)), bits(d)) or np.array_equal(
        dequantize(codes, grid), d, equal_nan=True
    )
    assert np.array_equal(bits(fake_quantize(x, grid)), bits(t))


def test_float8_covers_the_range_with_448() -> None:
    grid = fit(Range(np.asarray(-2.0), np.asarray(7.0)), FLOAT8)
    assert float(grid.scale) == pytest.approx(7 / 448, rel=1e-7)
    assert float(grid.highest) == pytest.approx(7.0, rel=1e-6) and not grid.zero_point.any()
    x = np.linspace(-2, 7, 1001).astype(np.float32)
    error = np.abs(fake_quantize(x, grid) - x)
    assert (error <= np.maximum(np.abs(x) / 16, 2.0**-10 * grid.scale) * 1.0001).all()


def test_the_ends_of_blocks() -> None:
    """One pair per block, and what codes at the ends mean there."""
    scale = np.asarray([[0.5, 1.0, 2.0], [0.25, 3.0, 4.0]], np.float32)
    zero = np.asarray([[0, 5, 15], [8, 7, 3]]).astype("uint4")
    grid = Grid(UINT4, scale, zero, 0, 32)
    np.testing.assert_array_equal(grid.lowest, (0 - zero.astype(int)) * scale)
    np.testing.assert_array_equal(grid.highest, (15 - zero.astype(int)) * scale)


@pytest.mark.parametrize("axis, block", [(None, None), (0, None), (1, None), (-1, None), (0, 4),
                                         (1, 4), (1, 5), (-2, 3)])  # fmt: skip
def test_pieces_have_the_codes_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, axis: int | None, block: int | None
) -> None:
    """14 x 9 values, 20 at a time, incomplete last blocks too; by the equation, value by value."""
    random = np.random.default_rng(0)
    x, shape = random.normal(0, 3, (14, 9)).astype(np.float32), [14, 9]
    if axis is not None:
        shape = (
            [-(-n // block) if i == axis % 2 else n for i, n in enumerate(shape)]
            if block
            else [shape[axis]]
        )
    size = () if axis is None else tuple(shape)
    scale = random.uniform(0.01, 0.1, size).astype(np.float32)
    zero = random.integers(0, 255, size).astype(np.uint8)
    grid = Grid(UINT8, np.asarray(scale), np.asarray(zero), axis, block)
    monkeypatch.setattr("oq.numerics.grid.PIECE", 20)
    steps, points = (np.broadcast_to(part, x.shape) for part in spread(grid, x.shape))
    wanted = np.clip(np.rint(x / steps).astype(np.int64) + points, 0, 255)
    assert np.array_equal(quantize(x, grid), wanted)
