"""What the charts of a page compute, against NumPy; and what they draw, read back from the SVG."""

import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

from oq.comparison.layers import LayerError
from oq.numerics.grid import fake_quantize, fit
from oq.numerics.histogram import to_histogram
from oq.numerics.statistics import Need, observe
from oq.numerics.values import INT8, UINT8, Array, QType, Range
from oq.numerics.weights import channel_range
from oq.page.activations import BINS, activations, binned
from oq.page.bars import Bar, draw_bars
from oq.page.channels import COLUMNS, describe_spread, draw_channels, gather_columns
from oq.page.content import Activation, Choice, Edge, Evidence, Layer, Weight
from oq.page.error_path import draw_error_path
from oq.page.histogram import BASE, LEFT, RIGHT, draw_histogram
from oq.page.neighbours import draw_neighbours
from oq.page.places import Place
from oq.page.svg import Scale, cut, escape, many, short, ticks
from oq.page.weights import weights
from oq.planning import registry
from tests.graphs import IMAGE, Net

HISTOGRAM = frozenset({Need.HISTOGRAM, Need.BATCHES})


def tailed() -> Array:
    """Mostly small values, a few large ones, many zeros: what follows a Relu."""
    random = np.random.default_rng(0)
    values = random.standard_t(3, 200_000).astype(np.float32)
    return np.maximum(values, 0)


def seen(values: Array, qtype: QType, lo: float, hi: float, chose: str = "") -> Activation:
    net = Net()
    net.node("Relu", [net.input("x", IMAGE)], "r")
    grid = fit(Range(np.asarray(lo), np.asarray(hi)), qtype)
    place = Place("r", "r", (), "activation", grid, None, chose)
    names = ("minmax", "max", "percentile", "mse", "entropy")
    methods = {n: registry.calibrator(n) for n in names}
    statistics = {"r": observe(values, HISTOGRAM)}
    (found,) = activations([place], statistics, net.view("r"), methods)
    return found


@pytest.mark.parametrize("sign", [1, -1])
def test_bins_are_those_of_numpy_but_for_the_width_of_a_bucket(sign: int) -> None:
    values = sign * tailed()
    edges = np.linspace(values.min(), values.max(), BINS + 1)
    found = binned(to_histogram(observe(values, HISTOGRAM)), edges)
    exact, _ = np.histogram(values, edges)
    assert found.sum() == pytest.approx(values.size)
    # a bucket is 1/128 of its value wide: what moves is a share of the bins next to an edge
    assert np.abs(np.cumsum(found) - np.cumsum(exact)).max() < 0.01 * values.size
    assert found[0 if sign > 0 else -1] == pytest.approx(exact[0 if sign > 0 else -1], rel=0.01)


@pytest.mark.parametrize("qtype", [INT8, UINT8])
def test_choices_are_the_calibrators_own_with_their_true_errors(qtype: QType) -> None:
    values = tailed()
    found = {c.calibrator: c for c in seen(values, qtype, 0.0, 5.0).choices}
    statistics = observe(values, HISTOGRAM)
    for name, choice in found.items():
        chosen = registry.calibrator(name).range(statistics, qtype, None)  # type: ignore[arg-type]
        assert (choice.lo, choice.hi) == pytest.approx((float(chosen.lo), float(chosen.hi)), 1e-5)
        error = values - fake_quantize(values, fit(chosen, qtype))
        sqnr = 10 * math.log10(float((values**2).sum()) / float((error**2).sum()))
        assert choice.sqnr_db == pytest.approx(sqnr, abs=0.1), name
        outside = 100 * float(((values < chosen.lo) | (values > chosen.hi)).mean())
        assert choice.clipped == pytest.approx(outside, abs=0.002), name
    assert found["minmax"].clipped == 0 < found["percentile"].clipped
    best = max(found.values(), key=lambda c: c.sqnr_db or 0)
    assert best.calibrator == "mse"


def test_a_tensor_without_values_or_without_spread_has_a_picture() -> None:
    for values in (np.zeros(10, np.float32), np.full(10, 6, np.float32)):
        picture = draw_histogram(seen(values, UINT8, 0.0, 6.0))
        ET.fromstring(picture)
        assert "nan" not in picture


