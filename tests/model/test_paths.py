"""What follows from the nodes upstream of a tensor."""

import numpy as np
from onnx import helper

from oq.model.graph import Graph
from oq.model.paths import branch_lengths, distances, is_never_negative, value_sized
from oq.model.view import GraphView
from tests.graphs import Net
from tests.odd_models import boxes
from tests.small import small


def test_everything_per_box_has_a_size_that_depends_on_values() -> None:
    found = value_sized(Graph(boxes()).view())
    assert found == {"kept", "which", "picked", "g", "r", "found"}


def test_a_range_written_as_nonzero_depends_on_the_shape_alone() -> None:
    model = small(
        """net (float[n,4] x) => (int64[1,m] y) {
            s = Shape(x) c = ConstantOfShape <value = int64[1] {1}> (s) y = NonZero(c)
        }"""
    )
    assert value_sized(Graph(model).view()) == frozenset()


def test_what_is_scattered_into_keeps_its_size() -> None:
    model = small(
        """net (float[n] x, float[n] z) => (float[n] y, float[m] p) {
            i = NonZero(x) t = Transpose(i) p = GatherND(z, t) y = ScatterND(z, t, p)
        }"""
    )
    assert value_sized(Graph(model).view()) == {"i", "t", "p"}


def sums(count: int, seed: int) -> GraphView:
    """Sums of two tensors each, drawn among those before."""
    random, nodes = np.random.default_rng(seed), []
    for i in range(count):
        first, second = random.integers(max(0, i - 6), i + 1, 2)
        nodes.append(helper.make_node("Add", [f"t{first}", f"t{second}"], [f"t{i + 1}"], f"n{i}"))
    x, y = ([helper.make_tensor_value_info(t, 1, ["n"])] for t in ("t0", f"t{count}"))
    graph = helper.make_graph(nodes, "sums", x, y)
    return Graph(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])).view()


def test_branches_are_as_long_as_the_shortest_paths_to_the_nearest_common_tensor() -> None:
    for seed in range(20):
        view = sums(30, seed)
        for node in view.nodes:
            near, far = (distances(view, t) for t in node.inputs)
            nearest = min((near[t] + far[t], near[t], far[t]) for t in near.keys() & far.keys())
            assert branch_lengths(view, *node.inputs) == nearest[1:]


def test_inputs_without_a_common_tensor_have_no_branches() -> None:
    model = small("net (float[n] x, float[n] z) => (float[n] y) { a = Relu(x) y = Add(a, z) }")
    assert branch_lengths(Graph(model).view(), "a", "z") is None


def test_roots_and_sizes_are_never_negative() -> None:
    net = Net()
    net.node("Sqrt", [net.input("x")], "s")
    net.node("Add", [net.node("Exp", ["x"], "e"), net.node("Abs", ["s"], "a")], "sum")
    net.node("Neg", ["e"], "n")
    view = Graph(net.model("sum", "n")).view()
    assert {t for t in "sean" if is_never_negative(view, t)} == set("sea")
    assert is_never_negative(view, "sum")


def test_sums_and_averages_of_positive_values_are_never_negative() -> None:
    model = small(
        """net (float[1,2,4,4] x) => (float[1,2,4,4] s, float[1,2,4,4] p, float[1,2,4,4] m)
        <float one = {1}, float less = {-1}> {
            r = Relu(x) c = Sigmoid(x) s = Add(r, c) p = Mul(s, one) m = Mul(s, less)
        }"""
    )
    view = Graph(model).view()
    found = {t for t in ("x", "r", "c", "s", "p", "m") if is_never_negative(view, t)}
    assert found == {"r", "c", "s", "p"}
    assert is_never_negative(view, "one")
    assert not is_never_negative(view, "less")
