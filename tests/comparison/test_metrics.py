"""Metrics against NumPy's own formulas, and what a user's callable may be."""

import math
from pathlib import Path

import numpy as np
import pytest

from oq.comparison.metrics import BUILT_IN, Score, Value, open_metric
from oq.errors import DataError, OptionError
from oq.numerics.values import Array

RANDOM = np.random.default_rng(0)
EXACT = RANDOM.normal(size=(30, 6)).astype(np.float32)
FOUND = (EXACT + RANDOM.normal(0, 0.5, EXACT.shape)).astype(np.float32)
LABELS = RANDOM.integers(0, 6, 30)


def value(name: str, exact: Array, found: Array, labels: Array | None, size: int = 7) -> Value:
    metric = open_metric(name).start()
    for i in range(0, len(exact), size):
        part = slice(i, i + size)
        metric.update(
            {"y": exact[part]}, {"y": found[part]}, None if labels is None else labels[part]
        )
    return metric.value()


def test_top1_is_accuracy_with_labels_and_agreement_without() -> None:
    right = [100 * float((s.argmax(axis=1) == LABELS).mean()) for s in (EXACT, FOUND)]
    assert value("top1", EXACT, FOUND, LABELS) == pytest.approx(right)
    agree = 100 * float((EXACT.argmax(axis=1) == FOUND.argmax(axis=1)).mean())
    assert value("top1", EXACT, FOUND, None) == pytest.approx(agree)


def test_top5_looks_at_five() -> None:
    fifth = []
    for scores in (EXACT, FOUND):
        pairs = zip(scores, LABELS, strict=True)
        fifth.append(100 * float(np.mean([k in np.argsort(-row)[:5] for row, k in pairs])))
    assert value("top5", EXACT, FOUND, LABELS) == pytest.approx(fifth)


def test_sqnr_and_cosine_are_of_the_worst_output() -> None:
    x, y = EXACT.astype(np.float64), FOUND.astype(np.float64)
    db = 10 * math.log10((x**2).sum() / ((x - y) ** 2).sum())
    assert value("sqnr", EXACT, FOUND, None) == pytest.approx(db)
    cosine = float((x * y).sum() / np.sqrt((x**2).sum() * (y**2).sum()))
    assert value("cosine", EXACT, FOUND, None) == pytest.approx(cosine)
    metric = open_metric("sqnr").start()
    metric.update({"a": EXACT, "b": EXACT}, {"a": EXACT, "b": FOUND}, None)
    assert metric.value() == pytest.approx(db)


def iou(predicted: Array, wanted: Array, classes: int) -> float:
    """Class by class, pixel by pixel."""
    usable = wanted < classes
    found = []
    for c in range(classes):
        p, w = (predicted == c) & usable, (wanted == c) & usable
        if (p | w).any():
            found.append((p & w).sum() / (p | w).sum())
    return 100 * float(np.mean(found))


def test_mean_iou_is_over_all_pixels_and_the_classes_that_occur() -> None:
    first, second = (RANDOM.normal(size=(9, 5, 4, 3)).astype(np.float32) for _ in range(2))
    first[:, 4] = second[:, 4] = -9  # never predicted
    labels = RANDOM.integers(0, 4, (9, 4, 3))
    labels[0, 0] = 255  # void
    expected = [iou(s.argmax(axis=1), labels, 5) for s in (first, second)]
    assert value("miou", first, second, labels, 4) == pytest.approx(expected)
    # without labels of its own the float model's prediction is what is wanted
    alone = iou(second.argmax(axis=1), first.argmax(axis=1), 5)
    assert value("miou", first, second, None, 4) == pytest.approx(alone)


def test_classes_that_an_argmax_has_chosen_are_measured_as_scores_are() -> None:
    first, second = (s.argmax(axis=1) for s in (EXACT, FOUND))
    for labels in (LABELS, None):
        expected = value("top1", EXACT, FOUND, labels)
        assert value("top1", first, second, labels) == pytest.approx(expected)
        columns = first[:, None], second[:, None]
        assert value("top1", columns[0], columns[1], labels) == pytest.approx(expected)
    with pytest.raises(DataError, match="'y' holds one class per sample, not five"):
        value("top5", first, second, LABELS)


def test_mean_iou_of_an_argmax_is_that_of_its_scores() -> None:
    first, second = (RANDOM.normal(size=(9, 5, 4, 3)).astype(np.float32) for _ in range(2))
    first[:7, 4] = second[:7, 4] = -9  # a class that only the last batch has
    labels = RANDOM.integers(0, 5, (9, 4, 3))
    labels[0, 0] = 255
    best, other = (s.argmax(axis=1).astype(np.uint8) for s in (first, second))
    for wanted in (labels, None):
        expected = value("miou", first, second, wanted, 4)
        assert value("miou", best, other, wanted, 4) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["top1", "top5", "miou"])
