"""Rounding with feedback: on the grid, and nearer in what the layer computes."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import pytest

from oq.model.session import Session, Settings, expose
from oq.numerics.grid import fake_quantize, fit, spread
from oq.numerics.values import UINT4, Array
from oq.numerics.weights import weight_range
from oq.planning.layers import find_layers
from oq.refine.gptq import DAMPING, Steps, compensate, feedback, round_with_feedback
from oq.refine.layer_inputs import center, draw_windows, finite, rows_of, weight_of, why_not
from tests.refine.nets import NETS, subject
from tests.refine.test_equalize import relu_chain


@pytest.mark.parametrize("target", ["ort", "trt"])
def test_the_weights_lie_on_their_grids(target: str) -> None:
    found = subject(relu_chain(), target)
    change = round_with_feedback(found)
    layers = list(find_layers(found.view, found.plan))
    assert {x.weight for x in layers} <= set(change.constants)
    for layer in layers:
        grid, weight = found.solution.grids[layer.site], change.constants[layer.weight]
        np.testing.assert_allclose(fake_quantize(weight, grid), weight, rtol=1e-6)
        nearest = fake_quantize(found.constant(layer.weight), grid)
        assert weight.shape == nearest.shape and weight.dtype == np.float32


def test_the_output_error_is_less_than_that_of_nearest() -> None:
    """``E ||x d||^2`` on correlated inputs, for many draws; white inputs change nothing."""
    random = np.random.default_rng(5)
    inputs = random.normal(size=(500, 6)) @ random.normal(size=(6, 12))
    rows, steps = random.normal(size=(1, 8, 12)), Steps(np.asarray(0.3), np.asarray(0), -127, 127)
    nearest = np.rint(rows / 0.3) * 0.3
    found = feedback(rows, (inputs.T @ inputs / 500)[None], steps)

    def error(w: Array) -> float:
        return float(((inputs @ (w - rows)[0].T) ** 2).mean())

    assert error(found) < 0.3 * error(nearest)
    np.testing.assert_allclose(np.rint(found / 0.3) * 0.3, found)
    np.testing.assert_array_equal(feedback(rows, np.eye(12)[None], steps), nearest)


def test_the_codes_are_those_of_gptq() -> None:
    """Equations 2 and 3 of the paper as they stand: each error changes the weights behind it by a
    row of the inverse of H, from which the row and column of the weight are then taken out."""
    random = np.random.default_rng(8)
    inputs = random.normal(size=(400, 40)) @ random.normal(size=(40, 40))
    rows, moments = random.normal(size=(3, 40)), inputs.T @ inputs / 400
    steps = Steps(random.uniform(0.1, 0.3, (1, 3, 1)), np.asarray(0), -3, 3)
    left, codes, todo = rows.copy(), np.zeros_like(rows), list(np.argsort(-np.diag(moments)))
    damped = moments + 0.01 * np.diag(moments).mean() * np.eye(40)
    while todo:
        inverse = np.linalg.inv(damped[np.ix_(todo, todo)])
        j, scale = todo[0], steps.scale[0, :, 0]
        codes[:, j] = np.clip(np.rint(left[:, j] / scale), -3, 3) * scale
        left[:, todo] -= ((left[:, j] - codes[:, j]) / inverse[0, 0])[:, None] * inverse[0]
        todo.pop(0)
    np.testing.assert_allclose(feedback(rows[None], moments[None], steps)[0], codes, rtol=1e-12)


def test_codes_stay_in_range() -> None:
    rows = np.asarray([[[10.0, -10.0, 0.2]]])
    steps = Steps(np.asarray(0.05), np.asarray(0), -127, 127)
    found = feedback(rows, np.ones((1, 3, 3)) + np.eye(3), steps)
    assert np.abs(found).max() <= 127 * 0.05 + 1e-12


def test_every_weight_has_the_grid_of_its_block() -> None:
    """4-bit codes with zero points, a scale per 5 inputs and channel: white inputs round to the
    nearest, as the grid does, and correlated ones stay on the grid and err less."""
    random = np.random.default_rng(3)
    weight = random.normal(size=(12, 8)).astype(np.float32)
    grid = fit(weight_range(weight, UINT4, 0, block=5), UINT4, 0, 5)
    scale, zero = spread(grid, weight.shape)
    steps, rows = Steps(scale.T[None], zero.T[None], 0, 15), weight.T[None].astype(np.float64)
    nearest = fake_quantize(weight, grid)
    np.testing.assert_allclose(feedback(rows, np.eye(12)[None], steps)[0].T, nearest, rtol=1e-6)
    inputs = random.normal(size=(500, 6)) @ random.normal(size=(6, 12))
    found = feedback(rows, (inputs.T @ inputs / 500)[None], steps)[0].T
    np.testing.assert_allclose(fake_quantize(found, grid), found, rtol=1e-6)
    errors = [((inputs @ (w - weight)) ** 2).mean() for w in (found, nearest)]
    assert errors[0] < 0.5 * errors[1]


@pytest.mark.parametrize("name", [*NETS, "relu_chain"])
def test_windows_times_rows_are_the_layer(name: str) -> None:
    """Every layout, against onnxruntime's own convolution: windows @ weights + bias."""
    found = subject(relu_chain() if name == "relu_chain" else NETS[name]())
    for layer in find_layers(found.view, found.plan):
        weight = found.constant(layer.weight)
        assert why_not(layer, weight) is None
        rows = rows_of(layer, weight)
        np.testing.assert_array_equal(weight_of(layer, rows, weight), weight)
        tensor = found.view.node(layer.node).inputs[0]
        outputs = found.view.node(layer.node).outputs[0]
        names = [t for t in (tensor, outputs) if t != "x"]
        session = Session(expose(found.model, names), Settings(reading="literal"))
        feeds = found.samples[0]
        values = dict(zip(names, session.run(feeds, names), strict=True)) | dict(feeds)
        windows = draw_windows(layer, (values[tensor],), weight)
        product = np.einsum("gri,goi->rgo", windows, rows.astype(np.float64))
        product = product.reshape(len(product), -1)
        wanted = np.moveaxis(values[outputs], layer.axis, -1).reshape(-1, product.shape[1])
        if layer.bias is not None and layer.last == layer.node:
            wanted = wanted - found.constant(layer.bias)
        np.testing.assert_allclose(product, wanted, atol=2e-5)


