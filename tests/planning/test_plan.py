"""Golden plans, and what holds for every plan: reasons, overrides, law 6."""

import itertools
import re
from collections import Counter
from collections.abc import Mapping

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oq.errors import OptionError
from oq.model.graph import Graph
from oq.model.view import GraphView
from oq.planning import registry
from oq.planning.plan import plan
from oq.planning.spec import Plan
from oq.prepare.order import prepare
from tests import golden_images, golden_layers
from tests.golden import EXAMPLES, Golden, activations, floats, kernels, sites, spell
from tests.golden_images import block
from tests.graphs import Net

assert golden_images and golden_layers  # they fill EXAMPLES


@pytest.mark.parametrize("target", ["ort", "trt"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_golden(name: str, target: str) -> None:
    shown = EXAMPLES[name]
    expected: Golden = getattr(shown, target)
    found = plan(Graph(shown.build()).view(), registry.target(target))
    assert sites(found) == dict(expected.sites)
    assert kernels(found) == expected.kernels
    assert floats(found) == dict(expected.floats)


@pytest.mark.parametrize("target", ["ort", "trt"])
def test_every_float_node_has_its_reason_and_every_other_its_kernel(target: str) -> None:
    for shown in EXAMPLES.values():
        view = Graph(shown.build()).view()
        found = plan(view, registry.target(target))
        owners = Counter(
            [*(n for g in found.groups for n in g.nodes), *(s.node for s in found.skips)]
        )
        assert owners == Counter(n.name for n in view.nodes)


# ---- BatchNorm


def conv_bn_relu() -> onnx.ModelProto:
    net = Net()
    c = net.conv(net.input("x"), "c")
    numbers = [net.constant(k, np.ones(4)) for k in ("gamma", "beta", "mean", "variance")]
    b = net.node("BatchNormalization", [c, *numbers], "b")
    return net.model(net.node("Relu", [b], "r"))


@pytest.mark.parametrize(("target", "output"), [("ort", {"r > *": "uint8"}), ("trt", {})])
def test_a_folded_batchnorm_leaves_one_kernel(target: str, output: dict[str, str]) -> None:
    found = plan(prepare(conv_bn_relu(), 13).graph.view(), registry.target(target))
    assert activations(found) == {"x > c": "uint8" if output else "int8"} | output
    assert kernels(found) == {"c r"}
    assert found.skips == ()


def test_a_batchnorm_that_stays_is_part_of_the_kernel_on_trt() -> None:
    found = plan(Graph(conv_bn_relu()).view(), registry.target("trt"))
    assert kernels(found) == {"c b r"}
    assert sites(found) == {"x > c": "int8", "w_c > c": "int8/0"}


# ---- keep_float


def keep(target: str, *patterns: str) -> Plan:
    net = Net()
    model = net.model(block(net, downsample=False))
    return plan(Graph(model).view(), registry.target(target), patterns)


def test_a_kept_layer_leaves_its_inputs_alone() -> None:
    found = keep("trt", "n_d")
    assert floats(found) == {
        "d": "kept in float by --keep-float 'n_d'",
        "e": "its layer 'n_d' stays in float",
    }
    assert activations(found) == {"x > c": "int8", "r > a": "int8", "e > f": "int8"}


def test_a_kept_activation_ends_the_kernel_before_it() -> None:
    found = keep("ort", "n_[e]")
    assert floats(found) == {"e": "kept in float by --keep-float 'n_[e]'"}
    assert "d" in kernels(found)
    refusal = next(r for r in found.refusals if r.rule == "Conv+Relu")
    assert (refusal.node, refusal.reason) == (
        "n_d",
        "'n_e' is kept in float by --keep-float 'n_[e]'",
    )


def test_the_first_glob_that_hits_is_named_and_all_may_hit() -> None:
    found = keep("ort", "n_c", "*")
    assert found.sites == () and found.groups == ()
    reasons = floats(found)
    assert reasons.pop("c") == "kept in float by --keep-float 'n_c'"
    assert set(reasons.values()) == {"kept in float by --keep-float '*'"}


def test_a_glob_that_matches_nothing_is_an_error() -> None:
    message = "--keep-float 'head' matches no node; node names look like 'n_c', 'n_r', 'n_d'"
    with pytest.raises(OptionError, match=re.escape(message)):
        keep("ort", "n_c", "head")
    # Globs, not prefixes, and case matters.
    for pattern in ("n", "N_C"):
        with pytest.raises(OptionError, match="matches no node"):
            keep("ort", pattern)


# ---- law 6: neither node order nor names matter


def reordered(model: onnx.ModelProto, priorities: list[int]) -> onnx.ModelProto:
    """The same nodes in another topological order."""
    made = {*(v.name for v in model.graph.input), *(t.name for t in model.graph.initializer), ""}
    waiting = sorted(zip(itertools.cycle(priorities), model.graph.node), key=lambda p: p[0])
    nodes: list[onnx.NodeProto] = []
    while waiting:
        planned = next(p for p in waiting if made.issuperset(p[1].input))
        waiting.remove(planned)
        nodes.append(planned[1])
        made.update(planned[1].output)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy


def renamed(model: onnx.ModelProto, numbers: list[int]) -> tuple[onnx.ModelProto, dict[str, str]]:
    """Other names for all tensors and nodes, and the way back."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    tensors = dict.fromkeys(
        [*(v.name for v in graph.input), *(t.name for t in graph.initializer)]
        + [t for n in graph.node for t in n.output]
    )
    order = itertools.cycle(numbers)
    new = {t: f"t{next(order)}x{i}_" for i, t in enumerate(tensors)}
    nodes = {n.name: f"m{next(order)}x{i}_" for i, n in enumerate(graph.node)}
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = new[value.name]
    for node in graph.node:
        node.name = nodes[node.name]
        node.input[:] = [new.get(t, t) for t in node.input]
        node.output[:] = [new[t] for t in node.output]
    return copy, {v: k for k, v in (new | nodes).items()}


def canonical(found: Plan, names: Mapping[str, str] | None = None) -> set[tuple[str, ...]]:
    """A plan without the order of its parts, its names put back."""

    def back(text: str) -> str:
        return re.sub(r"[tm]\d+x\d+_", lambda m: (names or {})[m[0]], text)

    def words(text: str) -> str:
        return " ".join(sorted(back(text).replace(",", "").split()))

    def readers(nodes: tuple[str, ...]) -> str:
        return " ".join(sorted(map(back, nodes)))

    return {
        *(("site", back(s.tensor), back(spell(s.spec)), s.role, s.rule, readers(s.consumers))
          for s in found.sites),
        *(("group", *map(back, g.nodes), *g.ops, g.rule) for g in found.groups),
        *(("skip", back(s.node), s.op, words(s.reason)) for s in found.skips),
        *(("refusal", back(r.node), r.rule, words(r.reason)) for r in found.refusals),
    }  # fmt: skip


def two_inputs() -> onnx.ModelProto:
    """A residual sum of branches that have nothing in common."""
    net = Net()
    return net.model(
        net.node("Add", [net.conv(net.input("x"), "c"), net.conv(net.input("z"), "d")], "a")
    )


def two_activations() -> onnx.ModelProto:
    """Which of them the convolution cannot be fused with must not depend on their order."""
    net = Net()
    c = net.conv(net.input("x"), "c")
    return net.model(net.node("Relu", [c], "r"), net.node("Relu", [c], "s"))


GRAPHS = {n: e.build() for n, e in EXAMPLES.items()} | {
    "two_inputs": two_inputs(),
    "two_activations": two_activations(),
}
NUMBERS = st.lists(st.integers(0, 99), min_size=1, max_size=20)


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(sorted(GRAPHS)),
    target=st.sampled_from(registry.names("targets")),
    priorities=NUMBERS,
    numbers=NUMBERS,
)
def test_the_plan_depends_on_neither_node_order_nor_names(
    name: str, target: str, priorities: list[int], numbers: list[int]
) -> None:
    profile = registry.target(target)
    expected = canonical(plan(Graph(GRAPHS[name]).view(), profile))
    other, back = renamed(reordered(GRAPHS[name], priorities), numbers)
    assert canonical(plan(Graph(other).view(), profile), back) == expected


def test_planning_changes_nothing() -> None:
    graph = Graph(GRAPHS["residual"])
    before = graph.to_model().SerializeToString(deterministic=True)
    view: GraphView = graph.view()
    assert plan(view, registry.target("ort")) == plan(view, registry.target("ort"))
    assert graph.to_model().SerializeToString(deterministic=True) == before


def test_an_activation_behind_a_layer_that_cannot_be_quantized_stays_in_its_kernel() -> None:
    net = Net()
    weight = net.node("Abs", [net.input("k", (4, 4, 3, 3))], "w")
    net.node("Conv", [net.input("x", ("n", 4, 8, 8)), weight], "c", pads=[1, 1, 1, 1])
    net.conv(net.node("Relu", ["c"], "r"), "y")
    found = plan(Graph(net.model("y")).view(), registry.target("dpu"))
    assert floats(found)["r"] == "its layer 'n_c' stays in float"
    assert "r > y" in activations(found) and "c" not in activations(found)
