"""ONNX's backend suite through every target: right, or refused in a sentence.

``make test`` takes a sample, ``make soak`` all of it, 1,900 models of each kind.
"""

import os
from collections.abc import Iterator

import pytest

from oq.model.ops import RANDOM_OPS
from oq.planning import registry
from tests.onnx_suite import Case, file_cases, node_cases, with_constants
from tests.tried import fault

WHOLE = bool(os.environ.get("OQ_SOAK"))
EVERY = 1 if WHOLE else 19
TARGETS = registry.names("targets")

pytestmark = pytest.mark.xdist_group("onnx_suite")


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return [*node_cases(EVERY), *list(file_cases())[::EVERY]]


def _taken(cases: list[Case], constants: bool) -> Iterator[Case]:
    for case in cases:
        if any(n.op_type in RANDOM_OPS for n in case.model.graph.node):
            continue
        taken = with_constants(case) if constants else case
        if taken is not None:
            yield taken


@pytest.mark.parametrize("constants", [False, True], ids=["inputs", "constants"])
@pytest.mark.parametrize("target", TARGETS)
def test_every_model_is_right_or_refused(cases: list[Case], target: str, constants: bool) -> None:
    taken = list(_taken(cases, constants))
    found = {c.name: fault(c.model, c.feeds, target) for c in taken}
    assert len(taken) > 1900 / EVERY / 2
    assert not {name: said for name, said in found.items() if said is not None}
