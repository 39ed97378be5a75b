"""Normalizations against onnxruntime's, or the formula."""

from pathlib import Path

import numpy as np

from tests.mil import Row, assert_rows, onnx_op

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(1, 2, (2, 4, 5, 6)).astype(np.float32)
G, B, M = (RANDOM.normal(0, 1, 4).astype(np.float32) for _ in range(3))
V = RANDOM.uniform(0.5, 2, 4).astype(np.float32)
LAST = {key: RANDOM.normal(0, 1, 6).astype(np.float32) for key in ("gamma", "beta")}


def test_normalizations(tmp_path: Path) -> None:
    norm = np.sqrt(np.square(X).sum((1, 2, 3), keepdims=True) + np.float32(1e-3))
    rows = [
        Row(
            "batch",
            lambda mb, x: mb.batch_norm(x=x, mean=M, variance=V, gamma=G, beta=B, epsilon=1e-3),
            onnx_op("BatchNormalization", X, G, B, M, V, epsilon=1e-3),
            1e-5,
        ),
        Row(
            "instance",
            lambda mb, x: mb.instance_norm(x=x, gamma=G, beta=B, epsilon=1e-3),
            onnx_op("InstanceNormalization", X, G, B, epsilon=1e-3),
            1e-5,
        ),
        Row(
            "layer",
            lambda mb, x: mb.layer_norm(x=x, axes=[-1], epsilon=1e-3, **LAST),
            onnx_op("LayerNormalization", X, LAST["gamma"], LAST["beta"], axis=-1, epsilon=1e-3),
            1e-5,
        ),
        Row(
            "layer of two axes",
            lambda mb, x: mb.layer_norm(x=x, axes=[2, 3], epsilon=1e-3),
            onnx_op("LayerNormalization", X, np.ones((5, 6), np.float32), axis=2, epsilon=1e-3),
            1e-5,
        ),
        Row("l2", lambda mb, x: mb.l2_norm(x=x, epsilon=1e-3), X / norm),
        Row(
            "local response",
            lambda mb, x: mb.local_response_norm(x=x, size=3, alpha=0.1, beta=0.75, k=2.0),
            onnx_op("LRN", X, size=3, alpha=0.1, beta=0.75, bias=2.0),
        ),
    ]
    assert_rows(tmp_path / "p.mlpackage", rows, X)
