"""Random graphs through every target: right, or refused in a sentence.

``make test`` takes 40, ``make soak`` 2,000; a seed that fails is its own reproduction.
"""

import os

import onnx
import pytest

from oq.planning import registry
from tests.fuzz import feeds, grow
from tests.tried import fault

GRAPHS = int((os.environ.get("OQ_SOAK") and 2000) or 40)
TARGETS = registry.names("targets")
PARTS = 8

pytestmark = pytest.mark.xdist_group("fuzz")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("part", range(PARTS))
def test_every_graph_is_right_or_refused(part: int, target: str) -> None:
    found = {}
    for seed in range(part, GRAPHS, PARTS):
        model = grow(seed)
        found[seed] = fault(model, feeds(model, seed), target, batched=True)
    assert not {seed: said for seed, said in found.items() if said is not None}


def test_the_graphs_are_legal_and_differ() -> None:
    made = [grow(seed) for seed in range(GRAPHS)]
    for model in made:
        onnx.checker.check_model(model, full_check=True)
    assert len({m.SerializeToString() for m in made}) > 0.99 * GRAPHS
    assert grow(3).SerializeToString() == grow(3).SerializeToString()
