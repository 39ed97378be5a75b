"""Whatever an answer's largest values are, its grid holds them, and nothing else is touched."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

import oq
from oq.model.graph import Graph
from oq.model.session import run
from oq.planning import registry
from oq.planning.outputs import find_logits, never_clip_logits, ops_behind_logits
from oq.planning.overrides import Choice, make_overrides
from oq.planning.setup import plan_model
from oq.planning.spec import Own
from tests.graphs import Net
from tests.small import normal, small

QUANTIZING = ("ort", "dpu")
"""Targets that quantize outputs."""


def classifier(*, softmax: bool = True, reshape: bool = True) -> Net:
    net = Net()
    net.node("Relu", [net.conv(net.input("x", ("n", 4, 8, 8)), "c")], "r")
    net.node("GlobalAveragePool", ["r"], "p")
    last = net.conv("p", "s")
    if reshape:
        last = net.node("Flatten", [last], "f")
    if softmax:
        net.node("Softmax", [last], "y")
    return net


def whole(net: Net, output: str, target: str, **overrides: object) -> set[str]:
    """The tensors whose grids are whole."""
    chosen = make_overrides(**overrides)  # type: ignore[arg-type]
    planned = plan_model(net.model(output), registry.target(target), chosen)
    return {s.tensor for s in planned.plan.sites if isinstance(s.spec, Own) and s.spec.whole}


def test_scores_are_found_in_front_of_the_softmax() -> None:
    net = Net()
    net.node("Softmax", [net.gemm(net.input("x", ("n", 4)), "g")], "y")
    assert find_logits(net.view("y", "g")) == ("g",)
    assert find_logits(net.view("y")) == ("g",)


def test_scores_are_found_in_front_of_what_chooses_from_them() -> None:
    text = """net (float[n,4] x) => (uint8[n] y, int64[n,2] top, int64[2] size) {
        g = MatMul(x, w) p = Softmax(g)
        i = ArgMax<axis = 1>(p) f = Cast<to = 2>(i) y = Reshape(f, flat)
        v, top = TopK(g, two)
        size = Shape(g)
    }"""
    constants = {"w": normal(4, 6), "flat": np.array([-1]), "two": np.array([2])}
    view = Graph(onnx.shape_inference.infer_shapes(small(text, constants))).view()
    assert find_logits(view) == ("g",)
    assert ops_behind_logits(view) == ("Softmax", "TopK")
    assert find_logits(replace(view, outputs=("size",))) == ()


@pytest.mark.parametrize("target", QUANTIZING)
def test_an_answer_is_followed_back_to_the_grid_it_is_moved_from(target: str) -> None:
    assert whole(classifier(), "y", target) == {"s"}
    assert whole(classifier(softmax=False), "f", target) == {"s"}
    assert whole(classifier(softmax=False, reshape=False), "s", target) == {"s"}


def test_what_a_concat_joins_into_an_answer_is_whole() -> None:
    net = Net()
    net.input("x", ("n", 4, 8, 8))
    net.node("Concat", [net.conv("x", "a"), net.conv("x", "b")], "y", axis=1)
    assert whole(net, "y", "ort") == {"a", "b", "y"}


def test_a_calibrator_that_is_named_binds_all_tensors() -> None:
    assert whole(classifier(), "y", "dpu", calibrator="mse") == set()
    view = classifier().view("y")
    plan = oq.make_plan(classifier().model("y"), "dpu", mode="naive")
    assert never_clip_logits(plan, view).skips == plan.skips


def test_the_largest_score_survives_on_a_target_that_clips() -> None:
    """The step for one value in 50,000 costs more than it is worth, by squared error."""
    net = Net()
    net.conv(net.input("x"), "s")
    x = np.random.default_rng(0).normal(size=(2000, 4, 8, 8)).astype(np.float32)
    x[0, :, 4, 4] = 15 * np.sign(net.constants["w_s"][0, :, 1, 1])
    exact = run(net.model("s"), {"x": x})["s"].max()

    def reached(*choices: Choice) -> float:
        found = oq.quantize(
            *(net.model("s"), "dpu", {"x": x}),
            verify=False,
            refine="none",
            calibrator_for=(("x", "minmax"), *choices),
        )
        return float(run(found.model, {"x": x})["s"].max())

    assert reached() > 0.95 * exact
    assert reached(("s", "mse")) < 0.6 * exact
