"""What the read-only picture answers about readers, producers and edges."""

import numpy as np
import pytest

from oq.model.graph import Graph
from oq.model.view import GraphView
from tests.small import normal, small

CAPTURE = """net (bool c, float[n,3] x) => (float[n,3] y, float[n,3] r) {
    [relu] r = Relu(x)
    [twice] s = Add(r, r)
    [branch] y = If(c) <
        then_branch = yes () => (float[n,3] u) { u = Add(r, w) },
        else_branch = no () => (float[n,3] v) { k = Neg(s)
            v = Add(k, r) }
    >
}"""


@pytest.fixture
def view() -> GraphView:
    return Graph(small(CAPTURE, {"w": normal(3)})).view()


def test_consumers_are_listed_once_and_subgraphs_count(view: GraphView) -> None:
    assert [n.name for n in view.consumers("r")] == ["twice", "branch"]
    assert [n.name for n in view.consumers("s")] == ["branch"]
    assert view.consumers("y") == ()


def test_edges_count_every_read_and_the_graph_output(view: GraphView) -> None:
    assert view.node("twice").reads("r") == 2
    assert view.edges("r") == 2 + 1 + 1  # Add twice, If (each captured name once), graph output
    assert view.edges("x") == 1
    assert view.edges("y") == 1


def test_a_branch_captures_outer_tensors_only(view: GraphView) -> None:
    assert set(view.node("branch").captured) == {"r", "s"}
    assert view.node("branch").inputs == ("c",)


def test_a_branch_captures_outer_constants_too() -> None:
    text = """net (float[n,3] x, bool c) => (float[n,3] y) {
        r = Add(x, w)
        y = If (c) <
            then_branch = yes () => (float[n,3] u) { u = Mul(r, w) },
            else_branch = no () => (float[n,3] v) <float[1] own = {2}> { v = Mul(r, own) }
        >
    }"""
    view = Graph(small(text, {"w": normal(3)})).view()
    (branch,) = (n for n in view.nodes if n.op == "If")
    assert set(branch.captured) == {"r", "w"}
    assert view.edges("w") == 2


def test_producers(view: GraphView) -> None:
    producer = view.producer("s")
    assert producer is not None and producer.name == "twice"
    assert view.producer("x") is None
    with pytest.raises(KeyError):
        view.node("r")


def test_types_and_constants() -> None:
    model = small(
        "net (float[n,3] x, int64[2] i) => (float[n,3] y) { t = Mul(x, w)\n y = Identity(t) }",
        {"w": np.asarray([1, 2, 3], np.float16)},
    )
    view = Graph(model).view()
    assert view.is_float("x") and view.is_float("w")
    assert not view.is_float("i") and not view.is_float("t") and not view.is_float("absent")
    assert view.rank("x") == 2 and view.rank("w") == 1
    assert view.rank("t") is None and view.rank("absent") is None
    assert view.shape("x") == ("n", 3) and view.shape("w") == (3,)
    assert view.shape("t") is None and view.shape("absent") is None
    assert view.is_constant("w") and not view.is_constant("x")
    assert view.constants["w"].tolist() == [1, 2, 3]
    assert list(view.constants) == ["w"] and len(view.constants) == 1


def test_an_optional_input_left_out_has_no_readers() -> None:
    model = small("net (float[n] x, float h) => (float[n] y) { y = Clip(x, , h) }")
    view = Graph(model).view()
    assert view.nodes[0].inputs == ("x", "", "h")
    assert view.consumers("") == () and view.edges("h") == 1


def test_the_shape_of_a_constant_is_that_of_its_values() -> None:
    """Whatever the file declares of one that a node writes."""
    model = small(
        "net (float[n,3] x) => (float[n,3] y) <float[m] k> "
        "{ k = Constant <value = float[3] {1, 2, 3}> () z = Add(x, k) y = Mul(z, w) }",
        {"w": normal(1, 3)},
    )
    view = Graph(model).view()
    assert view.constant_shape("w") == (1, 3) and view.constant_shape("k") == (3,)
