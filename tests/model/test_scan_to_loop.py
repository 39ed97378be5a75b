"""A Scan and the Loop made of it give the same, bit for bit, in whatever order they read and
stack."""

from functools import partial

import numpy as np
import onnx
import pytest

from oq.model.names import claim_name
from oq.model.scan_to_loop import scan_to_loop
from oq.model.submodels import names_in
from tests.small import normal, ops, reference, small


def scan(how: str) -> onnx.ModelProto:
    """Two states, two scanned inputs, two stacked outputs; t is computed outside."""
    given = "float[2,n,3] a, float[n,2,3] b, float[3] t"
    made = "float[3] p, float[3] q, float[c,d,e] r, float[f,g,h] s"
    text = f"""net ({given}) => ({made}) {{
        u = Tanh(t)
        p, q, r, s = Scan<num_scan_inputs = 2{how}, body = turn
            (float[3] h, float[3] g, float[2,3] x, float[2,3] y)
            => (float[3] hh, float[3] gg, float[2,3] xx, float[2,3] yy) {{
            m = Add(x, h)
            xx = Mul(m, y)
            v = ReduceSum<keepdims = 0>(xx, first)
            hh = Tanh(v)
            gg = Sub(g, u)
            yy = Add(xx, gg)
        }}>(t, u, a, b)
    }}"""
    model = small(text, {"first": np.asarray([0])})
    for node in model.graph.node:
        node.name = node.op_type
    return model


@pytest.mark.parametrize(
    "how",
    [
        ", scan_input_axes = [1, 0]",
        ", scan_input_axes = [-2, 0], scan_input_directions = [1, 0]",
        ", scan_input_axes = [1, 0], scan_output_axes = [1, 0], scan_output_directions = [0, 1]",
        ", scan_input_axes = [1, 0], scan_output_axes = [-1, 2], scan_output_directions = [1, 1]",
    ],
)
def test_the_same_values(how: str) -> None:
    model = scan(how)
    loop = onnx.ModelProto()
    loop.CopyFrom(model)
    node = next(n for n in loop.graph.node if n.op_type == "Scan")
    scan_to_loop(loop.graph, node, partial(claim_name, taken=names_in(loop.graph)))
    onnx.checker.check_model(loop, full_check=True)
    assert "Loop" in ops(loop) and "Scan" not in ops(loop)
    feeds = {"a": normal(2, 5, 3), "b": normal(5, 2, 3, seed=1), "t": normal(3, seed=2)}
    wanted, found = reference(model, feeds), reference(loop, feeds)
    assert list(found) == list(wanted)
    for name, values in wanted.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


def test_nodes_without_a_name() -> None:
    model = scan(", scan_input_axes = [1, 0], scan_output_axes = [1, 0]")
    feeds = {"a": normal(2, 5, 3), "b": normal(5, 2, 3, seed=1), "t": normal(3, seed=2)}
    wanted = reference(model, feeds)
    for node in model.graph.node:
        node.name = ""
    scan_to_loop(model.graph, model.graph.node[1], partial(claim_name, taken=set(wanted)))
    for name, values in reference(model, feeds).items():
        np.testing.assert_array_equal(values, wanted[name], err_msg=name)


def test_outputs_that_are_left_out() -> None:
    model = scan(", scan_input_axes = [1, 0]")
    node = model.graph.node[1]
    feeds = {"a": normal(2, 5, 3), "b": normal(5, 2, 3, seed=1), "t": normal(3, seed=2)}
    wanted = reference(model, feeds)
    del node.output[2:], model.graph.output[2:]
    scan_to_loop(model.graph, node, partial(claim_name, taken=names_in(model.graph)))
    for name, values in reference(model, feeds).items():
        np.testing.assert_array_equal(values, wanted[name], err_msg=name)
