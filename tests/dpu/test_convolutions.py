"""onnxruntime's kernel and NumPy's product of windows give the same integers."""

from typing import Any

import numpy as np
import pytest

from oq.dpu import convolutions
from oq.dpu.convolutions import convolve
from oq.numerics.values import Array
from oq.numerics.windows import convolve as product_of_windows
from oq.numerics.windows import windows_of


def integers(*shape: int, seed: int, most: int = 128) -> Array:
    return np.random.default_rng(seed).integers(-most, most, shape).astype(np.float32)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"pads": [1, 0, 2, 1], "strides": [2, 1]},
        {"dilations": [2, 3], "pads": [2, 2, 2, 2]},
        {"group": 4, "auto_pad": "SAME_LOWER"},
        {"group": 2},
    ],
)
def test_the_same_sums(attributes: dict[str, Any]) -> None:
    group = attributes.get("group", 1)
    x, w = integers(3, 64, 9, 8, seed=0), integers(16, 64 // group, 3, 2, seed=1)
    windows = windows_of(attributes, (3, 2), (9, 8))
    found = convolve(x, w, windows, group)
    exact = product_of_windows(x.astype(np.float64), w.astype(np.float64), windows, group)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, exact)


def test_what_float32_does_not_hold_is_summed_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolutions, "_session", None)  # it has no float64
    x = integers(1, 3, 5, 5, seed=0, most=2**20).astype(np.float64)
    w = integers(2, 3, 3, 3, seed=1, most=2**20).astype(np.float64)
    windows = windows_of({}, (3, 3), (5, 5))
    found = convolve(x, w, windows, 1)
    assert found.dtype == np.float64
    assert found[0, 0, 0, 0] == (x[0, :, :3, :3] * w[0]).sum()
