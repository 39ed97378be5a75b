"""Sigmoid becomes the line that the DPU computes."""

import numpy as np

from oq.model.graph import Graph
from oq.prepare.harden_sigmoid import harden_sigmoid
from tests.graphs import single
from tests.small import ops, reference


def test_every_sigmoid_becomes_a_hard_one() -> None:
    graph = Graph(single("Sigmoid"))
    assert harden_sigmoid(graph).changed == 1
    after = graph.to_model()
    assert ops(after) == ["HardSigmoid"]
    x = np.linspace(-9, 9, 256, dtype=np.float32).reshape(1, 4, 8, 8)
    found = reference(after, {"x": x})["y"]
    np.testing.assert_allclose(found, (x / 6 + 0.5).clip(0, 1), atol=1e-6)
    assert np.abs(found - 1 / (1 + np.exp(-x))).max() < 0.076


def test_other_models_stay() -> None:
    graph = Graph(single("Relu"))
    assert harden_sigmoid(graph).changed == 0
