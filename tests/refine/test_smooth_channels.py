"""Channels in front of convolutions: scaled in a float product, into the weights that read them."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from oq.numerics.values import Array
from oq.refine.channel_statistics import channel_extremes
from oq.refine.equalize import LARGEST
from oq.refine.smooth import smooth
from oq.refine.subject import Subject
from tests.graphs import CHANNELS, Net
from tests.refine.nets import batches, subject
from tests.small import reference

UNEVEN = np.asarray([8, 1, 0.3, 0.05], np.float32)


def hard_swish(net: Net, data: str, name: str, divide: bool = True) -> str:
    """``x * clip(x + 3, 0, 6) / 6`` in single nodes, as older exporters write it."""
    net.node("Add", [data, net.constant(f"{name}_3", 3)], f"{name}_up")
    ends = [net.constant(f"{name}_lo", 0), net.constant(f"{name}_hi", 6)]
    net.node("Clip", [f"{name}_up", *ends], f"{name}_cut")
    net.node("Mul", [data, f"{name}_cut"], f"{name}_product")
    by = net.constant(f"{name}_by", 6 if divide else [1 / 6])
    return net.node("Div" if divide else "Mul", [f"{name}_product", by], name)


def net_of(group: int, last: Callable[[Net], str]) -> onnx.ModelProto:
    """A layer with uneven channels, a HardSwish, what ``last`` puts behind it, a convolution."""
    net = Net()
    net.conv(net.input("x"), "a")
    net.constants["w_a"] *= UNEVEN.reshape(-1, 1, 1, 1)
    net.constants["b_a"] *= UNEVEN
    hard_swish(net, "a", "h")
    net.conv(last(net), "b", group=group)
    net.node("GlobalAveragePool", ["b"], "p")
    net.gemm(net.node("Flatten", ["p"], "f"), "y")
    return net.model("y")


def bare(_net: Net) -> str:
    return "h"


def learned(net: Net) -> str:
    """A learned factor and offset, of one value each."""
    net.node("Mul", [net.constant("k", [1.5]), "h"], "k_h")
    return net.node("Add", ["k_h", net.constant("c", [0.1])], "t")


def both(model: onnx.ModelProto, target: str = "trt") -> tuple[Subject, Subject]:
    before = subject(model, target)
    return before, before.remade(smooth(before))


def reach(of: Subject, tensor: str) -> Array:
    lo, hi = channel_extremes(of.model, {tensor: 1}, of.samples)[tensor]
    return np.maximum(-lo, hi)


@pytest.mark.parametrize("target", ["trt", "openvino", "coreml"])
@pytest.mark.parametrize("last", [bare, learned])
@pytest.mark.parametrize("group", [1, CHANNELS])
def test_the_function_stays_and_channels_become_even(
    group: int, last: Callable[[Net], str], target: str
) -> None:
    before, after = both(net_of(group, last), target)
    assert after.early
    for feeds in batches(seed=99):
        (exact,), (found,) = (reference(s.model, feeds).values() for s in (before, after))
        assert np.abs(found - exact).max() < 1e-5 * np.abs(exact).max()
    tensor = "h" if last is bare else "t"
    plain, even = reach(before, tensor), reach(after, tensor)
    weights = np.abs(before.constant("w_b")).max(axis=(0, 2, 3))
    free = np.minimum(plain.max(), LARGEST * plain)
    wanted = free if group > 1 else np.sqrt(plain * weights)
    np.testing.assert_allclose(even, wanted, rtol=1e-4)


def shared_constant(net: Net) -> str:
    net.node("Mul", ["h", net.constant("k", [1.5])], "k_h")
    net.node("Mul", ["x", "k"], "z")
    return net.node("Add", ["k_h", "z"], "t")


def read_twice(net: Net) -> str:
    """A pool reads what the convolution reads, as in a squeeze-and-excitation block."""
    learned(net)
    net.node("GlobalAveragePool", ["t"], "mean")
    return net.node("Mul", ["t", "mean"], "gated")


def no_product(net: Net) -> str:
    net.node("Relu", ["h"], "r")
    return net.node("Add", ["r", net.constant("c", [0.1])], "t")


@pytest.mark.parametrize("last", [shared_constant, read_twice, no_product])
def test_what_cannot_be_scaled_stays(last: Callable[[Net], str]) -> None:
    assert not smooth(subject(net_of(1, last), "trt")).constants


def test_a_product_in_integers_stays() -> None:
    """Its constant would have one grid for all channels."""
    before = subject(net_of(CHANNELS, learned), "ort")
    assert any("Mul" in g.ops for g in before.plan.groups)
    assert not smooth(before).constants