def test_the_histogram_has_a_lane_per_calibrator_and_marks_what_is_cut_off() -> None:
    values = tailed()
    picture = draw_histogram(seen(values, UINT8, 0.0, 5.0, "mse"))
    root = ET.fromstring(picture)
    lanes = list(root.iter("{http://www.w3.org/2000/svg}g"))
    assert len(lanes) == 5
    x = Scale(0.0, float(values.max()), LEFT, RIGHT)
    ends = [float(e.attrib["x1"]) for e in root.iter() if e.attrib.get("class") == "end"]
    assert ends == pytest.approx([x(0.0), x(5.0)], abs=0.1)
    assert 'class="cut"' in picture, "the values beyond 5"
    strong = [e.text for e in root.iter() if e.attrib.get("class") == "small strong"]
    assert strong[0] == "\u25b8 mse"
    whole = draw_histogram(seen(values, UINT8, 0.0, float(values.max())))
    assert 'class="cut"' not in whole
    bars = re.search(r'<path d="([^"]*)" class="bars"', whole)
    assert bars is not None
    tops = [float(t) for t in re.findall(r"M[\d.]+ ([\d.]+)H", bars[1])]
    assert min(tops) == pytest.approx(20) and max(tops) <= BASE


def test_channels_against_numpy() -> None:
    values = np.random.default_rng(0).normal(size=(300, 3, 3, 3)).astype(np.float32)
    values[7] *= 20
    values[9] = 0
    net = Net()
    net.node("Conv", [net.input("x", ("n", 3, 8, 8)), net.constant("w", values)], "c")
    view = net.view("c")
    flat = values.reshape(300, -1)
    for axis, grids in ((0, 300), (None, 1)):
        reach = Range(
            np.minimum(flat.min(1), 0) if axis == 0 else np.asarray(flat.min()),
            np.maximum(flat.max(1), 0) if axis == 0 else np.asarray(flat.max()),
        )
        place = Place("w", "w", ("n_c",), "weight", fit(reach, INT8, axis), values)
        (found,) = weights([place], view)
        np.testing.assert_allclose(found.lo, np.minimum(flat.min(1), 0), rtol=1e-5)
        np.testing.assert_allclose(found.hi, np.maximum(flat.max(1), 0), rtol=1e-5)
        assert len(found.grid_hi) == grids
        columns = list(gather_columns(found))
        assert len(columns) == 150 <= COLUMNS, "two channels each"
        assert columns[3].hi == max(found.hi[6:8])
        assert "1 almost zero" in describe_spread(found)
        ET.fromstring(draw_channels(found))


def test_blocks_are_drawn_by_output_channel() -> None:
    values = np.random.default_rng(0).normal(size=(70, 5)).astype(np.float32)
    net = Net()
    net.node("MatMul", [net.input("x", ("n", 70)), net.constant("w", values)], "c")
    grid = fit(channel_range(values, 0, 32), INT8, 0, 32)
    place = Place("w", "w", ("n_c",), "weight", grid, values)
    (found,) = weights([place], net.view("c"))
    np.testing.assert_allclose(found.hi, np.maximum(values.max(0), 0), rtol=1e-5)
    np.testing.assert_allclose(found.grid_hi, (grid.scale * 127).max(0), rtol=1e-5)
    np.testing.assert_allclose(found.grid_lo, (grid.scale * -128).min(0), rtol=1e-5)


def test_a_weight_of_nothing() -> None:
    dead = Weight("w", "int8", (0.0,), (0.0,), (-1.0,), (1.0,))
    assert describe_spread(dead) == "all zero"
    ET.fromstring(draw_channels(dead))


def chain(neighbours: int) -> Evidence:
    """A layer that ``neighbours`` feed, and that one float layer and an output read."""
    feeding = [Layer(f"in{i}", (f"in{i}",), ("Conv",), "int8") for i in range(neighbours)]
    centre = Layer("mid", ("mid", "act"), ("Concat", "Relu"), "int8")
    after = Layer("after", ("after",), ("Sin",), "float", "no row")
    layers = (*feeding, centre, after)
    edges = [Edge(f"t{i}", i, neighbours, "int8, scale 0.1") for i in range(neighbours)]
    edges += [Edge("m", neighbours, neighbours + 1, ""), Edge("m", neighbours, -1, "")]
    return Evidence(layers, tuple(edges))


