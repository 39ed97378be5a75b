"""Every predicate accepts what it is for and refuses the rest with its own sentence."""

from collections.abc import Callable

import numpy as np
import pytest

from oq.model.operands import bias_input, data_inputs, is_padded, pads_by_size, weight_input
from oq.model.paths import branch_lengths, is_never_negative
from oq.model.view import GraphView
from oq.planning import predicates
from oq.planning.predicates import other_operand
from oq.planning.target import Match, OpRule, Predicate, find
from tests.graphs import Net

Case = tuple[GraphView, tuple[str, ...]]
"""A graph and the ops of the chain that is judged."""


def judge(predicate: Predicate, case: Case) -> str | None:
    view, ops = case
    match = next(f for f in find(view, [OpRule(ops)]) if isinstance(f, Match))
    return predicate(view, match)


def conv(weight: bool = True, bias: bool = True) -> Case:
    net = Net()
    names = [net.input("x")]
    names.append(net.weight("w", 4, 4, 1, 1) if weight else net.input("w", (4, 4, 1, 1)))
    names.append(net.weight("b", 4) if bias else net.input("b", (4,)))
    net.node("Conv", names, "c")
    return net.view("c"), ("Conv",)


def gemm(**attributes: float) -> Case:
    net = Net()
    net.node(
        "Gemm", [net.input("x", (4, 4)), net.weight("w", 4, 4), net.weight("b", 4)], "g",
        **attributes,
    )  # fmt: skip
    return net.view("g"), ("Gemm",)


def matmul(first: bool, second: bool) -> Case:
    """``first``, ``second``: whether that operand is a constant."""
    net = Net()
    net.input("z", (4, 4))
    names = [
        net.weight(name, 4, 4) if constant else net.input(name, (4, 4))
        for name, constant in (("a", first), ("b", second))
    ]
    net.node("MatMul", names, "m")
    net.node("Add", ["m", "z"], "y")
    return net.view("y"), ("MatMul",)


def integers() -> Case:
    net = Net()
    net.constant("shape", [1, 2], np.int64)
    net.constant("axes", [0], np.int64)
    net.input("x", (1, 2))
    net.node("Shape", ["x"], "s")
    net.node("Unsqueeze", ["s", "axes"], "u")
    net.node("Cast", ["u"], "y", to=1)
    return net.view("y"), ("Unsqueeze",)


def floats() -> Case:
    net = Net()
    net.constant("axes", [0], np.int64)
    net.node("Unsqueeze", [net.input("x"), "axes"], "u")
    return net.view("u"), ("Unsqueeze",)


def biased(constant: bool) -> Case:
    net = Net()
    m = net.node("MatMul", [net.input("x", (4, 4)), net.weight("w", 4, 4)], "m")
    net.node("Add", [net.weight("b", 4) if constant else net.input("b", (4,)), m], "y")
    return net.view("y"), ("MatMul", "Add")


def conv_add(constant: bool) -> Case:
    net = Net()
    c = net.conv(net.input("x"), "c")
    net.node("Add", [c, net.weight("k", 4, 1, 1) if constant else net.input("z")], "y")
    return net.view("y"), ("Conv", "Add")


def pad(mode: str = "constant", value: float | None = None, known: bool = True) -> Case:
    net = Net()
    net.constant("pads", [0, 0, 1, 1, 0, 0, 1, 1], np.int64)
    names = [net.input("x"), "pads"]
    if not known:
        names.append(net.input("v", ()))
    elif value is not None:
        names.append(net.constant("v", value))
    net.node("Pad", names, "p", mode=mode)
    return net.view("p"), ("Pad",)


def resize(mode: str | None) -> Case:
    net = Net()
    net.constant("scales", [1, 1, 2, 2])
    attributes = {} if mode is None else {"mode": mode}
    net.node("Resize", [net.input("x"), "", "scales"], "y", **attributes)
    return net.view("y"), ("Resize",)


ATTENTION = (
    "product of two activations (attention): int8 costs accuracy in the softmax and "
    "saves little time"
)