def test_a_metric_that_fits_no_output(name: str) -> None:
    with pytest.raises(DataError, match=r"no output has axes \(sample, class"):
        value(name, EXACT[:, 0], FOUND[:, 0], None)


# ---- the user's own


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own_metrics.py").write_text(
        """
import numpy as np
THREE = 3
def gap(exact, found, labels):
    return np.abs(exact["y"] - found["y"]).mean()
def pair(exact, found, labels):
    return labels.mean(), 2.0
def words(exact, found, labels):
    return "good"
class Largest:
    def __init__(self):
        self.seen = []
    def update(self, exact, found, labels):
        self.seen.append(np.abs(exact["y"] - found["y"]).max())
    def value(self):
        return 0.0, float(max(self.seen))
class Empty:
    pass
"""
    )


@pytest.mark.usefixtures("module")
def test_a_function_is_averaged_over_samples() -> None:
    # batches of 7, 7, 7, 7 and 2: a plain mean over batches would be another number
    found = value("own_metrics:gap", EXACT, FOUND, None)
    assert found == pytest.approx(float(np.abs(EXACT - FOUND).mean()))
    assert value("own_metrics:pair", EXACT, FOUND, LABELS) == pytest.approx((LABELS.mean(), 2.0))


@pytest.mark.usefixtures("module")
def test_a_class_sees_every_batch_and_starts_afresh() -> None:
    figure = open_metric("own_metrics:Largest")
    first, second = figure.start(), figure.start()
    first.update({"y": EXACT}, {"y": FOUND}, None)
    second.update({"y": EXACT}, {"y": EXACT}, None)
    largest = float(np.abs(EXACT - FOUND).max())
    score = figure.score(first, "literal")
    assert score == Score("own_metrics:Largest", "literal", largest, 0.0)
    assert score.drop == -largest
    assert figure.score(second, "literal").value == 0.0
    assert Score("m", "literal", 1.0).drop is None


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("map", "expected top1, .* boxes, text, embedding or package.module:callable"),
        ("no_such_module:f", "No module named"),
        ("own_metrics:missing", "has no attribute 'missing'"),
        ("own_metrics:THREE", "is a int; expected a function or a class"),
        ("own_metrics:Empty", r"class Empty needs update\(\) and value\(\)"),
        ("own_metrics:words", r"gave 'good'; expected a number, or the pair"),
    ],
)
def test_what_is_no_metric(name: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        value(name, EXACT, FOUND, LABELS)


def test_equal_outputs_are_perfect_by_every_metric() -> None:
    images = RANDOM.normal(size=(8, 3, 2, 2)).astype(np.float32)
    boxes = np.concatenate([images[:, :, :2, 0], images[:, :, :2, 0] + 2, images[:, :, :2, 1]], 2)
    fitting = {"miou": images, "boxes": boxes, "text": images[..., 0]}
    for name in BUILT_IN:
        data = fitting.get(name, EXACT)
        best = {"cosine": 1.0, "sqnr": math.inf}.get(name, 100.0)
        assert value(name, data, data, None) == pytest.approx(best), name


def test_embedding_is_the_mean_cosine_of_samples() -> None:
    x, y = EXACT.astype(np.float64), FOUND.astype(np.float64)
    each = (x * y).sum(axis=1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
    assert value("embedding", EXACT, FOUND, None) == pytest.approx(100 * each.mean())
    nothing = np.zeros((4, 3), np.float32)
    assert value("embedding", nothing, nothing, None) == 100.0
    assert value("embedding", nothing, np.ones_like(nothing), None) == 0.0


def scores(*texts: list[int]) -> Array:
    """One-hot scores (sample, position, class)."""
    made: Array = np.eye(5, dtype=np.float32)[np.array(texts)]
    return made


def test_text_merges_repeats_and_leaves_blanks_out() -> None:
    exact = scores([1, 1, 0, 1, 2], [3, 0, 0, 4, 4], [2, 2, 2, 2, 2])
    found = scores([1, 0, 1, 1, 2], [3, 4, 4, 0, 3], [2, 0, 0, 0, 0])
    # 1 1 2 both times; 3 4 against 3 4 3; 2 both times
    assert value("text", exact, found, None, 2) == pytest.approx(200 / 3)
    labels = np.array([[1, 1, 2, -1], [3, 4, 3, 0], [2, -1, -1, -1]])
    assert value("text", exact, found, labels, 2) == pytest.approx((200 / 3, 100))
    tokens = np.array([[1, 1, 0], [2, 3, 4]])
    assert value("text", tokens, np.array([[1, 0, 1], [2, 3, 4]]), None) == 50.0
    with pytest.raises(DataError, match="no output has axes"):
        value("text", EXACT, FOUND, None)
