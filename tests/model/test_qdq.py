"""Reading pairs: what stands above, which grid, which type."""

import numpy as np
import pytest

from oq.model.graph import Graph
from oq.model.qdq import above_pair, before_pair, codes_dtype, quantizers_of, same_grid, stored
from oq.model.view import GraphView
from tests.graphs import Net
from tests.pairs import ZERO, conv, pair


def view() -> GraphView:
    net = Net()
    made = conv(net, pair(net, net.input("x"), "x"), "c")
    pair(net, made, "c", "uint8", 0.05)
    pair(net, made, "other", "uint8", 0.1)
    w = pair(net, net.weight("f", 4, 4, 1, 1), "f", "int8")
    net.node("Conv", ["d_c", w], "y")
    return Graph(net.model("y", "d_other")).view()


def test_above_and_before_a_pair() -> None:
    graph = view()
    above = above_pair(graph, "d_c")
    assert above is not None and above.name == "n_c"
    assert before_pair(graph, "d_c") == "c"
    assert above_pair(graph, "d_x") is None and before_pair(graph, "d_x") == "x"
    assert above_pair(graph, "c") is None and before_pair(graph, "w_c") is None


def test_what_is_stored() -> None:
    """Codes in the file, and a float constant whose pair is still to be folded."""
    graph = view()
    found = {n.outputs[0]: stored(graph, n) for n in graph.nodes if n.op == "DequantizeLinear"}
    assert found == {"d_x": False, "w_c": True, "d_c": False, "d_other": False, "d_f": True}


def test_grids_are_compared_by_value() -> None:
    graph = view()
    x, c, other = (graph.node(f"n_q_{n}") for n in ("x", "c", "other"))
    assert same_grid(graph, x, c)
    assert not same_grid(graph, c, other)
    assert {n.name for n in quantizers_of(graph, "c")} == {"n_q_c", "n_q_other"}


@pytest.mark.parametrize("grid", ZERO)
def test_types_come_from_the_zero_point(grid: str) -> None:
    net = Net()
    pair(net, net.input("x"), "x", grid)
    graph = Graph(net.model("d_x")).view()
    expected = np.asarray(ZERO[grid]).dtype.name
    assert {codes_dtype(graph, n) for n in graph.nodes} == {expected}


def test_without_a_zero_point_the_codes_are_uint8() -> None:
    net = Net()
    pair(net, net.input("x"), "x")
    for node in net.nodes:
        node.input.pop()
    graph = Graph(net.model("d_x")).view()
    assert codes_dtype(graph, graph.node("n_q_x")) == "uint8"
