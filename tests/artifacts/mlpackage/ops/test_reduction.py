"""Reductions against onnxruntime's."""

from pathlib import Path

import numpy as np

from tests.mil import Row, assert_rows, onnx_op

X = np.random.default_rng(0).normal(0, 1, (2, 3, 4)).astype(np.float32)
AXES = np.array([0, 2], np.int64)

NAMES = {
    "reduce_sum": "ReduceSum",
    "reduce_mean": "ReduceMean",
    "reduce_max": "ReduceMax",
    "reduce_min": "ReduceMin",
    "reduce_prod": "ReduceProd",
    "reduce_sum_square": "ReduceSumSquare",
    "reduce_l1_norm": "ReduceL1",
    "reduce_l2_norm": "ReduceL2",
    "reduce_log_sum_exp": "ReduceLogSumExp",
}


def test_reductions(tmp_path: Path) -> None:
    rows = [
        Row(
            mil,
            lambda mb, x, mil=mil, keep=keep: getattr(mb, mil)(x=x, axes=[0, -1], keep_dims=keep),
            onnx_op(onnx, X, AXES, keepdims=int(keep)),
        )
        for mil, onnx in NAMES.items()
        for keep in (False, True)
    ]
    rows += [
        Row("of all", lambda mb, x: mb.reduce_max(x=x), np.asarray(X.max())),
        Row(
            "argmax",
            lambda mb, x: mb.reduce_argmax(x=x, axis=1, keep_dims=True),
            onnx_op("ArgMax", X, axis=1, keepdims=1).astype(np.int32),
        ),
        Row(
            "argmin",
            lambda mb, x: mb.reduce_argmin(x=x, axis=-1, output_dtype="uint16"),
            onnx_op("ArgMin", X, axis=-1, keepdims=0).astype(np.uint16),
        ),
    ]
    assert_rows(tmp_path / "p.mlpackage", rows, X)
