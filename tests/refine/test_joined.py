"""The mean of a residual branch is set right behind the Add, where a device's rounding has one."""

from dataclasses import replace

import numpy as np
import pytest

from oq.dpu.simulate import Simulator
from oq.model.session import expose
from oq.numerics.values import Array
from oq.refine.bias import correct_bias, mean
from oq.refine.channel_statistics import float_means
from oq.refine.joined import find_ends
from oq.refine.subject import Subject
from tests.graphs import Net
from tests.refine.nets import subject


def deep(blocks: int = 6, *, projected: bool = False) -> Subject:
    """Residual blocks; the first one with a convolution on its skip if ``projected``."""
    net = Net()
    here = net.node("Relu", [net.conv(net.input("x"), "a")], "ra")
    for i in range(blocks):
        inner = net.node("Relu", [net.conv(here, f"p{i}")], f"rp{i}")
        branch = net.conv(inner, f"q{i}")
        skip = net.conv(here, "k") if projected and i == 0 else here
        here = net.node("Relu", [net.node("Add", [branch, skip], f"s{i}")], f"r{i}")
    return replace(subject(net.model(here), "dpu"), engine="dpu")


def test_the_last_layer_that_an_add_waits_for_answers_for_it() -> None:
    assert find_ends(deep(2)) == {"n_q0": "n_s0", "n_q1": "n_s1"}
    assert find_ends(deep(2, projected=True)) == {"n_k": "n_s0", "n_q1": "n_s1"}
    assert find_ends(replace(deep(2), engine="onnxruntime")) == {}


def test_a_sum_that_others_read_or_of_another_shape_is_none() -> None:
    net = Net()
    first = net.conv(net.input("x"), "a")
    second = net.conv(net.node("Relu", [first], "ra"), "b")  # a is read by the Add as well
    net.node("Add", [second, first], "s")
    pooled = net.node("GlobalAveragePool", [net.conv("s", "c")], "p")
    net.node("Add", [net.conv("s", "d"), pooled], "y")
    found = replace(subject(net.model("y"), "dpu"), engine="dpu")
    assert find_ends(found) == {"n_b": "n_s"}


@pytest.mark.parametrize("projected", [False, True])
def test_the_mean_behind_every_add_is_right(projected: bool) -> None:
    """As nearly as an int8 bias can, and the pair between it and the Add."""
    before = deep(projected=projected)
    change = correct_bias(before)
    after = before.put(change.constants, change.grids)
    ends, wanted = find_ends(before), float_means(before)

    def means(found: Subject) -> dict[str, Array]:
        sums = [found.view.node(n).outputs[0] for n in ends.values()]
        simulator = Simulator(expose(found.quantized(), sums))
        runs = [simulator.run(feeds) for feeds in found.samples]
        return {
            layer: mean(tuple(r[i] for r in runs), -3) - wanted[layer]
            for i, layer in enumerate(ends)
        }

    old, new = means(before), means(after)
    assert np.abs(list(new.values())).sum() < np.abs(list(old.values())).sum() / 3
