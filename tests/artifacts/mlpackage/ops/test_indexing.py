"""Operations by index against onnxruntime's."""

from pathlib import Path

import numpy as np
import pytest

from oq.artifacts.mlpackage.ops.indexing import gather, topk
from oq.errors import ModelError
from tests.mil import Row, assert_rows, onnx_op

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(0, 1, (3, 4, 5)).astype(np.float32)
ALONG = RANDOM.integers(0, 4, (3, 2, 5)).astype(np.int32)
PLACES = np.array([[0, 1], [2, 3]], np.int32)
PART = RANDOM.normal(0, 1, (2, 5)).astype(np.float32)


def test_gather_and_scatter(tmp_path: Path) -> None:
    wide, places = ALONG.astype(np.int64), PLACES.astype(np.int64)
    updates = RANDOM.normal(0, 1, ALONG.shape).astype(np.float32)
    scattered = onnx_op("ScatterElements", X, wide, updates, axis=1, reduction="add")
    rows = [
        Row(
            "gather",
            lambda mb, x: mb.gather(x=x, indices=[[3, 0], [1, 1]], axis=1),
            X[:, [[3, 0], [1, 1]]],
        ),
        Row(
            "along",
            lambda mb, x: mb.gather_along_axis(x=x, indices=ALONG, axis=1),
            onnx_op("GatherElements", X, wide, axis=1),
        ),
        Row("nd", lambda mb, x: mb.gather_nd(x=x, indices=PLACES), onnx_op("GatherND", X, places)),
        *(
            Row(
                f"scatter {mil}",
                lambda mb, x, mil=mil: mb.scatter_nd(
                    data=x, indices=PLACES, updates=PART, mode=mil
                ),
                onnx_op("ScatterND", X, places, PART, reduction=onnx),
            )
            for mil, onnx in (("update", "none"), ("add", "add"), ("mul", "mul"), ("max", "max"))
        ),
        Row(
            "scatter along",
            lambda mb, x: mb.scatter_along_axis(
                data=x, indices=ALONG, updates=updates, axis=1, mode="add"
            ),
            scattered,
        ),
    ]
    assert_rows(tmp_path / "p.mlpackage", rows, X)


def test_order_and_sums(tmp_path: Path) -> None:
    two = np.array([2], np.int64)
    largest = onnx_op("TopK", X, two, outputs=2, axis=1, largest=1)
    smallest = onnx_op("TopK", X, two, outputs=2, axis=1, largest=0)
    rows = [
        Row(
            "topk",
            lambda mb, x: mb.topk(x=x, k=2, axis=1),
            [largest[0], largest[1].astype(np.int32)],
        ),
        Row(
            "least",
            lambda mb, x: mb.topk(x=x, k=2, axis=1, ascending=True, output_indices_dtype="uint16"),
            [smallest[0], smallest[1].astype(np.uint16)],
        ),
        Row("values", lambda mb, x: mb.topk(x=x, k=2, axis=1, return_indices=False), largest[0]),
        Row(
            "argsort",
            lambda mb, x: mb.argsort(x=x, axis=2, ascending=True),
            np.argsort(X, 2).astype(np.int32),
        ),
        *(
            Row(
                f"cumsum {exclusive} {reverse}",
                lambda mb, x, e=exclusive, r=reverse: mb.cumsum(
                    x=x, axis=1, exclusive=e, reverse=r
                ),
                onnx_op(
                    "CumSum",
                    X,
                    np.array(1, np.int64),
                    exclusive=int(exclusive),
                    reverse=int(reverse),
                ),
            )
            for exclusive in (False, True)
            for reverse in (False, True)
        ),
        Row(
            "one_hot",
            lambda mb, x: mb.one_hot(
                indices=mb.reduce_argmax(x=x, axis=1), one_hot_vector_size=4, axis=-1
            ),
            np.eye(4, dtype=np.int32)[X.argmax(1)],
        ),
        Row(
            "non_zero",
            lambda mb, x: mb.non_zero(x=mb.relu(x=x)),
            np.argwhere(X > 0).astype(np.int32),
        ),
    ]
    assert_rows(tmp_path / "p.mlpackage", rows, X)


def test_what_has_no_defined_result_is_refused() -> None:
    with pytest.raises(ModelError, match=r"index of 4\.\.4 on an axis of 4"):
        gather(X, np.array(4), 1)
    with pytest.raises(ModelError, match="without sort"):
        topk(X, 1, sort=np.array(False))
