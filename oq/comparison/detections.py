"""The metric ``boxes``: what a detector finds, against what the float model finds.

The float model's boxes stand in for the truth: ``AP_c`` is the area under the curve of precision
over recall of the quantized model's boxes of class ``c``, where a box is right if it overlaps one
of the float model's of that class, not yet taken, by an IoU of 0.5 (Everingham et al. 2010, all
points).  The value is the mean over the classes that occur, in percent: 100 for the float model.

What an output holds is told by its shape:

* ``(sample, box, 6)``: corners, score, class, as detectors with suppression inside give them;
* ``(sample, box, 4)`` beside ``(sample, box, class)`` or ``(sample, class, box)``: boxes and
  scores, as in SSD and RT-DETR;
* ``(sample, 4 + class, box)``: centre, size and scores, as YOLOv8 and later give them;
* ``(sample, box, 5 + class)``: centre, size, objectness and scores, as YOLOv5 to v7.

Boxes are corners if nearly all of the float model's are ordered as such, else centre and size.
Scores outside 0..1 are logits and get a sigmoid.  What scores 0.25 and above is kept, and of boxes
of one class that overlap by more than 0.45 the best (greedy suppression).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from oq.errors import DataError
from oq.numerics.values import Array

LEAST_SCORE = 0.25
OVERLAP = 0.45
"""From which on two boxes of a class are one."""

RIGHT = 0.5
"""The IoU of a box that is found again."""

MOST = 1000
"""Boxes per sample: the best ones."""


@dataclass(frozen=True, slots=True)
class Found:
    """The boxes of one sample, best first: corners (box, 4), scores (box), classes (box)."""

    corners: Array
    scores: Array
    classes: Array


@dataclass(frozen=True, slots=True)
class Raw:
    """What a batch's outputs say: boxes (sample, box, 4), scores (sample, box, class)."""

    boxes: Array
    scores: Array
    suppressed: bool


@dataclass(slots=True)
class BoxAgreement:
    """Mean average precision of the quantized model's boxes against the float model's."""

    corners: bool | None = None
    wanted: dict[int, int] = field(default_factory=dict)
    hits: dict[int, list[tuple[float, bool]]] = field(default_factory=dict)

    def update(
        self, exact: Mapping[str, Array], found: Mapping[str, Array], labels: Array | None
    ) -> None:
        truth, mine = read_boxes(exact), read_boxes(found)
        if self.corners is None:
            self.corners = True if truth.suppressed else are_corners(truth)
        ordered = bool(self.corners)
        for one, other in zip(keep(truth, ordered), keep(mine, ordered), strict=True):
            self._match(one, other)

    def value(self) -> float:
        means = [_precision(self.hits.get(c, []), n) for c, n in sorted(self.wanted.items())]
        means += [0.0 for c in self.hits if c not in self.wanted]
        return 100.0 * float(np.mean(means)) if means else 100.0

    def _match(self, truth: Found, mine: Found) -> None:
        for c in truth.classes.tolist():
            self.wanted[c] = self.wanted.get(c, 0) + 1
        overlap = iou(mine.corners, truth.corners)
        overlap[mine.classes[:, None] != truth.classes[None, :]] = 0.0
        for i, c in enumerate(mine.classes.tolist()):
            best = int(overlap[i].argmax()) if overlap.shape[1] else 0
            right = bool(overlap.shape[1]) and bool(overlap[i, best] >= RIGHT)
            if right:
                overlap[:, best] = 0.0  # one box of the float model is found once
            self.hits.setdefault(c, []).append((float(mine.scores[i]), right))


