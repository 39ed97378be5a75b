"""LeakyRelu's slope in 256ths."""

import pytest

from oq.model.graph import Graph
from oq.prepare.round_slopes import round_edge_slope, round_slopes
from tests.graphs import single


@pytest.mark.parametrize(
    ("alpha", "edge", "any_"),
    [(0.1, 26 / 256, 26 / 256), (26 / 256, None, None), (0.2, None, 51 / 256), (0.001, None, None)],
)
def test_slopes(alpha: float, edge: float | None, any_: float | None) -> None:
    """None: nothing to change; 0.001 would become 0."""
    for step, wanted in ((round_edge_slope, edge), (round_slopes, any_)):
        graph = Graph(single("LeakyRelu", alpha=alpha))
        assert step(graph).changed == (wanted is not None)
        (node,) = graph.view().nodes
        assert node.attributes["alpha"] == pytest.approx(alpha if wanted is None else wanted)
