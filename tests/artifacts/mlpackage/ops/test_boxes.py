"""Non-maximum suppression against onnxruntime's, which lists what is kept."""

import numpy as np
import onnx
import pytest
from onnx import helper

from oq.artifacts.mlpackage.ops.boxes import non_maximum_suppression
from oq.errors import ModelError
from oq.model.session import Session
from oq.numerics.values import Array

RANDOM = np.random.default_rng(0)
BOXES = RANDOM.uniform(0.5, 4, (1, 20, 4)).astype(np.float32)
SCORES = RANDOM.integers(0, 9, (1, 1, 20)).astype(np.float32)  # with equal ones
ROWS = BOXES.transpose(0, 2, 1)


def kept(most: int, threshold: float) -> Array:
    """The places that onnxruntime gives."""
    node = helper.make_node("NonMaxSuppression", ["b", "s", "m", "t"], ["y"], center_point_box=1)
    graph = helper.make_graph(
        [node],
        "net",
        [helper.make_tensor_value_info("b", 1, BOXES.shape),
         helper.make_tensor_value_info("s", 1, SCORES.shape)],
        [helper.make_tensor_value_info("y", 7, None)],
        [onnx.numpy_helper.from_array(np.array([most]), "m"),
         onnx.numpy_helper.from_array(np.array([threshold], np.float32), "t")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9)
    return Session(model).run({"b": BOXES, "s": SCORES})[0][:, 2]


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.6])
@pytest.mark.parametrize("most", [3, 20])
def test_the_boxes_that_onnxruntime_keeps(most: int, threshold: float) -> None:
    boxes, scores, places = non_maximum_suppression(ROWS, SCORES, threshold, most)
    wanted = kept(most, threshold)
    count = len(wanted)
    assert places.shape == (1, most)
    np.testing.assert_array_equal(places[0, :count], wanted)
    np.testing.assert_array_equal(places[0, count:], -1)
    np.testing.assert_array_equal(boxes[0, :, :count], ROWS[0][:, wanted])
    np.testing.assert_array_equal(scores[0, 0, :count], SCORES[0, 0, wanted])
    assert not boxes[0, :, count:].any() and not scores[0, :, count:].any()


def test_what_means_something_else_is_refused() -> None:
    with pytest.raises(ModelError, match="boxes chosen as iOS 15"):
        non_maximum_suppression(ROWS, SCORES, 0.5, 3, score_threshold=0.1)
    with pytest.raises(ModelError, match="boxes of 2 classes at once"):
        non_maximum_suppression(ROWS, np.repeat(SCORES, 2, 1), 0.5, 3)
