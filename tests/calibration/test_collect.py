"""Collecting: the same statistics however the samples are cut into batches."""

import threading
from collections.abc import Iterator, Mapping
from functools import reduce
from itertools import pairwise

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oq.calibration.collect import collect
from oq.errors import DataError
from oq.model import session
from oq.model.graph import Graph
from oq.model.session import Settings
from oq.numerics.statistics import EMPTY, Need, Statistics, merge, observe
from oq.numerics.values import INT8, INT8_NARROW, INT32, UINT8, Array, Batch
from oq.planning.setup import tensors_to_calibrate
from oq.planning.spec import Fixed, Own, Plan, Product, Share, Site
from tests.small import floats, normal, small

TWO = small(
    """net (float[n,3] x, float[n,3] z) => (float[n,3] y) {
        a = Mul(x, z)
        b = Relu(a)
        y = Neg(b)
    }"""
)
SAMPLES = {"x": normal(12, 3), "z": normal(12, 3, seed=1) * 4}


def cut(sizes: list[int]) -> Iterator[Batch]:
    """The samples in batches of these sizes."""
    start = 0
    for size in sizes:
        yield Batch({k: v[start : start + size] for k, v in SAMPLES.items()})
        start += size


@st.composite
def partitions(draw: st.DrawFn) -> list[int]:
    ends = sorted(draw(st.sets(st.integers(1, 11))) | {12})
    return [b - a for a, b in pairwise([0, *ends])]


@given(partitions())
def test_batching_does_not_matter(sizes: list[int]) -> None:
    found = collect(TWO, ["x", "a", "b", "y"], cut(sizes))
    a = SAMPLES["x"] * SAMPLES["z"]
    expected = {"x": SAMPLES["x"], "a": a, "b": np.maximum(a, 0), "y": -np.maximum(a, 0)}
    assert found == {name: observe(values) for name, values in expected.items()}


def test_two_halves_merge_to_the_whole() -> None:
    first, second = (collect(TWO, ["a"], [b])["a"] for b in cut([5, 7]))
    assert merge(first, second) == collect(TWO, ["a"], cut([12]))["a"]


def test_only_the_asked_tensors_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    exposed: list[list[str]] = []

    def watch(model: onnx.ModelProto, tensors: list[str]) -> onnx.ModelProto:
        exposed.append(list(tensors))
        return session.expose(model, tensors)

    monkeypatch.setattr("oq.calibration.collect.expose", watch)
    assert list(collect(TWO, ["b", "z"], cut([12]))) == ["b", "z"]
    assert exposed == [["b"]]


def test_graph_inputs_alone_need_no_session() -> None:
    unloadable = small("net (float[n,3] x) => (float[n,3] y) { y = com.example.Mystery(x) }")
    found = collect(unloadable, ["x"], [Batch({"x": SAMPLES["x"]})])
    assert found == {"x": observe(SAMPLES["x"])}


def test_batches_are_taken_one_by_one() -> None:
    taken: list[int] = []
    done: list[int] = []

    def stream() -> Iterator[Batch]:
        for i, batch in enumerate(cut([4, 2, 6])):
            assert len(done) == i  # the one before is finished
            taken.append(i)
            yield batch

    collect(TWO, ["a"], stream(), Settings(threads=1), done.append)
    assert (taken, done) == ([0, 1, 2], [4, 6, 12])


def test_values_that_are_not_finite_are_counted_apart() -> None:
    model = small("net (float[n] x) => (float[n] y) { a = Log(x)\n y = Neg(a) }")
    found = collect(model, ["a"], [Batch({"x": floats(1.0, 0.0, -1.0, np.e)})])["a"]
    assert (found.count, found.nonfinite, found.lo) == (2, 2, 0.0)
    assert found.hi == pytest.approx(1.0)


def test_no_samples() -> None:
    for batches in ([], list(cut([0]))):
        with pytest.raises(DataError, match="the calibration data holds no samples"):
            collect(TWO, ["a"], batches)


def test_a_failing_batch_and_the_literal_reading() -> None:
    with pytest.raises(DataError, match="the model fails on a batch of"):
        collect(TWO, ["a"], [Batch({"x": normal(2, 4), "z": normal(2, 3)})])
    literal = collect(TWO, ["a"], cut([12]), Settings(reading="literal"))
    assert literal == collect(TWO, ["a"], cut([12]))


def test_no_tensors_still_counts_the_samples() -> None:
    done: list[int] = []
    assert collect(TWO, [], cut([5, 7]), progress=done.append) == {}
    assert done == [5, 12]


