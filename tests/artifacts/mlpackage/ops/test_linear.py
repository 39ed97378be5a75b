"""Products of matrices against onnxruntime's, or the formula."""

from pathlib import Path

import numpy as np

from tests.mil import Row, assert_rows, onnx_op

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(0, 1, (2, 5, 4)).astype(np.float32)
Y = RANDOM.normal(0, 1, (2, 4, 3)).astype(np.float32)
W, B = RANDOM.normal(0, 1, (6, 4)).astype(np.float32), RANDOM.normal(0, 1, 6).astype(np.float32)
CUBE = RANDOM.normal(0, 1, (4, 5, 3)).astype(np.float32)
MASK = np.where(np.tril(np.ones((5, 5))), 0, -1e4).astype(np.float32)


def attention() -> np.ndarray:
    scores = np.einsum("bie,bje->bij", X, X) / np.sqrt(4) + MASK
    return np.asarray(onnx_op("Softmax", scores.astype(np.float32)) @ X)


def test_products(tmp_path: Path) -> None:
    turned = X.transpose(0, 2, 1)
    rows = [
        Row("linear", lambda mb, x: mb.linear(x=x, weight=W, bias=B), X @ W.T + B),
        Row("no bias", lambda mb, x: mb.linear(x=x, weight=W), X @ W.T),
        Row("matmul", lambda mb, x: mb.matmul(x=x, y=Y), onnx_op("MatMul", X, Y)),
        Row(
            "y turned",
            lambda mb, x: mb.matmul(x=x, y=x, transpose_y=True),
            onnx_op("MatMul", X, turned),
        ),
        Row(
            "x turned",
            lambda mb, x: mb.matmul(x=x, y=x, transpose_x=True),
            onnx_op("MatMul", turned, X),
        ),
        Row(
            "einsum",
            lambda mb, x: mb.einsum(values=(x, CUBE), equation="chw,whr->chr"),
            onnx_op("Einsum", X, CUBE, equation="chw,whr->chr"),
        ),
        Row(
            "attention",
            lambda mb, x: mb.scaled_dot_product_attention(query=x, key=x, value=x, attn_mask=MASK),
            attention(),
        ),
    ]
    assert_rows(tmp_path / "p.mlpackage", rows, X)
