"""States come back as they left."""

import numpy as np
import onnx
import pytest

import oq
from oq.model.session import Session
from oq.planning import registry
from oq.planning.plan import plan
from oq.planning.states import PASSES, carried_states
from tests.small import normal, small, view

TARGETS = registry.names("targets")


def accumulator() -> onnx.ModelProto:
    """A leaky sum of what a layer makes of each frame, one that torch's users write as a loop."""
    return small(
        """net (float[1,8] frame, float[1,8] state) => (float[1,4] y, float[1,8] next) {
            f = MatMul(frame, w) kept = Mul(state, most) next = Add(kept, f)
            y = MatMul(next, v)
        }""",
        {"w": normal(8, 8), "v": normal(8, 4, seed=1), "most": np.array(0.96, np.float32)},
    )


def cache() -> onnx.ModelProto:
    """A streaming convolution: the newest frames of a cache are the next call's."""
    return small(
        """net (float[1,4,1,1] frame, float[1,4,6,1] past) =>
            (float[1,4,5,1] y, float[1,4,6,1] present) {
            all = Concat<axis = 2>(past, frame)
            present = Slice(all, one, seven, two)
            y = Conv(all, w)
        }""",
        {
            **{"w": normal(4, 4, 3, 1), "one": np.array([1]), "seven": np.array([7])},
            "two": np.array([2]),
        },
    )


def looped(model: onnx.ModelProto, frames: np.ndarray, state: np.ndarray) -> np.ndarray:
    """The last state after all ``frames``, fed back at every step."""
    session = Session(model)
    first, second = (i.name for i in session.inputs)
    for frame in frames:
        state = session.run({first: frame, second: state})[1]
    return state


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("build", [accumulator, cache])
def test_states_do_not_drift(build: object, target: str) -> None:
    model = build()  # type: ignore[operator]
    (_, *frame), (_, *state) = (
        [d.dim_value for d in i.type.tensor_type.shape.dim] for i in model.graph.input
    )
    frames, start = normal(64, 1, *frame), np.zeros((1, *state), np.float32)
    states = [start]
    for count in range(1, 64):
        states.append(looped(model, frames[count - 1 : count], states[-1]))
    data = {"frame": frames[:, 0], model.graph.input[1].name: np.concatenate(states)}
    made = oq.quantize(model, target, data, verify=False, refine="none")
    assert made.report.plan.sites
    expected, found = looped(model, frames, start), looped(made.model, frames, start)
    error = np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2))
    assert error < 0.03  # the layer's own rounding, once per frame


def test_the_reason_names_the_state() -> None:
    found = carried_states(view(accumulator()))
    assert found == dict.fromkeys(["Mul_kept", "Add_next"], PASSES.format("state", "next"))


def test_a_residual_of_one_input_is_no_state() -> None:
    model = small(
        "net (float[n,4,8,8] x) => (float[n,4,8,8] y) { r = Conv(x, w) y = Add(r, x) }",
        {"w": normal(4, 4, 1, 1)},
    )
    assert not carried_states(view(model))
    found = plan(view(model), registry.target("dpu"))
    assert {op for g in found.groups for op in g.ops} == {"Conv", "Add"}


def test_a_layer_between_them_makes_no_state() -> None:
    model = small(
        """net (float[n,4] a, float[n,4] b) => (float[n,4] y, float[n,4] z) {
            y = MatMul(a, w) s = Relu(b) z = MatMul(s, w)
        }""",
        {"w": normal(4, 4)},
    )
    assert not carried_states(view(model))