def test_own_grids_on_computed_tensors_are_measured_once() -> None:
    model = small(
        "net (float[n,3] x) => (float[n,3] y) { a = MatMul(x, w)\n y = Relu(a) }",
        {"w": normal(3, 3)},
    )
    sites = (
        Site("x", Own(UINT8), "activation", "r", ("MatMul_a",)),
        Site("x", Own(INT8), "activation", "r", ("other",)),
        Site("w", Own(INT8_NARROW, 1), "weight", "r", ("MatMul_a",)),
        Site("b", Product(INT32, "x", "w"), "bias", "r", ("MatMul_a",)),
        Site("y", Share("a"), "activation", "r"),
        Site("f", Fixed(UINT8, 1 / 256, 0), "activation", "r"),
        Site("a", Own(UINT8), "activation", "r"),
    )
    plan = Plan("t", sites, (), ())
    assert tensors_to_calibrate(plan, Graph(model).view()) == ("x", "a")


@pytest.mark.parametrize(("shape", "samples"), [((4, 2), 4), ((0, 2), 0), ((), 1)])
def test_batch_size(shape: tuple[int, ...], samples: int) -> None:
    assert Batch({"x": np.zeros(shape)}).samples == samples


# ---- workers, shapes and dtypes

ALL = frozenset(Need)

COUNTING = small(
    """net (float[n,4] x, int64[n,4] k, bool[n,4] m) => (float[n,4] y) {
        a = Mul(x, w)
        f = Cast <to = 1> (k)
        b = Add(a, f)
        z = Where(m, b, a)
        y = Relu(z)
    }""",
    {"w": floats(2.0, -3.0, 4.0, 0.0)},
)
"""Small whole numbers throughout: float32 holds every one of them exactly."""


def counting(samples: int = 37) -> dict[str, Array]:
    random = np.random.default_rng(0)
    return {
        "x": random.integers(-9, 9, (samples, 4)).astype(np.float32),
        "k": random.integers(0, 30000, (samples, 4)),
        "m": random.integers(0, 2, (samples, 4)).astype(bool),
    }


def expected(feeds: Mapping[str, Array]) -> dict[str, Array]:
    a = feeds["x"] * floats(2.0, -3.0, 4.0, 0.0)
    b = a + feeds["k"].astype(np.float32)
    z = np.where(feeds["m"], b, a)
    return {**feeds, "a": a, "b": b, "z": z, "y": np.maximum(z, 0)}


@pytest.mark.parametrize("size", [1, 5, 8, 37])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_workers_and_batch_sizes_do_not_matter(size: int, threads: int) -> None:
    """Integer, bool and float inputs, and what is computed from them: counts and histograms to
    the last value; per-batch extremes by the number of the batch's first sample."""
    feeds = counting()
    batches = [Batch({k: v[i : i + size] for k, v in feeds.items()}) for i in range(0, 37, size)]
    tensors = dict.fromkeys("xkmabzy", ALL)
    found = collect(COUNTING, tensors, batches, Settings(threads=threads))
    for name, values in expected(feeds).items():
        parts = [observe(values[i : i + size], ALL, i) for i in range(0, 37, size)]
        assert found[name] == reduce(merge, parts), name
        assert found[name].count == values.size


def test_only_the_needs_of_each_tensor_are_met() -> None:
    needs = {"x": frozenset({Need.BATCHES}), "a": frozenset({Need.HISTOGRAM}), "y": frozenset()}
    found = collect(COUNTING, needs, [Batch(counting())])
    kept = {t: (s.histogram is not None, s.batches is not None) for t, s in found.items()}
    assert kept == {"x": (False, True), "a": (True, False), "y": (False, False)}


def test_batches_of_unequal_shapes_and_dynamic_axes() -> None:
    """Sentences of different lengths: the crash of other tools that stack what they collect."""
    model = small(
        "net (float[n,t,3] x) => (float[n,t,2] y) { a = MatMul(x, w)\n y = Relu(a) }",
        {"w": np.asarray([[1, -2], [3, 0], [0, 5]], np.float32)},
    )
    random = np.random.default_rng(0)
    shapes = [(2, 7, 3), (1, 1, 3), (4, 30, 3), (3, 2, 3)]
    arrays = [random.integers(-9, 9, s).astype(np.float32) for s in shapes]
    found = collect(model, {"x": ALL, "a": ALL}, [Batch({"x": x}) for x in arrays])
    flat = np.concatenate([x.reshape(-1, 3) for x in arrays])
    weight = np.asarray([[1, -2], [3, 0], [0, 5]], np.float32)
    for name, values in (("x", flat), ("a", flat @ weight)):
        whole = observe(values, frozenset({Need.HISTOGRAM}))
        assert (found[name].lo, found[name].hi) == (whole.lo, whole.hi)
        assert np.array_equal(found[name].histogram, whole.histogram)  # type: ignore[arg-type]
    rows = found["x"].batches
    assert rows is not None and rows[:, 0].tolist() == [0, 2, 3, 7]


