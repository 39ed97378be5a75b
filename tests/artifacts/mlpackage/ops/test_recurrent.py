"""LSTM against onnxruntime's, whose gates lie in the order i, o, f, z."""

from pathlib import Path

import numpy as np
import pytest

from oq.artifacts.mlpackage.ops.recurrent import lstm
from oq.errors import ModelError
from oq.numerics.values import Array
from tests.mil import Row, assert_rows, onnx_op

RANDOM = np.random.default_rng(0)
HIDDEN = 3
X = RANDOM.normal(0, 1, (5, 2, 4)).astype(np.float32)
W = RANDOM.normal(0, 1, (2, 4 * HIDDEN, 4)).astype(np.float32)
R = RANDOM.normal(0, 1, (2, 4 * HIDDEN, HIDDEN)).astype(np.float32)
B = RANDOM.normal(0, 1, (2, 8 * HIDDEN)).astype(np.float32)
H, C = (RANDOM.normal(0, 1, (2, 2, HIDDEN)).astype(np.float32) for _ in range(2))


def turned(values: Array) -> Array:
    """From onnxruntime's order of gates to Core ML's."""
    i, o, f, z = np.split(values, 4)
    return np.concatenate([i, f, o, z])


def biases(way: int) -> Array:
    return turned(B[way, : 4 * HIDDEN] + B[way, 4 * HIDDEN :])


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_one_direction(direction: str, tmp_path: Path) -> None:
    states, h, c = onnx_op(
        *("LSTM", X, W[:1], R[:1], B[:1], None, H[:1], C[:1]),
        outputs=3,
        hidden_size=HIDDEN,
        direction=direction,
    )
    rows = [
        Row(
            f"{direction} {whole}",
            lambda mb, x, whole=whole: mb.lstm(
                x=x,
                initial_h=H[0],
                initial_c=C[0],
                weight_ih=turned(W[0]),
                weight_hh=turned(R[0]),
                bias=biases(0),
                direction=direction,
                output_sequence=whole,
            ),
            [states[:, 0] if whole else h, h[0], c[0]],
        )
        for whole in (False, True)
    ]
    assert_rows(tmp_path / "p.mlpackage", rows, X)


def test_both_directions(tmp_path: Path) -> None:
    states, h, c = onnx_op(
        "LSTM", X, W, R, B, None, H, C, outputs=3, hidden_size=HIDDEN, direction="bidirectional"
    )
    beside = [np.concatenate(list(a), -1) for a in (states.transpose(1, 0, 2, 3), h, c)]
    row = Row(
        "both",
        lambda mb, x: mb.lstm(
            x=x,
            initial_h=np.concatenate(list(H), -1),
            initial_c=np.concatenate(list(C), -1),
            weight_ih=turned(W[0]),
            weight_hh=turned(R[0]),
            bias=biases(0),
            weight_ih_back=turned(W[1]),
            weight_hh_back=turned(R[1]),
            bias_back=biases(1),
            direction="bidirectional",
            output_sequence=True,
        ),
        beside,
    )
    assert_rows(tmp_path / "p.mlpackage", [row], X)


def test_what_is_not_read_is_refused() -> None:
    given = (X, H[0], C[0], W[0], R[0])
    with pytest.raises(ModelError, match="lstm with clip"):
        lstm(*given, clip=np.array(1.0))
    with pytest.raises(ModelError, match="direction 'up'"):
        lstm(*given, direction="up")
    with pytest.raises(ModelError, match="without weights of the way back"):
        lstm(*given, direction="bidirectional")
    with pytest.raises(ModelError, match="activation 'hard_sigmoid'"):
        lstm(*given, activation="hard_sigmoid")
