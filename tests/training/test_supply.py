"""The order of samples: all of them in each epoch, another order in each, the same by seed."""

import numpy as np

from oq.data.source import open_source
from oq.numerics.values import TensorInfo
from oq.training.supply import Supply

FREE = [TensorInfo("x", "float32", ("n", 2))]


def supply(count: int = 21, *, batch: int = 4, limit: int = 10**6, seed: int = 0,
           inputs: list[TensorInfo] = FREE) -> Supply:  # fmt: skip
    values = np.repeat(np.arange(count, dtype=np.float32)[:, None], 2, 1)
    return Supply(open_source({"x": values}, inputs), batch, limit, seed)


def order(given: Supply, epoch: int) -> list[list[float]]:
    return [
        [float(v) for b in lesson for v in b.feeds["x"][:, 0]] for lesson in given.lessons(epoch)
    ]


def test_an_epoch_has_every_sample_once_in_an_order_of_its_own() -> None:
    given = supply()
    first, second = order(given, 0), order(given, 1)
    assert [len(step) for step in first] == [4, 4, 4, 4, 4, 1] and given.count == 21
    for found in (first, second):
        assert sorted(v for step in found for v in step) == list(range(21))
    assert first != second
    assert order(supply(), 1) == second and order(supply(seed=1), 1) != second


def test_what_memory_does_not_hold_is_drawn_anew_in_each_epoch() -> None:
    given = supply(limit=8 * 10)
    drawn = [sorted(v for step in order(given, e) for v in step) for e in range(8)]
    assert given.count == 10 and all(len(set(d)) == 10 for d in drawn)
    assert drawn[0] != drawn[1] and len({v for d in drawn for v in d}) > 18


def test_a_fixed_batch_size_makes_steps_of_several_batches() -> None:
    given = supply(24, batch=6, inputs=[TensorInfo("x", "float32", (4, 2))])
    lessons = list(given.lessons(0))
    assert [[b.samples for b in lesson] for lesson in lessons] == [[4, 4], [4, 4], [4, 4]]


def test_complete_feeds_of_several_shapes_are_taken_one_after_the_other() -> None:
    feeds = [{"x": np.full((1, n), n, np.float32)} for n in (2, 3, 2, 5, 3, 7)]
    given = Supply(open_source(feeds, [TensorInfo("x", "float32", (1, "t"))]), 4, 10**6, 0)
    lessons = list(given.lessons(0))
    assert [len(lesson) for lesson in lessons] == [4, 2]
    assert sorted(b.feeds["x"].shape[1] for s in lessons for b in s) == [2, 2, 3, 3, 5, 7]
