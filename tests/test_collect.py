"""Collecting: the same statistics however the samples are cut into batches."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oq import session
from oq.collect import batch_size, collect, tensors_to_calibrate
from oq.errors import DataError
from oq.graph import Graph
from oq.session import Settings
from oq.spec import INT8, INT8_NARROW, INT32, UINT8, Batch, Fixed, Own, Plan, Product, Share, Site
from oq.statistics import merge, observe
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

    monkeypatch.setattr("oq.collect.expose", watch)
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
    assert batch_size(Batch({"x": np.zeros(shape)})) == samples
