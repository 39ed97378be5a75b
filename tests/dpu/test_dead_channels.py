"""Which layers are said to lose channels."""

import numpy as np
import pytest

import oq
from tests.graphs import Net


@pytest.mark.parametrize(("small", "said"), [(1e-3, True), (0.5, False), (0.0, False)])
def test_channels_far_below_the_largest(small: float, said: bool) -> None:
    """A channel of zeros is dead, not lost."""
    net = Net()
    weight = np.full((4, 4, 1, 1), 0.9, np.float32)
    weight[2] = small
    x = net.input("x")
    model = net.model(net.node("Conv", [x, net.constant("w", weight)], "c"))
    data = np.random.default_rng(0).normal(size=(8, 4, 8, 8)).astype(np.float32)
    notes = " ".join(oq.quantize(model, "dpu", data, verify=False).report.notes)
    assert ("1 layer with output channels" in notes and "'w' 1 of 4" in notes) == said


def test_small_channels_that_lie_on_the_grid_lose_nothing() -> None:
    net = Net()
    weight = np.full((4, 4, 1, 1), 0.5, np.float32)
    weight[2] = 2.0**-7
    model = net.model(net.node("Conv", [net.input("x"), net.constant("w", weight)], "c"))
    data = np.random.default_rng(0).normal(size=(8, 4, 8, 8)).astype(np.float32)
    report = oq.quantize(model, "dpu", data, verify=False, refine="none").report
    assert "output channels" not in " ".join(report.notes)
