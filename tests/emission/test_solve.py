"""Ranges become scales: per channel, shared, fixed, and products wide enough for every bias."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from oq.calibrators.minmax import MinMax
from oq.emission.solve import Solution, solve
from oq.errors import OptionError
from oq.model.graph import Graph
from oq.model.view import GraphView
from oq.numerics.grid import dequantize, fake_quantize, quantize
from oq.numerics.statistics import Need, Statistics
from oq.numerics.values import INT8_NARROW, INT32, UINT8, Array
from oq.numerics.weights import channel_range
from oq.planning.spec import Fixed, Own, Plan, Product, Share, Site, key
from tests.small import floats, normal, small

DATA = Site("x", Own(UINT8), "activation", "Gemm", ("g",))
WEIGHT = Site("w", Own(INT8_NARROW, 1), "weight", "Gemm", ("g",))
TENSOR_WEIGHT = Site("w", Own(INT8_NARROW), "weight", "Gemm", ("g",))
BIAS = Site("b", Product(INT32, "x", "w"), "bias", "Gemm", ("g",))
SEEN = {"x": Statistics(100, 0, -1.0, 3.0)}
STEP = np.float32(4 / 255)


def layer(weight: Array, bias: Array) -> GraphView:
    """One Gemm ``g``: weight (in, out), bias (out,)."""
    text = "net (float[n,k] x) => (float[n,m] y) { [g] y = Gemm(x, w, b) }"
    return Graph(small(text, {"w": weight, "b": bias})).view()


def solved(view: GraphView, *sites: Site, seen: Mapping[str, Statistics] = SEEN) -> Solution:
    return solve(Plan("t", sites, (), ()), view, seen, MinMax())


def bias_after(solution: Solution, bias: Array) -> Array:
    """What int32 codes leave of the bias."""
    return fake_quantize(bias, solution.grids[key(BIAS)])


# ---- own, fixed, shared


def test_weights_take_their_range_from_the_constant_per_channel() -> None:
    weight = normal(6, 3) * floats(1, 10, 0.01)
    grid = solved(layer(weight, normal(3)), WEIGHT).grids[key(WEIGHT)]
    assert np.array_equal(grid.scale, (np.abs(weight).max(axis=0) / 127.0).astype(np.float32))
    assert grid.axis == 1 and not grid.zero_point.any()
    one = solved(layer(weight, normal(3)), TENSOR_WEIGHT).grids[key(TENSOR_WEIGHT)]
    assert one.axis is None
    assert float(one.scale) == pytest.approx(float(np.abs(weight).max()) / 127)


def test_activations_take_theirs_from_the_statistics() -> None:
    grid = solved(layer(normal(2, 2), normal(2)), DATA).grids[key(DATA)]
    assert float(grid.scale) == STEP and int(grid.zero_point) == 64


def test_fixed_grids_are_what_the_plan_says() -> None:
    site = Site("x", Fixed(UINT8, 1 / 256, 7), "activation", "r")
    grid = solved(layer(normal(2, 2), normal(2)), site, seen={}).grids[key(site)]
    assert (float(grid.scale), int(grid.zero_point)) == (1 / 256, 7)
    assert grid.zero_point.dtype == np.uint8


@pytest.mark.parametrize("backwards", [False, True])
def test_a_chain_of_shares_is_one_grid_object(backwards: bool) -> None:
    """Whatever the order of the sites: emit shares names by identity."""
    sites = [
        DATA,
        Site("p", Share("x"), "activation", "r", ("a",)),
        Site("q", Share("p"), "activation", "r", ("b",)),
        Site("r", Share("q"), "activation", "r"),
    ]
    ordered = sites[::-1] if backwards else sites
    found = solved(layer(normal(2, 2), normal(2)), *ordered).grids
    assert len({id(found[key(s)]) for s in sites}) == 1
    assert list(found) == [key(s) for s in ordered]


class Pair:
    """A plugin's mistake."""

    needs = frozenset[Need]()

    def range(self, *_: object) -> tuple[float, float]:
        return -1.0, 1.0


def test_a_calibrator_that_returns_no_range_is_named() -> None:
    plan = Plan("t", (DATA,), (), ())
    with pytest.raises(OptionError, match=r"calibrator Pair: range\(\) returned tuple for 'x'"):
        solve(plan, layer(normal(2, 2), normal(2)), SEEN, Pair())  # type: ignore[arg-type]


