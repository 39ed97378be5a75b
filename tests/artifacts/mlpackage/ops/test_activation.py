"""Activations against onnxruntime's, or the formula."""

from pathlib import Path

import numpy as np

from tests.mil import Row, assert_rows, onnx_op

X = np.random.default_rng(0).normal(0, 3, (2, 4, 5, 3)).astype(np.float32)
SLOPES = np.array([0.1, 0.2, -0.3, 0.4], np.float32)
SIGMOID = 1 / (1 + np.exp(-X.astype(np.float64)))
HALF = np.float32(0.5)

ROWS = [
    Row("relu", lambda mb, x: mb.relu(x=x), onnx_op("Relu", X)),
    Row("relu6", lambda mb, x: mb.relu6(x=x), np.clip(X, 0, 6)),
    Row("leaky", lambda mb, x: mb.leaky_relu(x=x, alpha=0.2), onnx_op("LeakyRelu", X, alpha=0.2)),
    Row(
        "prelu",
        lambda mb, x: mb.prelu(x=x, alpha=SLOPES),
        onnx_op("PRelu", X, SLOPES.reshape(4, 1, 1)),
    ),
    Row(
        "clamped",
        lambda mb, x: mb.clamped_relu(x=x, alpha=0.2, beta=1.5),
        np.minimum(np.where(X >= 0, X, X * np.float32(0.2)), np.float32(1.5)),
    ),
    Row(
        "thresholded",
        lambda mb, x: mb.thresholded_relu(x=x, alpha=0.5),
        onnx_op("ThresholdedRelu", X, alpha=0.5),
    ),
    Row("elu", lambda mb, x: mb.elu(x=x, alpha=0.7), onnx_op("Elu", X, alpha=0.7)),
    Row("sigmoid", lambda mb, x: mb.sigmoid(x=x), onnx_op("Sigmoid", X)),
    Row(
        "sigmoid_hard",
        lambda mb, x: mb.sigmoid_hard(x=x, alpha=0.2, beta=0.5),
        onnx_op("HardSigmoid", X, alpha=0.2, beta=0.5),
    ),
    Row("silu", lambda mb, x: mb.silu(x=x), (X * SIGMOID).astype(np.float32)),
    Row("tanh", lambda mb, x: mb.tanh(x=x), onnx_op("Tanh", X)),
    Row(
        "scaled_tanh",
        lambda mb, x: mb.scaled_tanh(x=x, alpha=1.5, beta=0.5),
        np.float32(1.5) * np.tanh(HALF * X),
    ),
    Row(
        "linear_activation",
        lambda mb, x: mb.linear_activation(x=x, alpha=1.5, beta=0.5),
        np.float32(1.5) * X + HALF,
    ),
    Row("softplus", lambda mb, x: mb.softplus(x=x), onnx_op("Softplus", X)),
    Row("softsign", lambda mb, x: mb.softsign(x=x), onnx_op("Softsign", X)),
    Row("softmax", lambda mb, x: mb.softmax(x=x, axis=1), onnx_op("Softmax", X, axis=1)),
    Row("gelu", lambda mb, x: mb.gelu(x=x), onnx_op("Gelu", X)),
    Row(
        "gelu_tanh",
        lambda mb, x: mb.gelu(x=x, mode="TANH_APPROXIMATION"),
        onnx_op("Gelu", X, approximate="tanh"),
        1e-5,
    ),
    Row(
        "gelu_sigmoid",
        lambda mb, x: mb.gelu(x=x, mode="SIGMOID_APPROXIMATION"),
        (X / (1 + np.exp(-1.702 * X.astype(np.float64)))).astype(np.float32),
    ),
]


def test_activations(tmp_path: Path) -> None:
    assert_rows(tmp_path / "p.mlpackage", ROWS, X)
