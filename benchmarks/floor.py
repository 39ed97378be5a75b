"""What nobody can save of a quantization: to read a model, round its weights and write the bytes.

Plain NumPy, one pass per weight, as one writes it for a single model: the files hold the codes and
scales of what oq writes, and no graph.  For activations in integers, onnxruntime also runs the
samples once.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from oq.numerics.values import Array

BLOCK = 32


def per_channel(weight: Array) -> tuple[Array, Array]:
    """int8 codes (in, out) and scales (out,)."""
    scale = np.abs(weight).max(axis=0) / np.float32(127)
    return np.clip(np.rint(weight / scale), -127, 127).astype(np.int8), scale


def in_blocks(weight: Array, bits: int) -> tuple[Array, Array]:
    """Unsigned codes (out, in), two to a byte of 4 bits, and scales (out, blocks)."""
    middle = 2 ** (bits - 1)
    parts = weight.reshape(-1, BLOCK, weight.shape[1])
    scale = np.abs(parts).max(axis=1, keepdims=True) / np.float32(middle - 1)
    codes = np.clip(np.rint(parts / scale), -middle, middle - 1).astype(np.int8).view(np.uint8)
    codes = (codes + np.uint8(middle)).reshape(weight.shape).T
    return codes if bits == 8 else codes[:, ::2] | codes[:, 1::2] << 4, scale[:, 0].T


ROUNDED: Mapping[str, Callable[[Array], tuple[Array, Array]]] = {
    "int8": per_channel,
    "weights=int8": lambda weight: in_blocks(weight, 8),
    "weights=int4": lambda weight: in_blocks(weight, 4),
}
"""Run of :mod:`benchmarks.memory` -> a weight (in, out) as it stores it."""


def floor(run: str, model: str, data: str) -> None:
    """Do the least that ``run`` takes, into a file beside ``model``."""
    if run == "int8":
        import onnxruntime as ort

        ort.InferenceSession(model).run(None, {"x": np.load(data)["x"]})
    with (Path(model).parent / "floor").open("wb") as file:
        for tensor in onnx.load(model).graph.initializer:
            values = numpy_helper.to_array(tensor)
            parts = ROUNDED[run](values) if values.ndim == 2 else (values,)
            for part in parts:
                file.write(part.tobytes())
