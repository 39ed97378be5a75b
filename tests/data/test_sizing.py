"""Batches of the samples' real size, within a limit."""

from pathlib import Path

import numpy as np
import pytest

from oq.data.sizing import ALONE, CACHE_BYTES, LARGE, Sizing
from oq.data.source import open_source
from oq.model.footprint import Footprint
from oq.model.proto_fields import inputs_of
from oq.numerics.values import Batch
from tests.small import normal, small

MODEL = small("net (float[n,1,h,w] x) => (float[n,1,h,w] y) { r = Relu(x) y = Neg(r) }")
KEPT = frozenset({"x", "r"})


def image(side: int, samples: int = 1) -> Batch:
    return Batch({"x": np.zeros((samples, 1, side, side), np.float32)})


def bytes_of(side: int) -> int:
    return 4 * side * side


@pytest.mark.parametrize("side", [16, 500, 1000, 2500, 4100])
@pytest.mark.parametrize("samples", [1, 3])
def test_as_many_as_fit_the_cache_of_what_is_kept(side: int, samples: int) -> None:
    size = Sizing(Footprint(MODEL), 10**12, kept=KEPT)(image(side, samples))
    sample = 2 * bytes_of(side)
    assert size in (1, 2, 4, 8, 16)
    assert size == 16 or 2 * size * sample > CACHE_BYTES
    assert size * sample <= CACHE_BYTES or size == (1 if sample > LARGE else 2)


@pytest.mark.parametrize("side", [16, 700, 720, 1100])
def test_a_large_sample_runs_alone_where_batches_do_not_count(side: int) -> None:
    plain, alone = (Sizing(Footprint(MODEL), kept=KEPT, alone=a) for a in (LARGE, ALONE))
    expected = 1 if 2 * bytes_of(side) > ALONE else plain(image(side))
    assert alone(image(side)) == expected and plain(image(side)) > 1


@pytest.mark.parametrize("kept", [KEPT, None])
def test_a_limit_makes_it_smaller_and_is_told(kept: frozenset[str] | None) -> None:
    sizing = Sizing(Footprint(MODEL), 40 * bytes_of(100), wanted=32, kept=kept)
    assert sizing(image(10)) == 32 and sizing.least is None
    size = sizing(image(100))
    assert size * sizing.cost(image(100)) <= sizing.limit < 2 * size * sizing.cost(image(100))
    assert sizing.least == size
    assert sizing(image(1000)) == sizing.least == 1


def test_a_source_gives_each_shape_its_size(tmp_path: Path) -> None:
    """Samples stay in their order; only those of one shape share a batch."""
    sides = [100] * 5 + [10] * 40 + [100] * 3
    for i, side in enumerate(sides):
        np.savez(tmp_path / f"{i:03}.npz", x=np.full((1, 1, side, side), i, np.float32))
    sizing = Sizing(Footprint(MODEL), 8 * bytes_of(100), wanted=32)
    source = open_source(tmp_path, inputs_of(MODEL))
    batches = list(source.batches(sizing))
    assert [b.samples for b in batches] == [2, 2, 1, 32, 8, 2, 1]
    assert [int(v) for b in batches for v in b.feeds["x"][:, 0, 0, 0]] == [*range(len(sides))]
    assert [b.samples for b in source.batches(sizing, start=3, stop=6)] == [2, 1]


def test_rows_of_one_shape_are_read_as_many_at_a_time() -> None:
    model = small("net (float[n,4] x) => (float[n,4] y) { y = Relu(x) }")
    sizing = Sizing(Footprint(model), 100, wanted=64)
    batches = list(open_source(normal(10, 4), inputs_of(model)).batches(sizing))
    assert [b.samples for b in batches] == [2] * 5  # 64, 32, ... until two tensors of 16 bytes fit


def test_complete_feeds_stay_whole() -> None:
    feeds = [{"x": normal(7, 1, 100, 100)}]
    sizing = Sizing(Footprint(MODEL), 1, wanted=8)
    assert [b.samples for b in open_source(feeds, inputs_of(MODEL)).batches(sizing)] == [7]


BAKED = {
    "fails": """net (float[n,2,4] x) => (float[n,3] y) {
        f = Reshape(x, flat) y = MatMul(f, w) }""",
    "mixes": """net (float[n,2,4] x) => (float[m,4] y) {
        f = Reshape(x, rows) s = Softmax <axis = 1> (f) y = Reshape(s, back) }""",
    "takes any number": """net (float[n,2,4] x) => (float[n,2,4] y) {
        m = Reshape(b, mask) y = Add(x, m) }""",
}
SHAPES = {"flat": [1, 8], "rows": [1, -1, 4], "back": [-1, 4], "mask": [1, 2, 4]}
VALUES = {"w": normal(8, 3), "b": normal(8)} | {k: np.array(v) for k, v in SHAPES.items()}


@pytest.mark.parametrize("case", BAKED)
def test_a_batch_of_one_that_was_exported_into_a_reshape(case: str) -> None:
    text = BAKED[case]
    model = small(text, {k: v for k, v in VALUES.items() if f"{k})" in text or f"({k}," in text})
    sizing = Sizing(Footprint(model), wanted=4)
    assert sizing(Batch({"x": normal(4, 2, 4, seed=1)})) == (4 if case[0] == "t" else 1)


def test_an_op_that_takes_one_sample_at_a_time() -> None:
    model = small("net (float[n,4] x) => (float[n,4] y) { y = Relu(x) }")
    model.graph.node[0].op_type, model.graph.node[0].domain = "GroupQueryAttention", "com.microsoft"
    assert Sizing(Footprint(model), wanted=4)(Batch({"x": normal(4, 4)})) == 1