def test_the_calibrator_decides_the_range() -> None:
    class Half:
        needs = MinMax.needs

        def range(self, statistics: Statistics, qtype: object, readers: object) -> object:
            return MinMax().range(Statistics(1, 0, statistics.lo / 2, statistics.hi / 2), UINT8)

    plan = Plan("t", (DATA,), (), ())
    found = solve(plan, layer(normal(2, 2), normal(2)), SEEN, Half())  # type: ignore[arg-type]
    assert float(found.grids[key(DATA)].scale) == np.float32(2 / 255)


@given(
    arrays.arrays(np.float32, (3, 4, 2), elements=st.floats(-1e6, 1e6, width=32)),
    st.sampled_from([None, 0, 1, 2]),
)
def test_channel_range_covers_each_slice_and_zero(values: Array, axis: int | None) -> None:
    found = channel_range(values, axis)
    slices = [values] if axis is None else [values.take(i, axis) for i in range(values.shape[axis])]
    assert found.lo.reshape(-1).tolist() == [min(0.0, float(s.min())) for s in slices]
    assert found.hi.reshape(-1).tolist() == [max(0.0, float(s.max())) for s in slices]


# ---- bias


def test_the_bias_lives_on_the_product_of_scales() -> None:
    weight, bias = normal(6, 3), normal(3)
    found = solved(layer(weight, bias), DATA, WEIGHT, BIAS)
    grids = found.grids
    product = grids[key(DATA)].scale * grids[key(WEIGHT)].scale
    assert np.array_equal(grids[key(BIAS)].scale, product)
    assert grids[key(BIAS)].axis == 0 and not grids[key(BIAS)].zero_point.any()
    # nothing was widened
    assert np.array_equal(grids[key(WEIGHT)].scale, np.abs(weight).max(axis=0) / np.float32(127))
    assert found.notes == ()
    assert (np.abs(bias_after(found, bias) - bias) <= product).all()


def test_a_per_tensor_weight_gives_a_per_tensor_bias() -> None:
    bias = normal(3)
    found = solved(layer(normal(6, 3), bias), DATA, TENSOR_WEIGHT, BIAS)
    grid = found.grids[key(BIAS)]
    assert grid.axis is None and grid.scale.shape == ()
    assert np.abs(bias_after(found, bias) - bias).max() <= grid.scale


MAGNITUDES = st.floats(-38, 8).map(lambda e: np.float32(10.0**e))


@given(
    weights=st.lists(st.just(np.float32(0)) | MAGNITUDES, min_size=3, max_size=3),
    bias=st.lists(st.floats(-100, 100, width=32), min_size=3, max_size=3),
    site=st.sampled_from([WEIGHT, TENSOR_WEIGHT]),
)
def test_a_bias_of_any_size_fits_beside_weights_of_any_size(
    weights: list[float], bias: list[float], site: Site
) -> None:
    """Codes stay within half of int32, and either the bias or the weight decides the step."""
    values = floats(*bias)
    weight = np.outer(normal(5) / 4, floats(*weights)).astype(np.float32)
    found = solved(layer(weight, values), DATA, site, BIAS)
    grid = found.grids[key(BIAS)]
    codes = quantize(values, grid).astype(np.int64)
    assert (np.abs(codes) <= 2**30 + 256).all()
    error = np.abs(dequantize(codes.astype(np.int32), grid).astype(np.float64) - values)
    assert (error <= 0.5001 * grid.scale + 1e-7 * np.abs(values)).all()
    reach = np.abs(weight).max(axis=0 if site is WEIGHT else None)
    largest = np.abs(values) if site is WEIGHT else np.abs(values).max()
    plain = np.maximum(reach / 127, 0).astype(np.float64) * STEP
    finest = np.maximum(largest.astype(np.float64) * 2.0**-23, 2.0**-126)
    dead = np.where(largest > 0, finest, 1.0)
    assert (grid.scale <= np.where(reach > 0, np.maximum(plain, finest), dead) * 1.0001).all()


@pytest.mark.parametrize("size", [1e-12, 1e-30, 1e-38])
def test_tiny_weights_do_not_lose_their_bias(size: float) -> None:
    """The product scale would need bias codes far beyond int32."""
    weight = normal(6, 3) * floats(1, size, 1)
    bias = floats(0.5, -0.75, 0.25)
    found = solved(layer(weight, bias), DATA, WEIGHT, BIAS)
    assert np.abs(bias_after(found, bias) - bias)[1] <= 1e-8
    untouched = np.abs(weight).max(axis=0)[[0, 2]] / np.float32(127)
    assert np.array_equal(found.grids[key(WEIGHT)].scale[[0, 2]], untouched)
    (note,) = found.notes
    assert note == "'w': the scale of 1 channel was widened so that bias 'b' fits int32"