@pytest.mark.parametrize("neighbours", [0, 1, 2, 3, 7])
def test_the_plan_around_a_layer_names_all_neighbours_and_stays_inside(neighbours: int) -> None:
    found = chain(neighbours)
    targets = [f"layer-{i}" for i in range(len(found.layers))]
    picture = draw_neighbours(neighbours, found, targets)
    root = ET.fromstring(picture)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    boxes = [e.attrib for e in root.iter() if e.attrib.get("class", "").startswith("node")]
    assert len(boxes) == neighbours + 1 + 2
    corners = [[float(b[k]) for k in ("x", "y", "width", "height")] for b in boxes]
    for i, (x, y, w, h) in enumerate(corners):
        assert x >= 0 and x + w <= width and y >= 0 and y + h <= height
        for a, b, c, d in corners[:i]:
            apart = x >= a + c or a >= x + w or y >= b + d or b >= y + h
            assert apart, "boxes overlap"
    links = re.findall(r'href="#([^"]*)"', picture)
    assert sorted(links) == sorted([*targets[:neighbours], targets[-1]])
    assert ("flow real" in picture) and ("flow codes" in picture) == (neighbours > 0)


def test_bars_are_as_long_as_their_numbers() -> None:
    rows = [Bar(n, ((v, "bars", f"{v} %"),), "", n) for n, v in (("a", 40.0), ("b", 10.0))]
    root = ET.fromstring(draw_bars(rows, "shares"))
    lengths = [float(e.attrib["width"]) for e in root.iter() if e.attrib.get("class") == "bars"]
    assert lengths[0] == pytest.approx(4 * lengths[1], rel=0.02)


def test_the_course_leaves_out_what_means_something_else_and_survives_infinities() -> None:
    one = LayerError("t", "n", 30.0, 1.0, 0.0, 1.0, None, 40.0, 50.0)
    rows = [one, replace(one, sqnr_db=math.inf), replace(one, sqnr_db=-math.inf)]
    rows.append(replace(one, alike=False, added_db=None, share=None))
    picture = draw_error_path(rows)
    root = ET.fromstring(picture)
    points = [e for e in root.iter() if e.attrib.get("class") == "point"]
    assert len(points) == 3 + 1, "and one in the legend"
    assert "nan" not in picture
    ET.fromstring(draw_error_path([]))


@pytest.mark.parametrize(
    ("lo", "hi"), [(0.0, 7.3), (-1e-7, 3e-7), (-5e30, 5e30), (2.0, 2.0), (-6.0, 0.0), (0.1, 0.3)]
)
def test_ticks_are_round_inside_and_few(lo: float, hi: float) -> None:
    found = ticks(lo, hi)
    assert 1 <= len(found) <= 5
    assert all(lo - 1e-9 * abs(lo) <= t <= hi + 1e-9 * abs(hi) for t in found)
    if hi > lo:
        assert len(found) >= 2
        steps = np.diff(found)
        assert np.allclose(steps, steps[0])
        assert round(float(f"{steps[0]:e}".split("e")[0]), 6) in (1, 2, 5)


def test_words_for_numbers_and_names() -> None:
    assert [short(v) for v in (0.000123456, -3.14159, math.inf, 1e9)] == [
        *("0.000123", "\u22123.14", "\u221e", "1e9")
    ]
    assert [many(v) for v in (5, 1500, 2_300_000)] == ["5", "1.5\u202fk", "2.3\u202fM"]
    assert cut("abc", 3) == "abc" and cut("abcdefgh", 5) == "\u2026fgh"
    assert escape("<a href='x'>&\x00\x1b") == "&lt;a href=&#x27;x&#x27;&gt;&amp;\ufffd\ufffd"


def test_choices_that_reach_the_ends_stay_in_the_picture() -> None:
    wide = replace(seen(tailed(), INT8, -9.0, 9.0), choices=(Choice("mine", -99.0, 99.0, 0, None),))
    root = ET.fromstring(draw_histogram(wide))
    for element in root.iter():
        for name in ("x", "x1", "x2"):
            assert 0 <= float(element.attrib.get(name, 0)) <= 360