def test_half_precision_inputs_and_activations() -> None:
    model = small("net (float16[n,3] x) => (float16[n,3] y) { a = Add(x, x)\n y = Neg(a) }")
    x = np.asarray([[1.5, -2.0, 60000.0], [0.0, 0.25, 8.0]], np.float16)
    found = collect(model, {"x": ALL, "a": ALL}, [Batch({"x": x})])
    assert found["x"] == observe(x, ALL)
    assert (found["a"].count, found["a"].nonfinite, found["a"].hi) == (5, 1, 16.0)


def test_attention_masks_are_counted_apart() -> None:
    model = small("net (float[n,3] x, float[n,3] mask) => (float[n,3] y) { y = Add(x, mask) }")
    feeds = {"x": floats(1, 2, 3)[None], "mask": floats(0, -1e9, -np.inf)[None]}
    found = collect(model, {"y": ALL}, [Batch(feeds)])["y"]
    assert (found.count, found.masked, found.nonfinite) == (1, 1, 1)
    assert (found.lo, found.hi) == (1.0, 1.0)


def test_save_gets_more_and_more_and_never_more_than_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("oq.calibration.collect.SAVE_SECONDS", 0.002)
    feeds, saved = counting(200), list[tuple[int, dict[str, Statistics]]]()
    batches = [Batch({k: v[i : i + 2] for k, v in feeds.items()}) for i in range(0, 200, 2)]

    def slowly() -> Iterator[Batch]:
        for batch in batches:
            threading.Event().wait(0.0005)
            yield batch

    def save(done: int, found: Mapping[str, Statistics]) -> None:
        saved.append((done, dict(found)))

    whole = collect(COUNTING, dict.fromkeys("xy", ALL), slowly(), Settings(threads=2), save=save)
    counts = [done for done, _ in saved]
    assert len(counts) > 2 and counts == sorted(counts)
    for done, found in saved:
        for name in "xy":
            values = expected({k: v[:done] for k, v in feeds.items()})[name]
            parts = [observe(values[i : i + 2], ALL, i) for i in range(0, done, 2)]
            assert found[name] == reduce(merge, parts, EMPTY)
    assert whole["x"].count == 800


def test_no_one_saves_unasked() -> None:
    saved: list[int] = []
    collect(COUNTING, ["x"], [Batch(counting())], save=lambda done, _: saved.append(done))
    assert saved == []  # all of it is the caller's to keep


def test_the_number_of_the_first_sample_may_be_given() -> None:
    found = collect(COUNTING, {"x": ALL}, [Batch(counting(3)), Batch(counting(2))], first=40)
    assert found["x"].batches is not None
    assert found["x"].batches[:, 0].tolist() == [40, 43]


@pytest.mark.parametrize("threads", [1, 4])
def test_a_failing_batch_stops_every_worker(threads: int) -> None:
    """Batch 10 of 1,000 has one feature too many; what is in flight ends, nothing more starts."""
    given: list[int] = []

    def stream() -> Iterator[Batch]:
        for i in range(1000):
            given.append(i)
            x = normal(2, 4 if i == 10 else 3)
            threading.Event().wait(0.001)
            yield Batch({"x": x, "z": normal(2, 3)})

    before = threading.active_count()
    with pytest.raises(DataError, match=r"the model fails on a batch of x float32\[2, 4\]"):
        collect(TWO, ["a"], stream(), Settings(threads=threads))
    assert 11 <= len(given) < 100
    assert threading.active_count() == before


@pytest.mark.parametrize("threads", [1, 4])
def test_data_that_fails_stops_every_worker(threads: int) -> None:
    def stream() -> Iterator[Batch]:
        yield from cut([4, 4])
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        collect(TWO, ["a"], stream(), Settings(threads=threads))


def test_progress_counts_every_sample_once_whoever_ran_it() -> None:
    told: list[int] = []
    batches = [Batch(counting(3)) for _ in range(50)]
    collect(COUNTING, ["y"], batches, Settings(threads=4), told.append)
    assert told == list(range(3, 151, 3))
