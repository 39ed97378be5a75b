"""Chains: longest first, whole or not at all, and every near miss with its sentence."""

from onnx import TensorProto, helper

from oq.model.graph import Graph
from oq.model.view import GraphView
from oq.planning.target import BrokenChain, Match, OpRule, find
from tests.graphs import Net


def found(view: GraphView, *rules: OpRule) -> list[tuple[str, ...]]:
    """The nodes of each match, or the reason it is none."""
    return [
        tuple(n.name for n in f.members) if isinstance(f, Match) else (f.name, f.reason)
        for f in find(view, rules)
    ]


def chain(*ops: str | tuple[str, ...]) -> OpRule:
    return OpRule(ops)


def conv_relu_pool() -> GraphView:
    net = Net()
    relu = net.node("Relu", [net.conv(net.input("x"), "c")], "r")
    net.node("MaxPool", [relu], "m", kernel_shape=[2, 2])
    return net.view("m")


def test_longest_chains_come_first_whatever_the_order_of_the_table() -> None:
    rules = [chain("Conv"), chain("Conv", "Relu", "MaxPool"), chain("MaxPool"), chain("Relu")]
    wanted = [("n_c", "n_r", "n_m"), ("n_c",), ("n_m",), ("n_r",)]
    assert found(conv_relu_pool(), *rules) == wanted
    assert found(conv_relu_pool(), *rules[::-1])[0] == wanted[0]


def test_an_element_may_name_several_ops_and_the_match_says_which_stood_there() -> None:
    view = conv_relu_pool()
    (match,) = find(view, [chain(("Gemm", "Conv"), ("Clip", "Relu"))])
    assert isinstance(match, Match)
    assert (match.name, match.output) == ("Conv+Relu", "r")
    assert (match.anchor, match.links) == (view.node("n_c"), (view.node("n_c"), view.node("n_r")))
    assert found(view, chain("Conv", ("Clip", "Sigmoid"))) == []


def test_a_chain_needs_the_only_reader() -> None:
    net = Net()
    c = net.conv(net.input("x"), "c")
    net.node("Relu", [c], "r")
    net.node("MaxPool", [c], "m", kernel_shape=[2, 2])
    view = net.view("r", "m")
    broken = "'c' is read by MaxPool, Relu, so Relu cannot be fused"
    assert found(view, chain("Conv", "Relu")) == [("Conv+Relu", broken)]
    (only,) = find(view, [chain("Conv", "Relu")])
    assert isinstance(only, BrokenChain) and only.anchor == view.node("n_c")


def test_a_graph_output_is_a_reader() -> None:
    net = Net()
    net.node("Relu", [net.conv(net.input("x"), "c")], "r")
    reason = "'c' is also a graph output, so Relu cannot be fused"
    assert found(net.view("r", "c"), chain("Conv", "Relu")) == [("Conv+Relu", reason)]


def test_an_op_that_reads_the_tensor_twice_takes_both_edges() -> None:
    net = Net()
    c = net.conv(net.input("x"), "c")
    net.node("Add", [c, c], "a")
    assert found(net.view("a"), chain("Conv", "Add")) == [("n_c", "n_a")]


def test_a_chain_may_enter_a_node_at_any_operand() -> None:
    net = Net()
    x = net.input("x")
    net.node("Add", [x, net.conv(x, "c")], "a")
    assert found(net.view("a"), chain("Conv", "Add")) == [("n_c", "n_a")]


def silu(net: Net, x: str, swapped: bool = False) -> str:
    s = net.node("Sigmoid", [x], "s")
    return net.node("Mul", [s, x] if swapped else [x, s], "m")


def test_sigmoid_times_itself_is_one_link() -> None:
    for swapped in (False, True):
        net = Net()
        silu(net, net.conv(net.input("x"), "c"), swapped)
        (match,) = find(net.view("m"), [chain("Conv", ("Relu", "Silu"))])
        assert isinstance(match, Match)
        assert [n.name for n in match.members] == ["n_c", "n_s", "n_m"]
        assert [n.name for n in match.links] == ["n_c", "n_m"]
        assert match.output == "m"


def test_what_only_looks_like_silu_is_not() -> None:
    net = Net()
    c = net.conv(net.input("x"), "c")
    net.node("Mul", [net.node("Sigmoid", [c], "s"), net.input("z")], "m")
    assert found(net.view("m"), chain("Conv", "Silu")) == []
    net = Net()
    silu(net, net.conv(net.input("x"), "c"))
    assert found(net.view("m", "s"), chain("Conv", "Silu")) == []


def test_silu_whose_input_has_another_reader_is_broken() -> None:
    net = Net()
    c = net.conv(net.input("x"), "c")
    silu(net, c)
    net.node("MaxPool", [c], "p", kernel_shape=[2, 2])
    (name, reason), *_ = found(net.view("m", "p"), chain("Conv", "Silu"))
    assert (name, reason) == (
        "Conv+Mul",
        "'c' is read by MaxPool, Mul, Sigmoid, so Mul cannot be fused",
    )


def test_other_domains_are_other_ops() -> None:
    net = Net()
    net.conv(net.input("x"), "c")
    model = net.model("c")
    model.graph.node[0].domain = "com.example"
    assert found(Graph(model).view(), chain("Conv")) == []


def test_readers_inside_a_subgraph_count() -> None:
    net = Net()
    c = net.conv(net.input("x"), "c")
    net.node("Relu", [c], "r")
    net.constant("yes", True, bool)
    branch = [
        helper.make_graph(
            [helper.make_node("Neg", ["c"], [f"{name}_out"], f"n_{name}")],
            name,
            [],
            [helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, None)],
        )
        for name in ("then", "else")
    ]
    net.node("If", ["yes"], "i", then_branch=branch[0], else_branch=branch[1])
    reason = "'c' is read by If, Relu, so Relu cannot be fused"
    assert found(net.view("r", "i"), chain("Conv", "Relu")) == [("Conv+Relu", reason)]
