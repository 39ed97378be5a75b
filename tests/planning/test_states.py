"""States come back as they left."""

import re

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


IMAGE, WEIGHTS = "float[n,4,8,8]", {"k": normal(4, 4, 3, 3), "d": normal(4, 4, 3, 3, seed=1)}
CONV = "Conv<pads = [1, 1, 1, 1]>"
ORDINARY = {
    "autoencoder": (
        f"{IMAGE} x, {IMAGE} noise",
        f"{IMAGE} x_hat, {IMAGE} code",
        f"code = {CONV}(x, k) z = Add(code, noise) x_hat = {CONV}(z, d)",
    ),
    "super-resolution": (
        f"{IMAGE} image, float[n,4] style",
        f"{IMAGE} sharp, {IMAGE} features",
        f"features = {CONV}(image, k) r = {CONV}(features, d) sharp = Add(image, r)",
    ),
    "denoising": (
        f"{IMAGE} noisy_image, float[n,1,1,1] sigma",
        f"{IMAGE} clean_image, {IMAGE} noise",
        f"s = Mul(noisy_image, sigma) noise = {CONV}(s, k) clean_image = Sub(noisy_image, noise)",
    ),
    "inpainting": (
        f"{IMAGE} image, {IMAGE} mask",
        f"{IMAGE} result, {IMAGE} mask_out",
        f"g = {CONV}(image, k) a = Mul(g, mask) i = Sub(image, g) b = Mul(i, mask) "
        "result = Add(image, b) mask_out = MaxPool<kernel_shape = [1, 1]>(mask)",
    ),
    "embeddings": (
        "float[n,5,4] inputs_embeds, float[n,5,1] attention_mask",
        "float[n,5,4] last_hidden_state, float[n,5,4] first",
        "m = MatMul(inputs_embeds, w) a = Mul(m, attention_mask) first = Add(inputs_embeds, a) "
        "f = MatMul(first, v) last_hidden_state = Add(first, f)",
    ),
    "stage of a network": (
        "float[n,5,4] hidden_states, float[n,5,1] scale",
        "float[n,5,4] hidden_states_out, float[n,5,4] attention",
        "m = MatMul(hidden_states, w) attention = Mul(m, scale) u = Add(hidden_states, attention) "
        "f = MatMul(u, v) hidden_states_out = Add(u, f)",
    ),
    "siamese": (
        f"{IMAGE} left, {IMAGE} right",
        f"{IMAGE} of_left, {IMAGE} of_right",
        f"a = {CONV}(left, k) of_left = Add(a, left) b = {CONV}(right, k) of_right = Add(b, right)",
    ),
    "noise prediction": (
        f"{IMAGE} x_t, float[n,1,1,1] t",
        f"{IMAGE} eps, {IMAGE} variance",
        f"s = Mul(x_t, t) h = {CONV}(s, k) eps = {CONV}(h, d) variance = Exp(h)",
    ),
    "matting": (
        f"{IMAGE} src, {IMAGE} background",
        f"{IMAGE} foreground, {IMAGE} alpha",
        f"r = {CONV}(src, k) f = Add(src, r) foreground = Clip(f, zero, one) "
        f"alpha = {CONV}(background, d)",
    ),
    "residual blocks": (
        f"{IMAGE} feature, float[n,1,1,1] gain",
        f"{IMAGE} refined, {IMAGE} other",
        f"a = {CONV}(feature, k) u = Add(feature, a) r = Relu(u) b = {CONV}(r, d) "
        "other = Mul(b, gain) s = Add(r, b) refined = Relu(s)",
    ),
}
STATEFUL = {
    "decay": ("y = Mul(h, m) hn = Add(y, f)", {"Mul_y", "Add_hn"}),
    "sum": ("hn = Add(h, f) y = Relu(f)", {"Add_hn"}),
    "gate": (
        "g = MatMul(h, w) z = Sigmoid(g) p = Sub(m, z) a = Mul(z, h) b = Mul(p, f) y = Relu(f) "
        "hn = Add(a, b)",
        {"Mul_a", "Add_hn"},
    ),
    "residual of one name": ("g = MatMul(h, w) hn = Add(h, g) y = Relu(f)", {"Add_hn"}),
}
"""Layer-free ways from h (n, 4) to hn, with f = frame W, m a constant; and what stays in float."""


def body(inputs: str, outputs: str, nodes: str) -> onnx.ModelProto:
    zero, one = np.array(0, np.float32), np.array(1, np.float32)
    given = {**WEIGHTS, "w": normal(4, 4), "v": normal(4, 4, seed=2), "zero": zero, "one": one}
    read = {name: values for name, values in given.items() if re.search(rf"\b{name}\b", nodes)}
    return small(f"net ({inputs}) => ({outputs}) {{ {nodes} }}", read)


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_models_with_equal_shapes_have_no_states(name: str) -> None:
    model = body(*ORDINARY[name])
    onnx.checker.check_model(model, full_check=True)
    assert not carried_states(view(model))


@pytest.mark.parametrize("name", STATEFUL)
@pytest.mark.parametrize(("state", "becomes"), [("h_in", "h_out"), ("prev_frame", "filtered")])
def test_recurrent_cells_have_states(name: str, state: str, becomes: str) -> None:
    nodes, kept = STATEFUL[name]
    text = f"f = MatMul(frame, w) {nodes}".replace("MatMul(frame, w)", "MatMul(now, w)")
    model = small(
        f"net (float[n,4] now, float[n,4] h) => (float[n,4] y, float[n,4] hn) {{ {text} }}",
        {"w": normal(4, 4), "m": np.array(0.9, np.float32)},
    )
    for node in model.graph.node:
        node.name = f"{node.op_type}_{node.output[0]}"
        node.input[:] = [state if t == "h" else t for t in node.input]
        node.output[:] = [becomes if t == "hn" else t for t in node.output]
    model.graph.input[1].name, model.graph.output[1].name = state, becomes
    assert set(carried_states(view(model))) == kept


def test_the_states_of_a_body_are_those_of_its_node() -> None:
    """A part of what is scanned has the shape of the state, and is new in every turn."""
    model = small(
        """net (float[5,n,4] x, float[n,4] start) => (float[n,4] last, float[5,n,4] y) {
            last, y = Scan<num_scan_inputs = 1, body = turn (float[n,4] h, float[n,4] part)
                => (float[n,4] out, float[n,4] seen) {
                f = MatMul(part, w)
                kept = Mul(h, m)
                out = Add(kept, f)
                seen = Mul(part, m)
            }>(start, x)
        }""",
        {"w": normal(4, 4), "m": np.array(0.9, np.float32)},
    )
    said = {s.node.rpartition("/")[2]: s.reason for s in oq.make_plan(model, "ort").skips}
    assert {n for n, why in said.items() if why == PASSES.format("h", "out")} == {
        *("Mul_kept", "Add_out")
    }
    assert "state" not in said["Mul_seen"]
