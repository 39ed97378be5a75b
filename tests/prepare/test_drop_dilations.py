"""Averages as torch writes them since opset 19 can be quantized."""

import onnx
import pytest

from oq.model.graph import Graph
from oq.prepare.drop_dilations import drop_dilations
from tests.small import assert_same_outputs, small


def average(step: int) -> onnx.ModelProto:
    return small(
        f"""net (float[n,4,8,8] x) => (float[n,4,a,b] y) {{
            y = AveragePool<kernel_shape = [2, 2], dilations = [{step}, {step}]>(x)
        }}""",
        opset=19,
    )


@pytest.mark.parametrize(("step", "changed"), [(1, 1), (2, 0)])
def test_only_what_says_nothing_goes(step: int, changed: int) -> None:
    graph = Graph(average(step))
    assert drop_dilations(graph).changed == changed
    made = graph.to_model()
    assert ("dilations" in {a.name for a in made.graph.node[0].attribute}) == (not changed)
    assert_same_outputs(average(step), made)