CASES: list[tuple[str, Case, str | None]] = [
    ("data_is_not_float", floats(), None),
    ("data_is_not_float", integers(), "input 's' is int64, not a float tensor"),
    ("weight_is_not_constant", conv(), None),
    (
        "weight_is_not_constant",
        conv(weight=False),
        "weight 'w' is computed at run time, so it cannot be stored as int8",
    ),
    ("bias_is_not_constant", conv(), None),
    (
        "bias_is_not_constant",
        conv(bias=False),
        "bias 'b' is computed at run time, so it cannot be stored as int32",
    ),
    ("gemm_is_scaled", gemm(), None),
    ("gemm_is_scaled", gemm(alpha=1.0, beta=1.0, transB=1, transA=0), None),
    ("gemm_is_scaled", gemm(alpha=2.0), "'n_g' has alpha or beta other than 1"),
    ("gemm_is_scaled", gemm(beta=0.5), "'n_g' has alpha or beta other than 1"),
    ("gemm_is_scaled", gemm(transA=1), "'n_g' has transA=1"),
    ("both_operands_vary", matmul(False, True), None),
    ("both_operands_vary", matmul(True, False), None),
    ("both_operands_vary", matmul(False, False), ATTENTION),
    ("first_operand_is_constant", matmul(False, True), None),
    ("first_operand_is_constant", matmul(True, False), "its first operand 'a' is a constant"),
    ("operand_is_constant", conv_add(False), None),
    ("operand_is_constant", conv_add(True), "operand 'k' of 'n_y' is a constant"),
    ("operand_varies", biased(True), None),
    ("operand_varies", biased(False), "operand 'b' of 'n_y' is not a constant bias"),
    ("pad_is_not_zero", pad(), None),
    ("pad_is_not_zero", pad(value=0.0), None),
    ("pad_is_not_zero", pad(mode="reflect"), None),
    (
        "pad_is_not_zero",
        pad(value=1.0),
        "'n_p' pads with a value other than 0, which the range of its input may not contain",
    ),
    (
        "pad_is_not_zero",
        pad(known=False),
        "'n_p' pads with a value other than 0, which the range of its input may not contain",
    ),
    ("resize_is_not_nearest", resize(None), None),
    ("resize_is_not_nearest", resize("nearest"), None),
    ("resize_is_not_nearest", resize("linear"), "'n_y' interpolates (linear)"),
]


@pytest.mark.parametrize(("name", "case", "reason"), CASES)
def test_sentence(name: str, case: Case, reason: str | None) -> None:
    predicate: Callable[[GraphView, Match], str | None] = getattr(predicates, name)
    assert judge(predicate, case) == reason


def test_an_unknown_type_is_not_float() -> None:
    view, ops = floats()
    blind = GraphView(view.nodes, view.inputs, view.outputs, {}, view.constants, view.opset)
    reason = judge(predicates.data_is_not_float, (blind, ops))
    assert reason == "input 'x' is of unknown type, not a float tensor"


# ---- residual branches


def residual(main: int, skip: int, swapped: bool = False, relu: bool = False) -> GraphView:
    """``x -> main convolutions``, ``x -> skip convolutions``, added; the main branch first."""
    net = Net()
    ends = []
    for label, length in (("m", main), ("s", skip)):
        tensor = net.input("x") if label == "m" else "x"
        for i in range(length):
            tensor = net.conv(tensor, f"{label}{i}")
        ends.append(tensor)
    if relu:
        ends[1] = net.node("Relu", [ends[1]], "r")
    net.node("Add", ends[::-1] if swapped else ends, "y")
    return net.view("y")


def refusals(view: GraphView) -> dict[str, str | None]:
    """What `is_shorter_branch` says of every Conv that could take the Add."""
    found = (f for f in find(view, [OpRule(("Conv", "Add"))]) if isinstance(f, Match))
    return {m.anchor.name: predicates.is_shorter_branch(view, m) for m in found}


def shorter(mine: str, rival: str) -> str:
    return f"{mine!r} is the shorter branch into 'n_y'; the longer one, {rival!r}, fuses the Add"


@pytest.mark.parametrize("swapped", [False, True])
def test_with_a_downsample_the_longer_branch_takes_the_add(swapped: bool) -> None:
    assert refusals(residual(2, 1, swapped)) == {
        "n_m1": None,
        "n_s0": shorter("n_s0", "n_m1"),
    }


@pytest.mark.parametrize("swapped", [False, True])
def test_an_identity_skip_leaves_the_add_to_the_only_branch(swapped: bool) -> None:
    assert refusals(residual(2, 0, swapped)) == {"n_m1": None}
    assert refusals(residual(1, 0, swapped)) == {"n_m0": None}


def test_a_tie_goes_to_the_second_operand() -> None:
    assert refusals(residual(1, 1)) == {"n_m0": shorter("n_m0", "n_s0"), "n_s0": None}
    assert refusals(residual(1, 1, swapped=True)) == {
        "n_s0": shorter("n_s0", "n_m0"),
        "n_m0": None,
    }


def test_a_longer_branch_that_ends_in_something_else_takes_nothing() -> None:
    assert refusals(residual(1, 2, relu=True)) == {"n_m0": None}


def test_a_longer_branch_with_another_reader_takes_nothing() -> None:
    net = Net()
    deep = net.conv(net.conv(net.input("x"), "a"), "b")
    net.node("Add", [net.conv("x", "s"), deep], "y")
    assert refusals(net.view("y", "b")) == {"n_s": None}


