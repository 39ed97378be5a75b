"""The DequantizeLinear of a table behind the Gather: the same values, bit for bit."""

import numpy as np
import pytest

from oq.emission.gather_codes import gather_codes
from oq.model.graph import Graph
from oq.numerics.values import Array
from tests.small import floats, normal, ops, reference, small

CODES = np.random.default_rng(0).integers(0, 256, (50, 4)).astype(np.uint8)
COLUMNS = {"s": np.abs(normal(4)), "z": np.arange(4, dtype=np.uint8)}
ROWS = {"s": np.abs(normal(50)), "z": np.zeros(50, np.uint8)}
WHOLE = {"s": floats(0.5)[0], "z": np.asarray(3, np.uint8)}


@pytest.mark.parametrize(
    ("grid", "dq", "gather", "moved"),
    [
        (COLUMNS, "axis = 1", "axis = 0", True),
        (COLUMNS, "axis = -1", "axis = 0", True),
        (WHOLE, "axis = 1", "axis = 0", True),
        (ROWS, "axis = 0", "axis = 0", False),
        (COLUMNS, "axis = 1", "axis = 1", False),
    ],
)
def test_the_same_values(grid: dict[str, Array], dq: str, gather: str, moved: bool) -> None:
    text = f"""net (int64[n] ids) => (float[k,m] e, float[k,m] y) {{
        w = DequantizeLinear<{dq}>(c, s, z)
        e = Gather<{gather}>(w, ids)
        y = Relu(e)
    }}"""
    before = small(text, {"c": CODES, **grid})
    graph = Graph(before)
    assert gather_codes(graph) == moved
    made = graph.to_model()
    order = ["Gather", "DequantizeLinear"] if moved else ["DequantizeLinear", "Gather"]
    assert ops(made) == [*order, "Relu"]
    feeds = {"ids": np.asarray([0, 3, -1, 2])}
    wanted, found = reference(before, feeds), reference(made, feeds)
    for name in ("e", "y"):
        np.testing.assert_array_equal(found[name], wanted[name])
