"""Learned rounding: on one of the two neighbouring codes, and no worse than the nearest."""

import sys

import numpy as np
import pytest

from oq.errors import MissingExtra
from oq.numerics.values import Array
from oq.planning.layers import find_layers
from oq.refine.adaround import adaround, learn_rounding
from oq.refine.gptaq import refit
from oq.refine.gptq import Steps, round_with_feedback
from oq.refine.layer_inputs import rows_of, weight_of
from tests.refine.nets import subject
from tests.refine.test_equalize import relu_chain

STEPS = Steps(np.asarray(0.3), np.asarray(0), -127, 127)


def problem(seed: int = 5) -> tuple[Array, Array]:
    """Weights (1, 8, 12), second moments of correlated inputs."""
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(500, 6)) @ random.normal(size=(6, 12))
    return random.normal(size=(1, 8, 12)), (inputs.T @ inputs / 500)[None]


def error(found: Array, rows: Array, moments: Array) -> float:
    return float(np.einsum("gof,gfk,gok->", found - rows, moments, found - rows))


def test_never_further_than_the_two_neighbours() -> None:
    pytest.importorskip("torch")
    rows, moments = problem()
    found = adaround(rows, moments, STEPS)
    codes = found / 0.3
    np.testing.assert_allclose(codes, np.rint(codes), atol=1e-9)
    assert (np.rint(codes) >= np.floor(rows / 0.3)).all()
    assert (np.rint(codes) <= np.ceil(rows / 0.3)).all()
    nearest = np.rint(rows / 0.3) * 0.3
    assert error(found, rows, moments) < 0.8 * error(nearest, rows, moments)
    np.testing.assert_array_equal(adaround(rows, moments, STEPS), found)


def test_codes_stay_in_range() -> None:
    pytest.importorskip("torch")
    rows, moments = problem()
    found = adaround(rows * 3, moments, Steps(np.asarray(0.3), np.asarray(0), -2, 2))
    assert np.abs(found).max() <= 2 * 0.3 + 1e-9


def test_every_layer_of_a_net(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the two codes around each weight as it was refitted to what its input has become."""
    pytest.importorskip("torch")
    refitted: list[Array] = []

    def spy(*given: Array) -> Array:
        refitted.append(refit(*given))
        return refitted[-1]

    monkeypatch.setattr("oq.refine.adaround.ITERATIONS", 50)
    monkeypatch.setattr("oq.refine.gptq.refit", spy)
    before = subject(relu_chain(), count=100)
    change = learn_rounding(before)
    layers = list(find_layers(before.view, before.plan))
    assert len(refitted) == len(layers)
    given = [rows_of(x, before.constant(x.weight)) for x in layers]
    assert any((found != rows).any() for found, rows in zip(refitted, given, strict=True))
    for layer, rows in zip(layers, refitted, strict=True):
        grid = before.solution.grids[layer.site]
        weight = weight_of(layer, rows, before.constant(layer.weight))
        scale = np.broadcast_to(grid.scale, weight.shape[layer.weight_axis]).astype(np.float64)
        shape = [1] * weight.ndim
        shape[layer.weight_axis] = -1
        steps, scale = weight / scale.reshape(shape), scale.reshape(shape)
        moved = change.constants[layer.weight] / scale - np.clip(steps, -127, 127)
        assert np.abs(moved).max() < 1 + 1e-4


def test_it_learns_from_float_weights_whatever_was_kept_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr("oq.refine.adaround.ITERATIONS", 50)
    fresh = subject(relu_chain())
    earlier = round_with_feedback(fresh)
    after = learn_rounding(fresh.put(earlier.constants, earlier.grids))
    for name, values in learn_rounding(fresh).constants.items():
        np.testing.assert_array_equal(after.constants[name], values)


def test_without_torch_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match=r"--refine adaround needs torch.*pip install torch "):
        learn_rounding(subject(relu_chain()))
