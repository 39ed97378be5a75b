"""Bias correction: the mean error of every layer's output is zero on the data it learned from."""

from dataclasses import replace

import numpy as np
import pytest

import oq
from oq.emission.emit import emit
from oq.model.graph import Graph
from oq.model.session import Session, Settings, expose
from oq.numerics.grid import Grid, fake_quantize
from oq.numerics.values import Array
from oq.planning.layers import find_layers
from oq.refine.bias import coarse_grid, correct_bias, round_bias
from oq.refine.channel_statistics import float_means
from oq.refine.layerwise import Walk
from oq.refine.subject import Subject
from tests.graphs import CHANNELS, Net
from tests.refine.nets import NETS, separable, subject


def means(model_of: str, found: Subject, tensors: list[str], axis: dict[str, int]) -> list[Array]:
    """Per-channel means of ``tensors`` over all samples, of the float or the corrected model.

    The corrected model has its weights rounded and its biases in float, so what is left is not
    the rounding of the bias.
    """
    model = found.model
    if model_of == "corrected":
        graph = Graph(found.model)
        for name, values in found.constants.items():
            graph.set_constant(name, values)
        plan = replace(found.plan, sites=tuple(s for s in found.plan.sites if s.role != "bias"))
        emit(graph, plan, found.solution)
        model = graph.to_model()
    made = {n.name: n.output[0] for n in model.graph.node}
    names = [made[t] for t in tensors]
    session = Session(expose(model, names), Settings(reading="literal"))
    runs = [session.run(feeds, names) for feeds in found.samples]
    result = []
    for i, t in enumerate(tensors):
        values = np.concatenate([r[i] for r in runs]).astype(np.float64)
        result.append(np.moveaxis(values, axis[t], 0).reshape(values.shape[axis[t]], -1).mean(1))
    return result


@pytest.mark.parametrize("target", ["ort", "trt"])
@pytest.mark.parametrize("name", NETS)
def test_the_mean_error_of_every_corrected_layer_is_zero(name: str, target: str) -> None:
    before = subject(NETS[name](), target)
    change = correct_bias(before)
    after = before.put(change.constants)
    layers = [x for x in find_layers(before.view, before.plan) if x.bias is not None]
    assert len(layers) == len(change.constants) >= 2
    axis, last = {x.last: x.axis for x in layers}, [x.last for x in layers]
    exact = means("float", after, last, axis)
    plain = means("corrected", before, last, axis)
    corrected = means("corrected", after, last, axis)
    for x, wrong, right in zip(exact, plain, corrected, strict=True):
        assert np.abs(x - wrong).max() > 1e-4  # there was something to correct
        np.testing.assert_allclose(right, x, atol=2e-5 * max(1.0, float(np.abs(x).max())))


def test_layers_without_a_bias_of_their_own_are_named() -> None:
    found = subject(NETS["residual"]())
    change = correct_bias(found)
    assert "'n_c': it has no bias" in change.note
    assert set(change.constants) == {"b_a", "b_b", "b_y"}


def test_a_bias_that_two_layers_share_is_left_alone() -> None:
    model = separable()
    gemm = next(n for n in model.graph.node if n.name == "n_b")
    gemm.input[2] = "b_a"
    change = correct_bias(subject(model))
    assert "'n_a': it shares its bias with another layer" in change.note
    assert "b_a" not in change.constants


def test_correction_changes_nothing_but_float32_biases_of_the_same_shape() -> None:
    found = subject(NETS["separable"]())
    for name, values in correct_bias(found).constants.items():
        assert values.dtype == np.float32
        assert values.shape == found.view.constants[name].shape


def test_a_bias_that_outgrows_its_grid_gets_a_wider_one() -> None:
    """The DPU's int8 bias: a weight rounded to nothing leaves its mean to the bias."""
    found = subject(NETS["separable"](), "dpu")
    layer = next(x for x in find_layers(found.view, found.plan) if x.bias is not None)
    grid = coarse_grid(found, layer)
    assert grid is not None
    wanted, rounded = float_means(found)[layer.node], Walk(found.model, found.samples)
    far = found.constant(str(layer.bias)) - 300 * grid.scale
    settled = round_bias(layer, wanted, rounded, far.astype(np.float32), grid, layer.last)
    np.testing.assert_allclose(
        settled.values, found.constant(str(layer.bias)), atol=float(grid.scale)
    )
    assert settled.grid is grid  # corrected, it fits again
    narrow = Grid(grid.qtype, grid.scale / 64, grid.zero_point, grid.axis)
    rounded = Walk(found.model, found.samples)
    settled = round_bias(
        layer, wanted, rounded, found.constant(str(layer.bias)), narrow, layer.last
    )
    wider = settled.grid
    assert settled.site == layer.bias_site
    assert wider.scale > narrow.scale
    np.testing.assert_array_equal(fake_quantize(settled.values, wider), settled.values)
    assert np.abs(settled.left).max() <= wider.scale


@pytest.mark.parametrize("seed", [4, 8, 9, 10])
def test_a_wider_bias_keeps_to_what_the_dpu_can_shift(seed: int) -> None:
    """Weights so small that the bias is shifted by all 15 bits, and a bias at the end of its grid:
    corrected upwards it takes a coarser grid, and the weights must follow."""
    net, random = Net(), np.random.default_rng(seed)
    net.conv(net.conv(net.input("x"), "a"), "y")
    shape = net.constants["w_a"].shape
    net.constants["w_a"] = (random.normal(size=shape) * 1e-4).astype(np.float32)
    net.constants["b_a"] = np.full(CHANNELS, 127 / 64, np.float32)
    data = random.normal(0.5, 1, (24, CHANNELS, 8, 8)).astype(np.float32)
    result = oq.quantize(net.model("y"), "dpu", data, refine="bias")
    assert result.report.refinement[0].kept
    assert oq.check(result.model, "dpu") == ()
