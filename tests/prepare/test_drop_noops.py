"""Nodes that hand their input on go; everything else stays."""

import numpy as np
import pytest

from oq.model.graph import Graph
from oq.prepare.drop_noops import drop_noops
from oq.prepare.fold_constants import fold_constants
from tests.small import assert_same_outputs, ops, small

CONSTANTS = {
    "half": np.asarray(0.5, np.float32),
    "yes": np.asarray(True),
    "no": np.asarray(False),
    "none": np.zeros(4, np.int64),
    "some": np.asarray([0, 1, 0, 0], np.int64),
    "neg": np.asarray([0, -1, 0, 0], np.int64),
}


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("a = Relu(x)\n b = Identity(a)\n y = Neg(b)", ["Relu", "Neg"]),
        ("a = Identity(x)\n b = Identity(a)\n y = Neg(b)", ["Neg"]),
        ("a = Relu(x)\n y = Identity(a)", ["Relu"]),
        ("a = Identity(x)\n y = Add(a, x)", ["Add"]),
        ("a = Dropout(x)\n y = Neg(a)", ["Neg"]),
        ("a = Dropout(x, half)\n y = Neg(a)", ["Neg"]),
        ("a, m = Dropout(x, half, no)\n y = Neg(a)", ["Neg"]),
        ("a = Pad(x, none)\n y = Neg(a)", ["Neg"]),
        ('a = Pad<mode = "reflect">(x, none)\n y = Neg(a)', ["Neg"]),
        ("a = Pad(x, some)\n y = Neg(a)", ["Pad", "Neg"]),
        ("a = Pad(x, neg)\n y = Neg(a)", ["Pad", "Neg"]),
    ],
)
def test_what_goes_and_what_stays(body: str, left: list[str]) -> None:
    model = small(f"net (float[n,3] x) => (float[n,m] y) {{ {body} }}", CONSTANTS)
    graph = Graph(model)
    outcome = drop_noops(graph)
    assert ops(graph.to_model()) == left
    assert outcome.changed == len(model.graph.node) - len(left)
    assert outcome.refusals == ()
    assert_same_outputs(model, graph.to_model())


@pytest.mark.parametrize(
    "body",
    [
        "a, m = Dropout(x, half, yes)\n y = Neg(a)",
        "a, m = Dropout(x, half, t)\n y = Neg(a)",
    ],
    ids=["training", "decided-at-run-time"],
)
def test_dropout_that_may_drop_stays(body: str) -> None:
    graph = Graph(small(f"net (float[n,3] x, bool t) => (float[n,3] y) {{ {body} }}", CONSTANTS))
    assert drop_noops(graph).changed == 0
    assert ops(graph.to_model()) == ["Dropout", "Neg"]


def test_a_mask_that_is_read_keeps_its_dropout() -> None:
    text = "net (float[n,3] x) => (float[n,3] y, bool[n,3] m) { a, m = Dropout(x)\n y = Neg(a) }"
    graph = Graph(small(text))
    assert drop_noops(graph).changed == 0
    assert_same_outputs(small(text), graph.to_model())


@pytest.mark.parametrize(
    "text",
    [
        "net (float[n,3] x) => (float[n,3] y) { y = Identity(x) }",
        "net (float[n,3] x) => (float[n,3] a, float[n,3] y) { a = Relu(x)\n y = Identity(a) }",
    ],
    ids=["input-to-output", "two-outputs"],
)
def test_an_identity_that_carries_a_name_is_refused(text: str) -> None:
    graph = Graph(small(text))
    outcome = drop_noops(graph)
    assert outcome.changed == 0
    (refusal,) = outcome.refusals
    assert refusal == "node 'Identity_y' joins a graph input or two outputs; it must stay"
    assert_same_outputs(small(text), graph.to_model())


def test_identity_of_a_constant_is_left_to_folding() -> None:
    text = "net (float[n] x) => (float[n] y) { k = Identity(half)\n y = Mul(x, k) }"
    graph = Graph(small(text, CONSTANTS))
    assert drop_noops(graph).changed == 0
    assert fold_constants(graph).changed == 1
    assert_same_outputs(small(text, CONSTANTS), graph.to_model())


def test_another_domains_identity_is_not_ours() -> None:
    text = "net (float[n] x) => (float[n] y) { a = com.example.Identity(x)\n y = Neg(a) }"
    graph = Graph(small(text))
    assert drop_noops(graph).changed == 0
    assert ops(graph.to_model()) == ["Identity", "Neg"]
