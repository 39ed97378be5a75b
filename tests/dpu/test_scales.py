"""Which scales have a position."""

import numpy as np
import pytest

from oq.dpu.scales import position_of


@pytest.mark.parametrize(
    ("scale", "position"),
    [(1.0, 0), (0.5, 1), (8.0, -3), (2.0**-40, 40), (0.3, None), (0.0, None), (np.inf, None)],
)
def test_positions(scale: float, position: int | None) -> None:
    assert position_of(np.asarray(scale, np.float32)) == position
    assert position_of(np.asarray([scale, scale])) == position
    assert position_of(np.asarray([1.0, 0.5])) is None
