"""Classes are found where a model scores them, and nowhere else."""

import numpy as np
import onnx
import pytest

from oq.comparison.classes import class_axes, class_axis
from oq.comparison.compare import compare
from oq.numerics.values import Array, Batch
from tests.small import normal, small

W, B = normal(8, 5), normal(5, seed=1)
TOKENS = "net (float[n,6,8] x) => (float[n,6,5] y)"


def last(text: str, header: str = TOKENS, opset: int = 17) -> int | None:
    constants = {"w": W, "b": B, "k": normal(5, 8, 1, 1)}
    return class_axes(small(f"{header} {{ {text} }}", constants, opset=opset)).get("y")


@pytest.mark.parametrize(
    ("text", "axis"),
    [
        ("y = MatMul(x, w)", -1),
        ("m = MatMul(x, w) y = Add(b, m)", -1),
        ("m = MatMul(x, w) s = Softmax(m) y = Identity(s)", -1),
        ("m = MatMul(x, w) t = Transpose<perm = [0, 2, 1]>(m) y = LogSoftmax<axis = 1>(t)", 1),
        ("m = MatMul(x, w) s = Softmax(m) y = Transpose<perm = [0, 2, 1]>(s)", 1),
        ("m = MatMul(x, w) y = Relu(m)", None),
        ("m = MatMul(x, w) y = Sigmoid(m)", None),  # boxes, or labels that exclude no other
        ("y = Add(x, x)", None),
    ],
)
def test_the_axis_follows_from_the_node(text: str, axis: int | None) -> None:
    assert last(text) == axis


def test_a_softmax_of_old_is_over_all_axes_behind_its_own() -> None:
    assert last("m = MatMul(x, w) y = Softmax<axis = 1>(m)", opset=11) is None
    assert last("m = MatMul(x, w) y = Softmax<axis = -1>(m)", opset=11) == -1
    assert last("m = MatMul(x, w) y = Softmax<axis = 2>(m)", opset=11) == 2, "y has three axes"


def test_logits_have_the_axis_of_the_softmax_that_reads_them() -> None:
    text = "m = Relu(x) y = Softmax<axis = 1>(m)"
    model = small(f"net (float[n,5,9] x) => (float[n,5,9] y) {{ {text} }}")
    assert class_axes(model, ["m", "x"]) == {"m": 1}


def test_a_position_is_no_channel() -> None:
    """One frame of 40 whose character changes: 98 % agree, and nothing has collapsed."""
    frames, classes = 40, 97
    scores = normal(2, frames, classes)
    changed = scores.copy()
    changed[:, 7] = scores[:, 7, ::-1]

    def model(offset: Array) -> onnx.ModelProto:
        text = "net (float[n,40,97] x) => (float[n,40,97] y) { m = Add(x, d) y = Softmax(m) }"
        return small(text, {"d": offset})

    batch = Batch({"x": scores[:1]})
    found = compare(model(np.zeros_like(scores[0])), model((changed - scores)[0]), [batch])
    (votes,) = found.literal.classes
    assert votes.agreement == pytest.approx(97.5) and not found.collapse


@pytest.mark.parametrize(
    ("shape", "known", "axis"),
    [
        ((4, 10), None, 1),
        ((4, 10, 1, 1), None, 1),
        ((4, 6, 5), -1, 2),
        ((4, 6, 5), None, None),
        ((4, 5, 9, 9), 1, 1),
        ((4, 6, 3, 1), -1, None),
        ((4, 6), 0, 1),
    ],
)
def test_the_axis_of_a_batch(shape: tuple[int, ...], known: int | None, axis: int | None) -> None:
    assert class_axis(np.zeros(shape, np.float32), known) == axis


def test_positions_are_counted() -> None:
    """A model whose last weights are turned disagrees exactly where NumPy says."""
    exact = small(f"{TOKENS} {{ y = MatMul(x, w) }}", {"w": W})
    other = W + 0.7 * normal(8, 5, seed=3)
    found = small(f"{TOKENS} {{ y = MatMul(x, w) }}", {"w": other})
    x = normal(10, 6, 8, seed=2)
    batches = [Batch({"x": x[i : i + 4]}, None) for i in range(0, 10, 4)]
    [votes] = compare(exact, found, batches, latency=False).literal.classes
    first, second = ((x @ w).reshape(60, 5) for w in (W, other))
    same = np.mean(first.argmax(axis=1) == second.argmax(axis=1))
    assert 0.3 < same < 0.95
    assert (votes.positions, votes.samples, votes.unit) == (True, 60, "positions")
    assert votes.agreement == pytest.approx(100 * same)
    assert votes.agreement5 == 100.0  # of five classes
    assert votes.top1 is None


def test_boxes_have_no_classes() -> None:
    model = small(
        "net (float[n,6,8] x) => (float[n,6,16] y) { y = Concat<axis = 2>(x, x) }", opset=17
    )
    found = compare(model, onnx.ModelProto.FromString(model.SerializeToString()),
                    [Batch({"x": normal(2, 6, 8)}, None)], latency=False)  # fmt: skip
    assert found.literal.classes == ()