def test_dead_channels_keep_their_bias_without_a_note() -> None:
    weight, bias = normal(6, 3), floats(1.0, 1e-4, 300.0)
    weight[:, [1, 2]] = 0
    found = solved(layer(weight, bias), DATA, WEIGHT, BIAS)
    assert np.allclose(bias_after(found, bias)[1:], bias[1:], rtol=2e-7, atol=0)
    assert found.notes == ()
    assert not quantize(weight, found.grids[key(WEIGHT)])[:, 1:].any()


@pytest.mark.parametrize("biases", [(1.0, 1e-12), (1e-12, 1.0)])
@pytest.mark.parametrize("size", [0.0, 1e-14])
def test_a_shared_weight_makes_room_for_the_larger_bias(
    biases: tuple[float, float], size: float
) -> None:
    """Two layers read one weight; a channel of it is dead, or as good as dead."""
    text = """net (float[n,5] x) => (float[n,2] y, float[n,2] z) {
        [g] y = Gemm(x, w, b)
        [h] z = Gemm(x, w, c)
    }"""
    weight = normal(5, 2) * floats(1, size)
    first, second = floats(0, biases[0]), floats(0, biases[1])
    view = Graph(small(text, {"w": weight, "b": first, "c": second})).view()
    shared = Site("w", Own(INT8_NARROW, 1), "weight", "Gemm", ("g", "h"))
    data = Site("x", Own(UINT8), "activation", "Gemm", ("g", "h"))
    other = Site("c", Product(INT32, "x", "w"), "bias", "Gemm", ("h",))
    grids = solved(view, data, shared, BIAS, other).grids
    for site, bias in ((BIAS, first), (other, second)):
        assert np.abs(fake_quantize(bias, grids[key(site)]) - bias).max() <= 1e-7
        product = grids[key(data)].scale * grids[key(shared)].scale
        assert np.array_equal(grids[key(site)].scale, product)


def test_each_reader_gets_the_grid_it_reads() -> None:
    """``x`` has two grids; the bias multiplies the one that its own layer sees."""
    other = Site("x", Fixed(UINT8, 0.5, 0), "activation", "r", ("elsewhere",))
    weight, bias = normal(6, 3), normal(3)
    found = solved(layer(weight, bias), other, DATA, WEIGHT, BIAS).grids
    product = found[key(DATA)].scale * found[key(WEIGHT)].scale
    assert np.array_equal(found[key(BIAS)].scale, product)


# ---- notes


def test_values_that_are_not_finite_are_noted() -> None:
    seen = {"x": Statistics(90, 10, -1.0, 3.0)}
    found = solved(layer(normal(2, 2), normal(2)), DATA, seen=seen)
    assert found.notes == (
        "'x': 10 of 100 values are NaN or infinite; its range comes from the others",
    )
    assert float(found.grids[key(DATA)].scale) == STEP


@pytest.mark.parametrize("seen", [{}, {"x": Statistics(0, 0, np.inf, -np.inf)}])
def test_a_tensor_without_values_is_noted_and_gets_some_grid(seen: dict[str, Statistics]) -> None:
    found = solved(layer(normal(2, 2), normal(2)), DATA, seen=seen)
    assert found.notes == ("'x' had no values in the calibration data",)
    assert float(found.grids[key(DATA)].scale) == np.float32(1 / 255)


@pytest.mark.parametrize(("reach", "noted"), [(2.0**-11, True), (2.0**-9, False), (0.0, False)])
def test_values_below_the_least_scale_of_a_target_are_noted(reach: float, noted: bool) -> None:
    """A float16 scale is 2**-14 or more: 2**-11 is then 8 steps, 2**-9 are 32."""
    half = replace(UINT8, scale="float16")
    site = replace(DATA, spec=Own(half))
    seen = {"x": Statistics(100, 0, 0.0, reach)}
    notes = solved(layer(normal(2, 2), normal(2)), site, seen=seen).notes
    assert len(notes) == noted
    if noted:
        assert notes[0].startswith("'x': values so small that less than 16 steps of the grid")
        assert "no scale may be below 6.1e-05 here" in notes[0]
    assert solved(layer(normal(2, 2), normal(2)), DATA, seen=seen).notes == ()


@pytest.mark.parametrize(("small_channels", "noted"), [(3, True), (1, False)])
def test_weights_are_noted_where_most_channels_are_that_small(
    small_channels: int, noted: bool
) -> None:
    weight = normal(6, 4)
    weight[:, :small_channels] *= np.float32(1e-5)
    site = replace(WEIGHT, spec=Own(replace(INT8_NARROW, scale="float16"), 1))
    assert bool(solved(layer(weight, normal(4)), site).notes) == noted
