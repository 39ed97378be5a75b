"""Non-maximum suppression."""

import numpy as np

from oq.errors import ModelError
from oq.numerics.values import Array


def non_maximum_suppression(
    boxes: Array,
    scores: Array,
    iou_threshold: Array | float,
    max_boxes: Array | int,
    per_class_suppression: Array | bool = False,
    score_threshold: Array | float | None = None,
) -> tuple[Array, ...]:
    """The best box, then the best that no chosen one overlaps by more than ``iou_threshold``, and
    so on: boxes, scores and places; 0 and -1 behind the last.

    ``boxes``: (n, (x, y, width, height), box) with the centres x and y; ``scores``: (n, 1, box).

    Raises:
        ModelError: scores of several classes, or the operation of iOS 15, which has a threshold for
            scores and other orders of axes.
    """
    if score_threshold is not None:
        raise ModelError("boxes chosen as iOS 15 has it, which oq does not read")
    if scores.shape[1] != 1:
        raise ModelError(f"boxes of {scores.shape[1]} classes at once, which oq does not read")
    _ = per_class_suppression  # there is one class
    most, count = int(max_boxes), boxes.shape[0]
    places = np.full((count, most), -1, np.int32)
    for row in range(count):
        chosen = _choose(boxes[row], scores[row, 0], float(iou_threshold), most)
        places[row, : len(chosen)] = chosen
    there = places >= 0
    at = np.where(there, places, 0)[:, None]
    return (
        np.where(there[:, None], np.take_along_axis(boxes, at, 2), 0).astype(boxes.dtype),
        np.where(there[:, None], np.take_along_axis(scores, at, 2), 0).astype(scores.dtype),
        places,
    )


def _choose(boxes: Array, scores: Array, threshold: float, most: int) -> list[int]:
    """The places of the boxes kept, the best first, of equal scores the first."""
    half = boxes[2:] / 2
    low, high, area = boxes[:2] - half, boxes[:2] + half, boxes[2] * boxes[3]
    left = list(np.argsort(-scores, kind="stable"))
    chosen: list[int] = []
    while left and len(chosen) < most:
        best, *others = left
        chosen.append(int(best))
        rest = np.array(others, np.int64)
        both = np.minimum(high[:, rest], high[:, [best]]) - np.maximum(low[:, rest], low[:, [best]])
        shared = np.maximum(both, 0).prod(0)
        union = area[best] + area[rest] - shared
        left = list(rest[shared <= threshold * union])
    return chosen
