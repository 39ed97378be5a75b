"""Float-to-float steps leave the float function as it is, and make channels equal."""

import numpy as np
import onnx
import pytest

from oq.model.session import Session, Settings
from oq.numerics.values import Array
from oq.refine.absorb import absorb
from oq.refine.channel_statistics import channel_extremes
from oq.refine.equalize import equalize
from oq.refine.layer_pairs import find_layer_pairs, input_reach, input_sums, scale_second
from oq.refine.subject import Change, Subject
from tests.graphs import CHANNELS, Net
from tests.refine.nets import NETS, batches, subject


def run(model: onnx.ModelProto, samples: tuple[dict[str, Array], ...]) -> Array:
    session = Session(model, Settings(reading="literal"))
    return np.concatenate([session.run(s, ["y"])[0] for s in samples])


def far(found: Array, wanted: Array) -> float:
    """The largest difference relative to the largest value."""
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def relu_chain() -> onnx.ModelProto:
    """Relu, LeakyRelu, pools and Flatten between layers of every layout, channels uneven."""
    net = Net()
    spread = np.asarray([8, 1, 0.5, 0.2], np.float32)
    net.node("Relu", [net.conv(net.input("x"), "a")], "ra")
    net.node("MaxPool", ["ra"], "m", kernel_shape=[2, 2], strides=[2, 2])
    net.conv("m", "b", group=CHANNELS)
    net.conv(net.node("LeakyRelu", ["b"], "lb"), "c", group=2)
    net.node("AveragePool", [net.node("Relu", ["c"], "rc")], "p", kernel_shape=[2, 2])
    net.gemm(net.node("Flatten", ["p"], "f"), "g", features=36)
    net.constants["w_h"] = net.random.normal(0, 0.3, (3, 5)).astype(np.float32)
    net.node("Relu", ["g"], "rg")
    net.node("Gemm", ["rg", "w_h", net.weight("b_h", 5)], "y")
    for name in ("w_a", "w_b", "w_c"):
        net.constants[name] *= spread.reshape(-1, 1, 1, 1)
    return net.model("y")


@pytest.mark.parametrize("target", ["ort", "trt"])
def test_relu_chains_keep_the_function_on_any_data(target: str) -> None:
    before = subject(relu_chain(), target)
    chains = list(find_layer_pairs(before.view, before.plan))
    assert [c.second.node for c in chains] == ["n_b", "n_c", "n_g", "n_y"]
    after = before.remade(equalize(before))
    unseen = batches(4, shift=-1, seed=99)
    assert far(run(after.model, unseen), run(before.model, unseen)) < 1e-5


@pytest.mark.parametrize("step", [equalize, absorb])
@pytest.mark.parametrize("name", NETS)
def test_the_function_stays_on_the_calibration_data(name: str, step: object) -> None:
    before = subject(NETS[name]())
    assert callable(step)
    after = before.remade(step(before))
    assert far(run(after.model, batches()), run(before.model, batches())) < 1e-5


def test_channels_before_a_depthwise_layer_get_one_size() -> None:
    before = subject(relu_chain())
    after = before.remade(equalize(before))
    sizes = [channel_extremes(s.model, {"ra": 1, "lb": 1}, s.samples) for s in (before, after)]
    plain, equal = (s["ra"][1] for s in sizes)
    assert plain.max() / plain.min() > 20
    np.testing.assert_allclose(equal, plain.max(), rtol=1e-5)
    # the layer behind is not depthwise: it takes its half of the spread
    uneven, halved = (np.maximum(-s["lb"][0], s["lb"][1]) for s in sizes)
    assert uneven.max() / uneven.min() > 1.5
    np.testing.assert_allclose(halved.max() / halved, np.sqrt(uneven.max() / uneven), rtol=1e-4)


def test_nothing_passes_the_bound_of_a_clip() -> None:
    net = Net()
    net.node("Clip", [net.conv(net.input("x"), "a"), net.constant("lo", 0.0),
                      net.constant("hi", 2.0)], "c")  # fmt: skip
    net.constants["w_a"] *= np.asarray([4, 1, 0.2, 0.05], np.float32).reshape(-1, 1, 1, 1)
    net.conv("c", "y", group=CHANNELS)
    before = subject(net.model("y"))
    change = equalize(before)
    by = change.constants["b_a"] / before.constant("b_a")
    _, hi = channel_extremes(before.model, {"c": 1}, before.samples)["c"]
    assert hi[0] == 2.0 and by[0] == 1.0  # cut already: must not grow
    assert (by >= 1).all() and (by > 2).any()
    assert (hi * by <= 2.0 + 1e-5).all()


