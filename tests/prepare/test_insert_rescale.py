"""Uneven channels in front of a Clip get a depthwise convolution; the function stays exact."""

import numpy as np
import onnx
import pytest

from oq.model.graph import Graph
from oq.numerics.values import Array
from oq.prepare.insert_rescale import DEAD, insert_rescale, uneven
from tests.small import assert_same_outputs, normal, ops, small

SIZES = np.asarray([8, 1, 0.1, 0.02], np.float32).reshape(-1, 1, 1, 1)


def model_of(weight: Array, body: str | None = None, **more: Array) -> onnx.ModelProto:
    body = body or "t = Conv<pads = [1,1,1,1]>(x, w, b)\n y = Clip(t, lo, hi)"
    text = f"net (float[n,3,6,5] x) => (float[n,c,h,v] y) {{ {body} }}"
    bounds = {"lo": np.asarray(0, np.float32), "hi": np.asarray(6, np.float32)}
    return small(text, {"w": weight, "b": normal(len(weight)), **bounds, **more}, opset=18)


@pytest.mark.parametrize("bias", [True, False])
def test_the_outputs_stay(bias: bool) -> None:
    weight = normal(4, 3, 3, 3) * SIZES
    body = None if bias else "t = Conv<pads = [1,1,1,1]>(x, w)\n y = Clip(t, lo, hi)"
    before = model_of(weight, body)
    graph = Graph(before)
    assert insert_rescale(graph).changed == 1
    after = graph.to_model()
    assert ops(after) == ["Conv", "Conv", "Clip"]
    assert_same_outputs(before, after, rtol=1e-5, atol=1e-5)


def test_the_scales_are_odd_and_even_the_channels_out() -> None:
    sizes = np.asarray([8, 1, 0.3, 0.2], np.float32).reshape(-1, 1, 1, 1)
    graph = Graph(model_of(normal(4, 3, 3, 3) * sizes))
    insert_rescale(graph)
    view = graph.view()
    first, second = (n for n in view.nodes if n.op == "Conv")
    weight, scale = view.constants[first.inputs[1]], view.constants[second.inputs[1]]
    assert second.attributes["group"] == 4 and scale.shape == (4, 1, 1, 1)
    assert set(scale.reshape(-1) * 64) <= {63, 31, 15, 7, 3, 1}
    reach = np.abs(weight).max(axis=(1, 2, 3))
    assert (reach > reach.max() / 3.1).all()  # it was about 1/40 of it
    assert not view.constants[first.inputs[2]].any()


@pytest.mark.parametrize(
    ("weight", "why"),
    [
        (normal(4, 3, 3, 3), "even already"),
        (normal(8, 3, 3, 3) * np.asarray([1e-9, *[1] * 7]).reshape(-1, 1, 1, 1), "only dead ones"),
        (np.zeros((4, 3, 3, 3), np.float32), "nothing lives"),
    ],
)
def test_what_gains_nothing_stays(weight: Array, why: str) -> None:
    assert not uneven(weight), why
    graph = Graph(model_of(weight.astype(np.float32)))
    assert insert_rescale(graph).changed == 0


@pytest.mark.parametrize(
    "body",
    [
        "t = Conv(x, w, b)\n y = Relu(t)",  # equalization can trade there
        "t = Conv(x, w, b)\n u = Clip(t, lo, hi)\n y = Add(t, u)",  # the sum is read too
        "v = Abs(x)\n k = Abs(w)\n t = Conv(v, k, b)\n y = Clip(t, lo, hi)",  # no constant
    ],
)
def test_other_surroundings_stay(body: str) -> None:
    graph = Graph(model_of(normal(4, 3, 3, 3) * SIZES, body))
    assert insert_rescale(graph).changed == 0


def test_dead_channels_stay_dead() -> None:
    sizes = SIZES * np.asarray([1, 1, 1, DEAD], np.float32).reshape(-1, 1, 1, 1)
    weight = normal(4, 3, 3, 3) * sizes
    graph = Graph(model_of(weight))
    assert insert_rescale(graph).changed == 1
    view = graph.view()
    found = view.constants[next(n for n in view.nodes if n.op == "Conv").inputs[1]]
    np.testing.assert_allclose(found[3], weight[3], rtol=0.02)