def read_boxes(outputs: Mapping[str, Array]) -> Raw:
    """The boxes and scores of a batch.

    Raises:
        DataError: no output has a shape that is known.
    """
    three = [v for v in outputs.values() if v.ndim == 3 and v.dtype.kind == "f"]
    boxes = next((v for v in three if v.shape[2] == 4), None)
    if boxes is not None:
        others = [v for v in three if v is not boxes]
        turned = [v.transpose(0, 2, 1) for v in others]
        fitting = [v for v in (*others, *turned) if v.shape[1] == boxes.shape[1]]
        if fitting:
            return Raw(boxes, _in_01(fitting[0]), False)
    for values in three:
        _, rows, columns = values.shape
        if columns == 6:
            return Raw(values[..., :4], _one_hot(values[..., 4], values[..., 5]), True)
        if 4 < rows < columns:
            return Raw(
                values[:, :4].transpose(0, 2, 1), _in_01(values[:, 4:].transpose(0, 2, 1)), False
            )
        if 5 < columns < rows:
            inside = _in_01(values[..., 4:])
            return Raw(values[..., :4], inside[..., :1] * inside[..., 1:], False)
    raise DataError(
        "--metric boxes: no output has axes (sample, box, 6), (sample, 4 + class, box) or (sample, "
        "box, 5 + class), or (sample, box, 4) beside scores (sample, box, class)"
    )


def are_corners(raw: Raw) -> bool | None:
    """Whether the boxes with a score are (left, top, right, bottom); None if there are none."""
    boxes = raw.boxes[raw.scores.max(axis=-1, initial=0.0) >= LEAST_SCORE]
    if not len(boxes):
        return None
    ordered = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return bool(ordered.mean() >= 0.95)


def keep(raw: Raw, corners: bool) -> Iterator[Found]:
    """The boxes of each sample after the threshold and, where the model has none, suppression."""
    for boxes, scores in zip(raw.boxes.astype(np.float64), raw.scores, strict=True):
        classes, best = scores.argmax(axis=-1), scores.max(axis=-1, initial=0.0)
        order = np.argsort(-best, kind="stable")
        order = order[best[order] >= LEAST_SCORE][:MOST]
        sides = boxes[order] if corners else _to_corners(boxes[order])
        found = Found(sides, best[order], classes[order])
        yield found if raw.suppressed else suppress(found)


def suppress(found: Found) -> Found:
    """Of boxes of one class that overlap, the best one (greedy non-maximum suppression)."""
    overlap = iou(found.corners, found.corners) > OVERLAP
    overlap &= found.classes[:, None] == found.classes[None, :]
    kept = np.ones(len(found.scores), bool)
    for i in range(len(kept)):
        if kept[i]:
            kept[i + 1 :] &= ~overlap[i, i + 1 :]
    return Found(found.corners[kept], found.scores[kept], found.classes[kept])


def iou(first: Array, second: Array) -> Array:
    """Intersection over union of corners (box, 4) and (other, 4), with axes (box, other)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    inside = np.clip(high - low, 0.0, None).prod(axis=-1)
    areas = [np.clip(b[:, 2:] - b[:, :2], 0.0, None).prod(axis=-1) for b in (first, second)]
    whole = areas[0][:, None] + areas[1][None, :] - inside
    shares: Array = np.divide(inside, whole, out=np.zeros_like(inside), where=whole > 0)
    return shares


def _precision(hits: list[tuple[float, bool]], wanted: int) -> float:
    """The area under precision over recall, with precision made monotonic from behind."""
    ranked = [right for _, right in sorted(hits, key=lambda h: -h[0])]
    right = np.cumsum(ranked) if ranked else np.zeros(0)
    precision = right / np.arange(1, len(ranked) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    recall = np.concatenate([[0.0], right / wanted])
    return float((np.diff(recall) * envelope).sum())


def _to_corners(boxes: Array) -> Array:
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def _in_01(scores: Array) -> Array:
    if scores.size and (scores.min() < 0 or scores.max() > 1):
        return np.asarray(1 / (1 + np.exp(-scores.astype(np.float64))))
    return scores


def _one_hot(scores: Array, classes: Array) -> Array:
    """Scores (sample, box, class) of boxes that have one class each."""
    number = np.clip(np.rint(classes), 0, None).astype(np.int64)
    made = np.zeros((*scores.shape, int(number.max(initial=0)) + 1), scores.dtype)
    np.put_along_axis(made, number[..., None], scores[..., None], axis=-1)
    return made