def test_absorption_moves_the_least_value() -> None:
    net = Net()
    net.node("Relu", [net.conv(net.input("x"), "a")], "r")
    net.constants["b_a"] = np.asarray([20, 0, 30, -1], np.float32)
    net.node("Conv", ["r", net.weight("w_y", 3, CHANNELS, 1, 1), net.weight("b_y", 3)], "y")
    before = subject(net.model("y"))
    after = before.remade(absorb(before))
    lo, _ = channel_extremes(before.model, {"r": 1}, before.samples)["r"]
    np.testing.assert_allclose(
        before.constant("b_a") - after.constant("b_a"), np.maximum(lo, 0), rtol=1e-5
    )
    assert lo[0] > 10 and lo[1] == 0
    assert far(run(after.model, batches()), run(before.model, batches())) < 1e-5


def test_absorption_leaves_padded_layers_alone() -> None:
    """A padded zero stays zero, so a channel in front of padding must not move."""
    net = Net()
    net.conv(net.node("Relu", [net.conv(net.input("x"), "a")], "r"), "y")
    net.constants["b_a"] += 20
    assert absorb(subject(net.model("y"))).constants == {}


def test_tensors_with_two_readers_are_no_chain() -> None:
    found = subject(NETS["residual"]())
    assert [c.first.node for c in find_layer_pairs(found.view, found.plan)] == ["n_b"]


def test_layers_without_a_bias_are_scaled_too() -> None:
    """They have nothing to scale but their weights; a bias that cannot be scaled forbids it."""
    model = relu_chain()
    nodes = {n.name: n for n in model.graph.node}
    del nodes["n_b"].input[2]
    nodes["n_c"].input[2] = "b_a"
    before = subject(model)
    found = [c.first.node for c in find_layer_pairs(before.view, before.plan)]
    assert found == ["n_b", "n_g"]  # n_a and n_c share a bias
    after = before.remade(equalize(before))
    assert np.abs(after.constant("w_b") / before.constant("w_b") - 1).max() > 0.5
    unseen = batches(4, shift=-1, seed=99)
    assert far(run(after.model, unseen), run(before.model, unseen)) < 1e-5
    assert absorb(before).constants == {}  # nothing to take a least value from, or to give it to


def test_input_channels_of_grouped_weights() -> None:
    """Against loops over the definition of a grouped convolution."""
    found: Subject = subject(relu_chain())
    chain = next(c for c in find_layer_pairs(found.view, found.plan) if c.second.node == "n_c")
    weight = found.constant("w_c")  # (4, 2, 3, 3), two groups
    by = np.asarray([2.0, 3.0, 5.0, 7.0])
    wanted, sums, reach = weight.astype(np.float64).copy(), np.zeros(4), np.zeros(4)
    for out in range(4):
        for j in range(2):
            channel = (out // 2) * 2 + j
            wanted[out, j] *= by[channel]
            sums[out] += weight[out, j].astype(np.float64).sum() * by[channel]
            reach[channel] = max(reach[channel], float(np.abs(weight[out, j]).max()))
    np.testing.assert_allclose(scale_second(chain, weight, by), wanted, rtol=1e-6)
    np.testing.assert_allclose(input_sums(chain, weight, by), sums, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(input_reach(chain, weight, 4), reach)


def test_per_tensor_weights_are_made_equal() -> None:
    """Nagel et al., equation 11: the ranges in front and behind become the same."""
    from dataclasses import replace

    from oq.planning.spec import Own

    found = subject(relu_chain())
    sites = tuple(
        replace(s, spec=replace(s.spec, axis=None))
        if isinstance(s.spec, Own) and s.role == "weight" else s
        for s in found.plan.sites
    )  # fmt: skip
    found = replace(found, plan=replace(found.plan, sites=sites))
    change: Change = equalize(found)
    chain = next(c for c in find_layer_pairs(found.view, found.plan) if c.second.node == "n_y")
    front = np.abs(change.constants["w_g"]).max(axis=1)
    behind = input_reach(chain, change.constants["w_h"], 3)
    np.testing.assert_allclose(front, behind, rtol=1e-5)


def test_channels_and_columns_are_told_apart() -> None:
    """A MatMul of an image multiplies its columns; its products have channels in another place."""
    net = Net()
    net.node("Relu", [net.conv(net.input("x"), "a")], "ra")
    net.constants["w_a"] *= np.asarray([4, 1, 0.2, 0.05], np.float32).reshape(-1, 1, 1, 1)
    net.node("MatMul", ["ra", net.weight("w_m", 8, CHANNELS)], "m")
    net.constants["w_m"] *= np.asarray([4, 1, 0.2, 0.05], np.float32)
    net.conv(net.node("Relu", ["m"], "rm"), "c")
    net.node("MatMul", [net.node("Relu", ["c"], "rc"), net.weight("w_o", CHANNELS, 8)], "o")
    net.node("MatMul", [net.node("Relu", ["o"], "ro"), net.weight("w_y", 8, 3)], "y")
    before = subject(net.model("y"), "trt")
    found = [(c.first.node, c.second.node) for c in find_layer_pairs(before.view, before.plan)]
    assert found == [("n_o", "n_y")]
    after = before.remade(equalize(before))
    assert far(run(after.model, batches(seed=5)), run(before.model, batches(seed=5))) < 1e-5