def test_branches_without_a_common_ancestor_are_a_tie() -> None:
    net = Net()
    net.node("Add", [net.conv(net.input("a"), "c"), net.conv(net.input("b"), "d")], "y")
    assert refusals(net.view("y")) == {"n_c": shorter("n_c", "n_d"), "n_d": None}


def test_an_add_of_a_tensor_to_itself_has_no_skip() -> None:
    net = Net()
    c = net.conv(net.input("x"), "c")
    net.node("Add", [c, c], "y")
    assert refusals(net.view("y")) == {"n_c": "both operands of 'n_y' are the same tensor"}


@pytest.mark.parametrize(("main", "skip"), [(2, 1), (3, 0), (1, 1), (0, 2)])
def test_branch_lengths_count_nodes_from_the_common_ancestor(main: int, skip: int) -> None:
    view = residual(main, skip)
    first, second = view.node("n_y").inputs
    assert branch_lengths(view, first, second) == (main, skip)


def test_branch_lengths_take_the_shortest_way_and_the_nearest_ancestor() -> None:
    net = Net()
    x = net.conv(net.input("in"), "x")
    deep = net.conv(net.conv(x, "a"), "b")
    joined = net.node("Add", [deep, x], "j")
    net.node("Add", [joined, net.conv(x, "s")], "y")
    view = net.view("y")
    # j is 1 node from x by its second operand, 3 by its first.
    assert branch_lengths(view, "j", "s") == (1, 1)
    assert branch_lengths(view, "b", "a") == (1, 0)
    net = Net()
    net.node("Add", [net.conv(net.input("a"), "c"), net.conv(net.input("b"), "d")], "y")
    assert branch_lengths(net.view("y"), "c", "d") is None


# ---- slots


def test_slots_by_role() -> None:
    view, _ = conv()
    node = view.node("n_c")
    assert (data_inputs(node), weight_input(node), bias_input(node)) == (("x",), "w", "b")
    net = Net()
    net.node("Concat", [net.input("a"), net.input("b"), net.input("c")], "k", axis=1)
    net.node("Mul", ["k", net.weight("s", 1)], "m")
    net.node("Erf", ["m"], "e")
    net.conv("a", "d", bias=False)
    view = net.view("e", "d")
    assert data_inputs(view.node("n_k")) == ("a", "b", "c")
    assert data_inputs(view.node("n_m")) == ("k", "s")
    assert data_inputs(view.node("n_e")) == ()
    assert (weight_input(view.node("n_k")), weight_input(view.node("n_e"))) == (None, None)
    assert (weight_input(view.node("n_d")), bias_input(view.node("n_d"))) == ("w_d", None)


@pytest.mark.parametrize("swapped", [False, True])
def test_the_other_operand_comes_from_outside_the_chain(swapped: bool) -> None:
    view = residual(1, 0, swapped)
    (match,) = (f for f in find(view, [OpRule(("Conv", "Add"))]) if isinstance(f, Match))
    assert other_operand(match, 1) == "x"


def test_what_the_graph_proves_never_negative() -> None:
    net = Net()
    x = net.input("x")
    net.constant("zero", 0.0)
    net.constant("minus", -1.0)
    net.constant("six", 6.0)
    r = net.node("Relu", [x], "r")
    c = net.node("Clip", [x, "zero", "six"], "c")
    net.node("Clip", [x, "minus", "six"], "k")
    net.node("Add", [r, c], "sum")
    net.node("Add", [r, "six"], "more")
    net.node("Add", [r, "minus"], "less")
    net.node("Add", [r, x], "any")
    net.node("MaxPool", ["sum"], "pool", kernel_shape=[1, 1])
    net.node("Concat", ["pool", r], "cat", axis=1)
    net.node("Pad", [r, net.constant("pads", [0] * 8, np.int64)], "pad")
    everything = ["x", "r", "c", "k", "sum", "more", "less", "any", "pool", "cat", "pad"]
    view = net.view(*everything[1:])
    proven = {t for t in everything if is_never_negative(view, t)}
    assert proven == {"r", "c", "sum", "more", "pool", "cat"}


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, (False, False)),
        ({"pads": [0, 0, 0, 0]}, (False, False)),
        ({"pads": [0, 0, 1, 1]}, (True, False)),
        ({"auto_pad": "NOTSET", "pads": [0, 1]}, (True, False)),
        ({"auto_pad": "VALID", "pads": [1, 1]}, (False, False)),
        ({"auto_pad": "SAME_UPPER"}, (True, True)),
        ({"auto_pad": "SAME_LOWER"}, (True, True)),
    ],
)
def test_padding_as_onnx_defines_it(
    attributes: dict[str, object], expected: tuple[bool, bool]
) -> None:
    assert (is_padded(attributes), pads_by_size(attributes)) == expected
