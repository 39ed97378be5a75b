"""Weights in few bits: what is stored against formulas, and what the package gives back."""

from pathlib import Path

import numpy as np
import onnx
import pytest

import oq
from oq.artifacts.mlpackage.package import open_file
from oq.deployment.coreml.weights_only import in_blocks, palettize, per_channel
from oq.errors import ModelError
from tests.graphs import Net

pytest.importorskip("coremltools")


def weight(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 0.2, shape).astype(np.float32)


def test_int8_is_within_half_a_step_per_channel() -> None:
    w = weight(8, 64)
    found = per_channel("w", w, 0)
    step = np.abs(w).max(axis=1, keepdims=True) / 127
    assert (np.abs(found.values() - w) <= 0.55 * step).all()
    assert np.abs(found.codes).max() == 127


def test_int4_has_a_scale_per_block() -> None:
    w = weight(64, 8)
    w[:32] *= 100
    found = in_blocks("w", w, 1, 0)
    assert found.scale.shape == (2, 8) and np.abs(found.codes).max() == 7
    assert (np.abs(found.values() - w) <= 0.52 * np.repeat(found.scale, 32, 0)).all()


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_palettes_are_better_than_equal_steps(bits: int) -> None:
    w = weight(16, 256)
    found = palettize("w", w, bits, 0, 0)
    step = 2 * np.abs(w).max() / 2**bits
    even = (np.floor(w / step) + 0.5) * step
    assert len(np.unique(found.values())) <= 2**bits
    assert np.square(found.values() - w).sum() < np.square(even - w).sum()


def test_palettes_of_groups_divide_the_channels() -> None:
    w = weight(32, 3, 64).transpose(1, 0, 2)
    w[:, 16:] += 5
    found = palettize("w", w, 4, 1, 16)
    assert found.tables.shape == (2, 16)
    assert np.abs(found.values() - w).max() < 0.5
    turned = found.transposed([1, 0, 2])
    np.testing.assert_array_equal(turned.values(), found.values().transpose(1, 0, 2))


def net() -> onnx.ModelProto:
    made = Net()
    image = made.input("x", ("n", 32, 8, 8))
    names = [image, made.constant("w", weight(64, 32, 3, 3)), made.weight("b", 64)]
    pooled = made.node("GlobalAveragePool", [made.node("Conv", names, "c")], "p")
    flat = made.node("Flatten", [pooled], "f")
    made.node("MatMul", [flat, made.constant("m", weight(64, 48))], "y")
    return made.model("y")


@pytest.mark.parametrize(("kind", "ios"), [("int8", 17), ("int8", 18), ("int4", 18),
    ("palette3", 18), ("palette4", 17), ("palette6", 18)])  # fmt: skip
def test_packages_hold_them(kind: str, ios: int, tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    onnx.save(net(), file)
    found = oq.deploy(file, "coreml", ios=ios, weights_only=kind)
    assert [p.passed for p in found.proofs] == [True] * 4
    stored = {w.tensor.removesuffix("_cast_fp16"): w for w in open_file(found.output).weights()}
    assert set(stored) == {"w", "m"} and stored["m"].codes.shape == (48, 64)
    bits = int(kind[-1])
    assert found.bytes < found.before * bits / 32 + 12000


def test_a_quantized_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    oq.quantize(net(), "coreml", "random", samples=2, refine="none", verify=False).save(file)
    with pytest.raises(ModelError, match="quantized already"):
        oq.deploy(file, "coreml", weights_only="int8")
