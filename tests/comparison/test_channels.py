"""A channel that is lost shows, whatever the SQNR of the whole output."""

from dataclasses import replace

import numpy as np
import pytest

from oq.comparison.channels import ChannelSums, channel_axis
from oq.numerics.values import Array


def detections(seed: int = 0) -> Array:
    """(1, 6, 200): four box coordinates up to 640 pixels, and two scores in 0..1."""
    random = np.random.default_rng(seed)
    boxes, scores = random.uniform(0, 640, (1, 4, 200)), random.uniform(0, 1, (1, 2, 200))
    return np.concatenate([boxes, scores], axis=1).astype(np.float32)


def test_scores_under_the_grid_of_boxes_are_lost() -> None:
    exact, sums = detections(), ChannelSums()
    step = 640 / 255
    rounded = np.rint(exact / step) * step
    whole = 10 * np.log10((exact**2).sum() / ((exact - rounded) ** 2).sum())
    sums.add(exact, rounded)
    found = sums.result(3.0)
    assert whole > 50 and found is not None
    assert (found.axis, found.lost, found.judged) == (1, 2, 6)
    assert found.worst in {4, 5} and found.sqnr_db == pytest.approx(0, abs=0.1)


def test_a_score_that_stays_near_0_is_not_judged() -> None:
    exact, sums = detections(), ChannelSums()
    exact[:, 5] *= 0.01
    other = exact.copy()
    other[:, 5] = 0
    sums.add(exact, other)
    found = sums.result(3.0)
    assert found is not None and (found.lost, found.judged) == (0, 5)


def test_batches_add_up_and_other_shapes_are_left_out() -> None:
    whole, parts = ChannelSums(), ChannelSums()
    exact = np.concatenate([detections(0), detections(1)])
    other = exact + np.float32(0.5)
    whole.add(exact, other)
    for i in range(2):
        parts.add(exact[i : i + 1], other[i : i + 1])
    parts.add(exact[:, :, :5], other[:, :, :4])
    first, second = whole.result(3.0), parts.result(3.0)
    assert first is not None and second is not None
    assert first.sqnr_db == pytest.approx(second.sqnr_db, rel=1e-9)
    assert replace(first, sqnr_db=0.0) == replace(second, sqnr_db=0.0)


@pytest.mark.parametrize(
    ("shape", "axis"),
    [((1, 84, 8400), 1), ((1, 300, 6), 2), ((2, 3, 32, 32), 1), ((2, 32, 32, 3), 3), ((4, 10), 1),
     ((8, 1000), None), ((8,), None), ((8, 1), None)],
)  # fmt: skip
def test_the_channel_axis(shape: tuple[int, ...], axis: int | None) -> None:
    assert channel_axis(shape) == axis


def test_few_values_are_not_judged() -> None:
    sums = ChannelSums()
    sums.add(np.ones((8, 4), np.float32), np.zeros((8, 4), np.float32))
    assert sums.result(3.0) is None
