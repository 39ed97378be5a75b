"""A walk gives every tensor the values that a whole run gives it, and runs each node once."""

import numpy as np
import onnx
import pytest

from oq.model.session import Settings, expose, run
from oq.refine.layerwise import Walk
from tests.refine.nets import NETS, batches
from tests.small import floats, normal, small

LITERAL = Settings(reading="literal", threads=1)


@pytest.mark.parametrize("name", NETS)
def test_every_tensor_is_what_a_whole_run_gives(name: str) -> None:
    model, samples = NETS[name](), batches()
    tensors = [t for n in model.graph.node for t in n.output]
    walk = Walk(model, samples)
    for tensor in tensors:
        for feeds, found in zip(samples, walk.at(tensor), strict=True):
            whole = run(expose(model, [tensor]), feeds, settings=LITERAL)
            np.testing.assert_array_equal(found, whole[tensor])


def test_a_walk_may_jump() -> None:
    """The last tensor first, then nothing of what lies behind is kept."""
    model, samples = NETS["residual"](), batches(1)
    walk = Walk(model, samples)
    (found,) = walk.at("y")
    np.testing.assert_array_equal(found, run(model, samples[0], settings=LITERAL)["y"])
    with pytest.raises(KeyError):
        walk.at("a")


def test_later_nodes_read_what_was_shifted() -> None:
    model = small("net (float[n,2] x) => (float[n,2] y) { a = Relu(x) b = Neg(a) y = Add(a, b) }")
    walk = Walk(model, [{"x": floats(1, 2).reshape(1, 2)}])
    walk.at("a")
    walk.shift("a", floats(4, 5).reshape(1, 2))
    walk.at("b")
    walk.shift("b", floats(5, 7).reshape(1, 2))
    assert walk.at("y")[0].tolist() == [[5, 7]]


def test_constants_change_for_nodes_that_were_not_run() -> None:
    model = small("net (float[n,2] x) => (float[n,2] y) { y = Mul(x, w) }", {"w": floats(2, 2)})
    walk = Walk(model, [{"x": floats(1, 2).reshape(1, 2)}])
    walk.set_constant("w", floats(3, 3))
    assert walk.at("y")[0].tolist() == [[3, 6]]


def test_changed_constants_are_forgotten_behind_their_last_reader() -> None:
    """Then none may read them again: it would be the values from before the change."""
    text = "net (float[n,2] x) => (float[n,2] y) { a = Mul(x, w) b = Mul(a, w) y = Neg(b) }"
    walk = Walk(small(text, {"w": floats(2, 2)}), [{"x": floats(1, 2).reshape(1, 2)}])
    walk.set_constant("w", floats(3, 3))
    walk.at("a")
    assert walk.at("b")[0].tolist() == [[9, 18]]
    walk.at("y")
    with pytest.raises(KeyError):
        walk.at("b")


def test_subgraphs_read_outer_tensors() -> None:
    text = """net (float[n,2] x, bool c) => (float[n,2] y) {
        a = Relu(x)
        b = Neg(x)
        y = If (c) <
            then_branch = g1 () => (float[n,2] t) { t = Add(a, b) },
            else_branch = g2 () => (float[n,2] e) { e = Sub(a, b) }
        >
    }"""
    model = small(text)
    onnx.checker.check_model(model)
    feeds = {"x": normal(3, 2), "c": np.asarray(True)}
    walk = Walk(model, [feeds])
    walk.at("a")
    np.testing.assert_array_equal(walk.at("y")[0], run(model, feeds, settings=LITERAL)["y"])


def test_a_node_whose_type_depends_on_sizes_runs_alone() -> None:
    """onnxruntime infers Attention's output from the size of the last axis."""
    text = """net (float[n,6,16] x) => (float[n,6,4] y) {
        q = MatMul(x, wq)
        a = Attention <q_num_heads = 2, kv_num_heads = 2> (q, x, x)
        y = MatMul(a, wo)
    }"""
    weights = {"wq": normal(16, 16), "wo": normal(16, 4)}
    model = small(text, weights, opset=23, ir=11)
    walk = Walk(model, [{"x": normal(2, 6, 16)}, {"x": normal(1, 6, 16)}])
    walk.at("q")
    assert [v.shape for v in walk.at("y")] == [(2, 6, 4), (1, 6, 4)]
