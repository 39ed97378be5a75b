"""Agreement of boxes, against counts and curves done by hand."""

import numpy as np
import pytest

from oq.comparison.detections import Found, Raw, are_corners, iou, keep, read_boxes, suppress
from oq.comparison.metrics import open_metric
from oq.errors import DataError
from oq.numerics.values import Array

BOXES = np.array([[0, 0, 10, 10], [20, 20, 40, 40], [50, 0, 60, 30]], np.float32)


def ends(boxes: Array, scores: list[float], classes: list[int]) -> dict[str, Array]:
    """One sample of an end-to-end detector."""
    columns = np.array([scores, classes], np.float32).T
    return {"y": np.concatenate([boxes, columns], axis=1)[None]}


def value(exact: dict[str, Array], found: dict[str, Array]) -> float:
    metric = open_metric("boxes").start()
    metric.update(exact, found, None)
    answer = metric.value()
    assert isinstance(answer, float)
    return answer


def centred(corners: Array) -> Array:
    return np.concatenate(
        [(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1
    )


def test_iou_of_a_quarter_and_of_nothing() -> None:
    other = np.array([[0, 0, 5, 5], [5, 5, 15, 15], [100, 100, 101, 101], [3, 3, 3, 3]], np.float32)
    assert iou(BOXES[:1], other)[0] == pytest.approx([25 / 100, 25 / 175, 0, 0])


def test_the_float_models_own_boxes_are_100() -> None:
    exact = ends(BOXES, [0.9, 0.8, 0.3], [0, 1, 1])
    assert value(exact, exact) == 100.0
    shifted = ends(BOXES + 1, [0.5, 0.8, 0.3], [0, 1, 1])  # IoU 81/119 and more
    assert value(exact, shifted) == 100.0


def test_a_lost_box_a_wrong_class_and_a_false_alarm() -> None:
    exact = ends(BOXES, [0.9, 0.8, 0.7], [0, 1, 1])
    # class 0: found; class 1: one of two is found: recall 1/2 at precision 1
    assert value(exact, ends(BOXES, [0.9, 0.8, 0.1], [0, 1, 1])) == pytest.approx(75.0)
    # the third says class 0: a false alarm behind a hit leaves AP_0 at 1
    assert value(exact, ends(BOXES, [0.9, 0.8, 0.7], [0, 1, 0])) == pytest.approx(75.0)
    # the false alarm of class 1 ranks first: precisions 1/2, 2/3, made monotonic: 2/3
    alarm = np.concatenate([BOXES, [[200, 200, 210, 210]]]).astype(np.float32)
    found = value(exact, ends(alarm, [0.9, 0.8, 0.7, 0.99], [0, 1, 1, 1]))
    assert found == pytest.approx(100 * (1 + 2 / 3) / 2)
    # a class that the float model never finds counts as 0
    assert value(exact, ends(alarm, [0.9, 0.8, 0.7, 0.9], [0, 1, 1, 5])) == pytest.approx(200 / 3)


def test_one_box_is_found_once() -> None:
    exact = ends(BOXES[:1], [0.9], [0])
    twice = ends(np.repeat(BOXES[:1], 2, axis=0), [0.9, 0.8], [0, 0])
    both = ends(BOXES[:2], [0.9, 0.8], [0, 0])
    assert value(exact, twice) == 100.0  # the second is a false alarm behind full recall
    assert value(both, twice) == pytest.approx(50.0)


def test_the_layouts_say_the_same() -> None:
    corners = np.concatenate([BOXES] * 20)[:40] + np.arange(40, dtype=np.float32)[:, None] * 100
    generator = np.random.default_rng(0)
    classes = generator.uniform(0, 1, (40, 3)).astype(np.float32)
    v8 = np.concatenate([centred(corners), classes], axis=1).T[None]
    sure = np.ones((40, 1), np.float32)
    v5 = np.concatenate([centred(corners), sure, classes], axis=1)[None]
    ssd = {"boxes": corners[None], "scores": classes[None]}
    turned = {"boxes": corners[None], "scores": classes.T[None]}
    kept = []
    for outputs in ({"y": v8}, {"y": v5}, ssd, turned):
        raw = read_boxes(outputs)
        ordered = are_corners(raw)
        assert ordered is ("boxes" in outputs)
        (found,) = keep(raw, bool(ordered))
        kept.append(found)
    for found in kept[1:]:
        np.testing.assert_allclose(found.corners, kept[0].corners, atol=1e-3)
        np.testing.assert_array_equal(found.classes, kept[0].classes)
    assert len(kept[0].scores) == int((classes.max(axis=1) >= 0.25).sum())


def test_logits_get_a_sigmoid() -> None:
    logits = np.array([[[2.0, -3.0], [-2.0, -3.0]]], np.float32)
    (found,) = keep(read_boxes({"b": BOXES[None, :2], "s": logits}), True)
    assert found.scores == pytest.approx([1 / (1 + np.exp(-2.0))])


def test_suppression_keeps_the_best_of_a_class() -> None:
    near = BOXES[[0, 0, 0]] + np.array([[0], [1], [2]], np.float32)
    found = suppress(Found(near, np.array([0.9, 0.8, 0.7]), np.array([1, 1, 2])))
    assert found.scores.tolist() == [0.9, 0.7]


def test_without_boxes_there_is_nothing_to_miss() -> None:
    nothing = ends(BOXES, [0.1, 0.1, 0.1], [0, 0, 0])
    assert value(nothing, nothing) == 100.0
    assert value(nothing, ends(BOXES, [0.9, 0.1, 0.1], [0, 0, 0])) == 0.0
    assert are_corners(Raw(BOXES[None], np.zeros((1, 3, 2)), False)) is None


def test_no_output_with_boxes() -> None:
    with pytest.raises(DataError, match="no output has axes"):
        read_boxes({"y": np.zeros((2, 10), np.float32)})
