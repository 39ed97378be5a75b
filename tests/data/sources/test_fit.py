"""Shapes that do not fit are refused with what would make them fit."""

import re

import numpy as np
import pytest

from oq.data.sources.fit import Place, fit_batch
from oq.errors import DataError
from oq.numerics.values import Batch, Shape, TensorInfo


@pytest.mark.parametrize(
    ("found", "wanted", "hint"),
    [
        ((2, 3, 224, 224), ("n", 3, 32, 32), "images fit with resize: 37, crop: [32, 32] in --pre"),
        ((2, 3, 50, 40), ("n", 1, "h", "w"), "images fit with colour: gray in --preprocess"),
        ((2, 1, 50, 40), ("n", 3, 64, 48), "colour: rgb and resize: 55, crop: [64, 48] in"),
        ((2, 32, 32, 3), ("n", 3, 32, 32), "the channels come last here"),
        ((2, 5, 8, 8), ("n", 4, 8, 8), "(n, 4, 8, 8)$"),
        ((3, 8, 8), ("n", 3, 8, 8), "the first axis must be the samples"),
    ],
)
def test_what_would_fit_is_named(found: tuple[int, ...], wanted: Shape, hint: str) -> None:
    inputs = [TensorInfo("x", "float32", wanted)]
    batch = Batch({"x": np.zeros(found, np.float32)})
    pattern = hint if hint.endswith("$") else re.escape(hint)
    with pytest.raises(DataError, match=pattern.replace("(n, 4, 8, 8)$", r"\(n, 4, 8, 8\)$")):
        fit_batch(batch, inputs, Place("calib", 0, str), False)
