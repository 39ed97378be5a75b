"""A walk in the device's arithmetic: what it says of a model is what the simulator computes."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from oq.dpu.simulate import Simulator
from oq.dpu.walk import DeviceWalk
from oq.engines.engine import Walk
from oq.model.session import expose
from oq.refine.bias import correct_bias
from oq.refine.gptq import round_with_feedback
from oq.refine.subject import Change, Subject
from tests.dpu.shifts import ShiftNet
from tests.refine.nets import NETS, subject


def on_device(name: str) -> Subject:
    return replace(subject(NETS[name](), "dpu"), engine="dpu")


@pytest.mark.parametrize("name", NETS)
def test_every_tensor_is_what_the_simulator_computes(name: str) -> None:
    """Of the activations' pairs only, with the constants on their grids, and of the whole file."""
    found = on_device(name)
    walk, written = found.walk(), found.quantized()
    tensors = [t for n in found.view.nodes for t in n.outputs]
    simulator = Simulator(expose(written, tensors))
    exact = [simulator.run(feeds) for feeds in found.samples]
    assert simulator.floats == {}
    for slot, tensor in enumerate(tensors):
        for whole, seen in zip(exact, walk.at(tensor), strict=True):
            np.testing.assert_array_equal(seen, whole[slot], err_msg=tensor)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("apply", [correct_bias, round_with_feedback])
def test_a_step_sees_what_its_file_gives(
    name: str, apply: Callable[[Subject], Change], monkeypatch: pytest.MonkeyPatch
) -> None:
    walks: list[Walk] = []

    def begin(found: Subject) -> Walk:
        walks.append(original(found))
        return walks[-1]

    original = Subject.walk
    monkeypatch.setattr(Subject, "walk", begin)
    before = on_device(name)
    change = apply(before)
    after = before.put(change.constants, change.grids)
    simulator = Simulator(after.quantized())
    for feeds, seen in zip(before.samples, walks[0].at("y"), strict=True):
        np.testing.assert_array_equal(simulator.run(feeds)[0], seen)


def walked() -> DeviceWalk:
    """Codes 1 to 4 of position 1, doubled, in a pair of position 0."""
    net = ShiftNet()
    x = net.pair(net.input("x", ("n", 4)), 1)
    model = net.model(net.pair(net.node("Add", [x, x], "s"), 0))
    return DeviceWalk(model, [{"x": np.asarray([[0.5, 1, 1.5, 2]], np.float32)}])


def test_a_shift_is_truncated_to_what_the_accumulator_holds() -> None:
    walk = walked()
    np.testing.assert_array_equal(walk.at("s")[0], [[1, 2, 3, 4]])
    walk.shift("s", np.asarray([0.0, 0.3, -0.3, 0.125]))  # its position is 3
    np.testing.assert_array_equal(walk.at("s")[0], [[1, 2.25, 2.625, 4.125]])


def test_a_look_ahead_changes_nothing() -> None:
    walk, plain = walked(), walked()
    end = next(iter(plain._view.outputs))
    walk.at("s")
    (seen,) = walk.peek(end, "s", np.asarray([0.5, 0.5, 0.5, 0.4]))
    np.testing.assert_array_equal(seen, [[2, 3, 4, 4]])  # halves go up
    np.testing.assert_array_equal(walk.at(end)[0], plain.at(end)[0])
    with pytest.raises(KeyError):
        walk.at("s")
