"""An output that is a weight stays the weight, whatever becomes of the layer."""

import numpy as np
import pytest

import oq
from oq.model.graph import Graph
from oq.planning import registry
from oq.prepare.outputs_apart import outputs_apart
from tests.small import assert_same_outputs, normal, reference, small

TEXT = """net (float[n,8] x) => (float[n,8] y, float[8,8] w) {
    a = MatMul(x, w) r = Relu(a) y = MatMul(r, w)
}"""


def test_readers_of_an_output_get_a_constant_of_their_own() -> None:
    model = small(TEXT, {"w": normal(8, 8)})
    graph = Graph(model)
    assert outputs_apart(graph).changed == 1
    assert not graph.view().consumers("w")
    assert_same_outputs(model, graph.to_model())
    alone = small(TEXT.replace(", float[8,8] w)", ")"), {"w": normal(8, 8)})
    assert not outputs_apart(Graph(alone)).changed


@pytest.mark.parametrize("target", registry.names("targets"))
def test_the_output_is_the_float_weight(target: str) -> None:
    w = normal(8, 8)
    made = oq.quantize(small(TEXT, {"w": w}), target, {"x": normal(64, 8)})
    assert made.report.plan.sites
    np.testing.assert_array_equal(reference(made.model, {"x": normal(1, 8)})["w"], w)
