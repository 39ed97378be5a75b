"""Random graphs through every target: right, or refused in a sentence.

``make test`` takes 40, ``make soak`` 2,000; a seed that fails is its own reproduction.
"""

import os

import onnx
import pytest

import oq
from oq.planning import registry
from tests.enclosed import enclose
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


ENCLOSED = int((os.environ.get("OQ_SOAK") and 300) or 15)


@pytest.mark.parametrize("target", TARGETS)
def test_with_bodies_every_graph_is_right_and_passes_its_own_check(target: str) -> None:
    found: dict[int, object] = {}
    for seed in range(ENCLOSED):
        model = enclose(seed)
        if model is None:
            continue
        onnx.checker.check_model(model, full_check=True)
        given = feeds(model, seed)
        found[seed] = fault(model, given, target, batched=True)
        made = oq.quantize(model, target, given, verify=False, refine="none")
        if made.report.plan.sites:
            findings = oq.judge(made.model, target).findings
            found[seed] = found[seed] or [f for f in findings if f.severity == "error"]
    assert not {seed: said for seed, said in found.items() if said}


def test_the_graphs_are_legal_and_differ() -> None:
    made = [grow(seed) for seed in range(GRAPHS)]
    for model in made:
        onnx.checker.check_model(model, full_check=True)
    assert len({m.SerializeToString() for m in made}) > 0.99 * GRAPHS
    assert grow(3).SerializeToString() == grow(3).SerializeToString()
