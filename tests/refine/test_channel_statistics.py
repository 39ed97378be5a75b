"""Extremes and means per channel, against plain NumPy over whole runs."""

from dataclasses import replace

import numpy as np
import pytest

from oq.model.session import Session, Settings, expose
from oq.numerics.values import Array
from oq.planning.layers import find_layers
from oq.refine.channel_statistics import channel_extremes, channel_sums, float_means
from tests.refine.nets import NETS, subject


def whole(name: str) -> tuple[dict[str, Array], dict[str, int]]:
    """Output of every layer of ``name``, axes (channel, value), and its channel axis."""
    found = subject(NETS[name]())
    layers = list(find_layers(found.view, found.plan))
    tensors = {x.node: found.view.node(x.last).outputs[0] for x in layers}
    session = Session(expose(found.model, list(tensors.values())), Settings(reading="literal"))
    runs = [session.run(feeds, list(tensors.values())) for feeds in found.samples]
    values = {}
    for slot, layer in enumerate(layers):
        parts = [np.moveaxis(r[slot], layer.axis, 0) for r in runs]
        values[layer.node] = np.concatenate([p.reshape(len(p), -1) for p in parts], axis=1)
    return values, {tensors[x.node]: x.axis for x in layers}


@pytest.mark.parametrize("name", NETS)
def test_means_are_those_of_whole_runs(name: str) -> None:
    values, _ = whole(name)
    found = float_means(subject(NETS[name]()))
    assert found.keys() == values.keys()
    for node, expected in values.items():
        np.testing.assert_allclose(
            found[node], expected.mean(axis=1, dtype=np.float64), rtol=1e-6, atol=2e-6
        )


@pytest.mark.parametrize("name", NETS)
def test_extremes_are_those_of_whole_runs(name: str) -> None:
    values, axes = whole(name)
    net = subject(NETS[name]())
    found = channel_extremes(net.model, axes, net.samples)
    for (lo, hi), expected in zip(found.values(), values.values(), strict=True):
        np.testing.assert_allclose(lo, expected.min(axis=1), rtol=1e-6, atol=2e-6)
        np.testing.assert_allclose(hi, expected.max(axis=1), rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_sums_along_any_axis(axis: int) -> None:
    values = np.random.default_rng(1).normal(size=(3, 4, 5)).astype(np.float32)
    others = tuple(i for i in range(3) if i != axis % 3)
    expected = values.astype(np.float64).sum(axis=others)
    np.testing.assert_allclose(channel_sums(values, axis), expected, rtol=1e-5, atol=1e-6)
    half = np.full((200, 2, 400), 30.0, np.float16)  # a sum of halves would be infinite
    np.testing.assert_allclose(channel_sums(half, 1), [2.4e6, 2.4e6])


def test_a_plan_without_layers_has_no_means() -> None:
    found = subject(NETS["residual"]())
    assert float_means(replace(found, plan=replace(found.plan, sites=()))) == {}
