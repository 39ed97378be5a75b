"""Who asks for a grid: kernels, what moves values, skips that follow what computes them."""

import onnx
import pytest

from oq.model.graph import Graph
from oq.planning import registry
from oq.planning.matches import match_rules
from oq.planning.requests import in_graph_order, requests_of
from tests.graphs import Net


def asked(model: onnx.ModelProto) -> dict[str, set[str]]:
    """tensor -> the nodes that ask for it in codes."""
    view = Graph(model).view()
    matches, _ = match_rules(view, registry.target("trt"), {}, naive=True)
    found = requests_of(view, in_graph_order(view, matches))
    return {t: {n.removeprefix("n_") for n in r.readers} for t, r in found.items()}


def skip_behind(op: str, *, quantized: bool) -> onnx.ModelProto:
    """``Conv(y) + op(source)``, the source being another convolution or Exp."""
    net = Net()
    x = net.input("x")
    source = net.conv(x, "s") if quantized else net.node("Exp", [x], "s")
    attributes = {"kernel_shape": [1, 1]} if op == "MaxPool" else {"axis": 1}
    inputs = [source, source] if op == "Concat" else [source]
    width = 8 if op == "Concat" else 4
    skip = net.node(op, inputs, "m", **attributes)
    return net.model(net.node("Add", [net.conv(net.input("y"), "c", width=width), skip], "a"))


@pytest.mark.parametrize("op", ["MaxPool", "Concat"])
def test_a_skip_is_asked_for_where_integers_compute_it(op: str) -> None:
    """Across a MaxPool and a Concat, whose own output has the grid."""
    found = asked(skip_behind(op, quantized=True))
    assert found["m"] == {"a"} and found["x"] == {"s"}


@pytest.mark.parametrize("op", ["MaxPool", "Concat"])
def test_a_skip_of_float_values_is_not(op: str) -> None:
    assert asked(skip_behind(op, quantized=False)) == {"y": {"c"}}


def test_a_skip_of_float_values_that_a_layer_reads_is() -> None:
    net = Net()
    e = net.node("Exp", [net.input("x")], "e")
    found = asked(net.model(net.node("Add", [net.conv(e, "c"), e], "a")))
    assert found == {"e": {"c", "a"}}


def test_moves_ask_only_where_they_are_asked() -> None:
    net = Net()
    m = net.node("MaxPool", [net.input("x")], "m", kernel_shape=[1, 1])
    k = net.node("MaxPool", [net.input("y")], "k", kernel_shape=[1, 1])
    found = asked(net.model(net.conv(m, "c"), net.node("Exp", [k], "e")))
    assert found == {"m": {"c"}, "x": {"m"}}
