"""Defaults of the ONNX specification, written out: the model computes the same."""

import onnx
import pytest

from oq.model.graph import Graph
from oq.prepare.write_attributes import write_attributes
from tests.small import assert_same_outputs, normal, small


def attributes(model: onnx.ModelProto) -> dict[str, object]:
    return {a.name: onnx.helper.get_attribute_value(a) for a in model.graph.node[0].attribute}


@pytest.mark.parametrize(
    ("node", "weight", "added"),
    [
        ("Conv (x, w)", (2, 3, 3, 2), {"kernel_shape": [3, 2], "strides": [1, 1], "group": 1,
                                       "dilations": [1, 1], "pads": [0, 0, 0, 0]}),
        ("ConvTranspose (x, w)", (3, 2, 2, 2), {"output_padding": [0, 0], "group": 1}),
        ("MaxPool <kernel_shape = [2, 2]> (x)", None, {"strides": [1, 1], "ceil_mode": 0}),
        ("AveragePool <kernel_shape = [2, 2], pads = [1, 1, 0, 0]> (x)", None,
         {"count_include_pad": 0, "pads": [1, 1, 0, 0]}),
        ("LeakyRelu (x)", None, {"alpha": pytest.approx(0.01)}),
        ("Flatten (x)", None, {"axis": 1}),
    ],
)  # fmt: skip
def test_defaults(node: str, weight: tuple[int, ...] | None, added: dict[str, object]) -> None:
    constants = {} if weight is None else {"w": normal(*weight)}
    rank = 2 if node.startswith("Flatten") else 4
    out = ", ".join("nabc"[:rank])
    before = small(f"net (float[2, 3, 6, 6] x) => (float[{out}] y) {{ y = {node} }}", constants)
    graph = Graph(before)
    assert write_attributes(graph).changed == 1
    after = graph.to_model()
    found = attributes(after)
    assert {k: found[k] for k in added} == added
    assert_same_outputs(before, after)
    assert write_attributes(Graph(after)).changed == 0


def test_automatic_padding_stays() -> None:
    node = 'Conv <auto_pad = "SAME_UPPER"> (x, w)'
    text = f"net (float[2, 3, 6, 6] x) => (float[2, 2, 6, 6] y) {{ y = {node} }}"
    before = small(text, {"w": normal(2, 3, 3, 3)})
    graph = Graph(before)
    write_attributes(graph)
    assert "pads" not in attributes(graph.to_model())
    assert_same_outputs(before, graph.to_model())