def test_windows_that_are_not_finite_are_left_out_of_both() -> None:
    one, other = (np.arange(12, dtype=np.float32).reshape(2, 3, 2) for _ in range(2))
    assert all(w is x for w, x in zip(finite(one, other), (one, other), strict=True))
    one[1, 0, 1], other[0, 2, 0] = np.inf, np.nan
    for found in finite(one, other):
        np.testing.assert_array_equal(found, np.asarray([[[2, 3]], [[8, 9]]]))


def test_centered_windows_have_no_means() -> None:
    windows = np.random.default_rng(2).normal(3, 1, (2, 500, 4)).astype(np.float32)
    before = windows.mean(axis=1, dtype=np.float64)
    np.testing.assert_allclose(center(windows), before, rtol=1e-5)
    np.testing.assert_allclose(windows.mean(axis=1), 0, atol=1e-5)


def test_windows_with_an_infinite_value_are_not_centered() -> None:
    windows = np.arange(12, dtype=np.float32).reshape(1, 4, 3)
    windows[0, 2, 1] = np.inf
    before = windows.copy()
    assert not np.isfinite(center(windows)).all()
    np.testing.assert_array_equal(windows, before)


def test_what_a_bias_leaves_is_made_up_at_the_least_error() -> None:
    """Least squares over the windows and a column of ones whose weight is fixed, by NumPy."""
    random = np.random.default_rng(8)
    x = random.normal(0.7, 1, (400, 5)) @ random.normal(size=(5, 5))
    missing = np.asarray([0.4, -0.2])
    moments, means = (x.T @ x / 400)[None], x.mean(axis=0)[None]
    found = compensate(moments, means, missing, (1, 2))
    ridge = np.sqrt(400 * DAMPING * np.trace(moments[0]) / 5) * np.eye(5)
    for row, left in zip(found[0], missing, strict=True):
        target = np.concatenate([np.full(400, left), np.zeros(5)])
        wanted, *_ = np.linalg.lstsq(np.concatenate([x, ridge]), target, rcond=None)
        np.testing.assert_allclose(row, wanted, rtol=1e-6)


def test_a_coarse_bias_costs_little_of_the_mean() -> None:
    """The DPU's int8 biases: means after feedback err less than after rounding to the nearest."""
    found = subject(relu_chain(), "dpu", count=6)
    change = round_with_feedback(found)
    errors = {}
    for name, constants in (("round", dict(change.constants)), ("nearest", {})):
        model = found.put(constants, change.grids if constants else None).quantized()
        wanted = outputs(found.model, found.samples)
        errors[name] = np.abs((outputs(model, found.samples) - wanted).mean(axis=0)).mean()
    assert errors["round"] < 0.5 * errors["nearest"]


def outputs(model: onnx.ModelProto, samples: Sequence[Mapping[str, Array]]) -> Array:
    session = Session(model, Settings(reading="literal"))
    return np.concatenate([session.run(s, ["y"])[0] for s in samples])
