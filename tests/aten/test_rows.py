"""Rows for a file compute what the rows with gradients do."""

from typing import Any

import numpy as np
import pytest

from oq.aten.rows import ROWS
from oq.training.row import Node

torch = pytest.importorskip("torch")
from oq.training.ops_quantize import ROWS as TRAINED  # noqa: E402

SCALE = np.asarray([0.02, 0.5, 0.1], np.float32)
CASES: dict[str, tuple[dict[str, Any], Any, Any, str]] = {
    "one": ({}, SCALE[0], np.asarray(128, np.uint8), "uint8"),
    "none": ({}, SCALE[1], None, "uint8"),
    "zero": ({"axis": 1}, SCALE, np.zeros(3, np.int8), "int8"),
    "each": ({"axis": 1}, SCALE, np.asarray([3, -7, 0], np.int8), "int8"),
    "wide": ({"axis": 1}, SCALE / 100, np.full(3, -300, np.int16), "int16"),
    "half": ({}, np.float16(0.01), np.asarray(-5, np.int8), "int8"),
    "blocks": (
        {"axis": 1, "block_size": 2}, np.tile(SCALE[:2], (4, 1)), np.asarray([[1, 2]] * 4, np.int8),
        "int8",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_both_quantize_and_dequantize_alike(case: str) -> None:
    attributes, scale, zero, kind = CASES[case]
    x = torch.from_numpy(np.random.default_rng(1).normal(0, 3, (4, 3)).astype(np.float32))
    held = torch.from_numpy(np.asarray(scale).copy())
    point = None if zero is None else torch.from_numpy(zero.copy())
    node = Node("q", "QuantizeLinear", attributes, 21, codes=kind)
    mine = ROWS["QuantizeLinear"].run(node, x, held, zero)
    theirs = TRAINED["QuantizeLinear"].run(node, x, held, point)
    assert torch.equal(mine, theirs) and mine.unique().numel() > 2
    for codes in (mine, mine.to(getattr(torch, kind))):
        back = ROWS["DequantizeLinear"].run(node, codes, held, zero)
        assert torch.equal(back, TRAINED["DequantizeLinear"].run(node, codes, held, point))


def test_float8() -> None:
    x, scale = torch.linspace(-900, 900, 41), torch.tensor(1.5)
    node = Node("q", "QuantizeLinear", {}, 21, codes="float8_e4m3fn")
    assert torch.equal(
        ROWS["QuantizeLinear"].run(node, x, scale), TRAINED["QuantizeLinear"].run(node, x, scale)
    )
