"""Errors against NumPy's formulas, votes counted by hand, and the traps that two readings show."""

import math
from dataclasses import replace

import numpy as np
import onnx
import pytest

from oq.comparison.collapse import ReadingResult
from oq.comparison.compare import (
    Verification,
    compare,
    measure_latency,
)
from oq.comparison.deviation import Classification, OutputError, is_classifier, sqnr_db
from oq.engines.engine import Engine, Kernels
from oq.errors import DataError, ModelError
from oq.model.session import Session, Settings
from oq.numerics.values import Array, Batch
from tests.graphs import Net
from tests.small import normal, small

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(30, 6)).astype(np.float32)
SHAPE = ("n", 6)


def identity() -> onnx.ModelProto:
    net = Net()
    return net.model(net.node("Identity", [net.input("x", SHAPE)], "y"))


def scaled(factor: float) -> onnx.ModelProto:
    net = Net()
    return net.model(net.node("Mul", [net.input("x", SHAPE), net.constant("k", factor)], "y"))


def permuted(order: list[int]) -> onnx.ModelProto:
    net = Net()
    net.constant("order", order, np.int64)
    return net.model(net.node("Gather", [net.input("x", SHAPE), "order"], "y", axis=1))


def batches(x: Array, size: int, labels: Array | None = None) -> list[Batch]:
    return [
        Batch({"x": x[i : i + size]}, None if labels is None else labels[i : i + size])
        for i in range(0, len(x), size)
    ]


def look(quantized: onnx.ModelProto, data: list[Batch]) -> Verification:
    return compare(identity(), quantized, data, latency=False)


@pytest.mark.parametrize("size", [1, 7, 30])
def test_errors_are_numpys_formulas_whatever_the_batches(size: int) -> None:
    found = look(scaled(0.75), batches(X, size))
    x = X.astype(np.float64)
    y = (X * np.float32(0.75)).astype(np.float64)
    for reading in (found.deployed, found.literal):
        (error,) = reading.outputs
        assert error.name == "y"
        assert error.max_abs == pytest.approx(np.abs(x - y).max())
        assert error.mean_abs == pytest.approx(np.abs(x - y).mean())
        assert error.sqnr_db == pytest.approx(10 * np.log10((x**2).sum() / ((x - y) ** 2).sum()))
        # A quarter less of everything: 12.04 dB, and the same direction.
        assert error.sqnr_db == pytest.approx(20 * math.log10(4))
        assert error.cosine == pytest.approx(1.0)
        assert error.nonfinite == 0
    assert found.samples == 30
    assert found.gap[0].sqnr_db == math.inf and not found.readings_differ


def test_cosine_sees_direction_not_length() -> None:
    order = [1, 0, 3, 2, 5, 4]
    expected = float((X * X[:, order]).sum() / (X**2).sum())
    assert look(permuted(order), batches(X, 8)).literal.outputs[0].cosine == pytest.approx(expected)


def test_equal_models_have_no_error() -> None:
    found = look(identity(), batches(X, 8))
    assert found.literal.outputs == (OutputError("y", 0.0, 0.0, math.inf, 1.0, 0, runs=4),)
    zeros = look(scaled(3.0), batches(np.zeros_like(X), 8)).literal.outputs[0]
    assert (zeros.sqnr_db, zeros.cosine) == (math.inf, 1.0)


def test_values_that_are_not_finite_are_counted_and_left_out() -> None:
    net = Net()
    net.node("Div", [net.input("x", SHAPE), net.constant("z", [1, 1, 1, 1, 1, 0])], "y")
    broken, data = net.model("y"), batches(X, 8)
    # In the quantized output, and in the float one alone.
    for pair in ((identity(), broken), (broken, identity())):
        found = compare(*pair, data, latency=False).literal.outputs[0]
        assert found.nonfinite == 30
        assert (found.max_abs, found.sqnr_db) == (0.0, math.inf)


@pytest.mark.parametrize(
    ("signal", "noise", "expected"),
    [(100.0, 1.0, 20.0), (1.0, 10.0, -10.0), (5.0, 0.0, math.inf), (0.0, 2.0, -math.inf)],
)
def test_sqnr(signal: float, noise: float, expected: float) -> None:
    assert sqnr_db(signal, noise) == pytest.approx(expected)


def test_no_samples() -> None:
    with pytest.raises(DataError, match="no samples to verify on"):
        look(identity(), [])


# ---- classifiers


def test_votes_are_counted_by_hand() -> None:
    """Six classes; the quantized model swaps the scores of classes 0 and 1."""
    scores = np.asarray(
        [
            [9, 5, 4, 3, 2, 1],  # float says 0, quantized says 1
            [9, 5, 4, 3, 2, 1],
            [1, 2, 9, 5, 4, 3],  # both say 2
            [1, 2, 3, 4, 5, 9],  # both say 5; class 0 is last for float, class 1 for quantized
        ],
        np.float32,
    )
    labels = np.asarray([0, 1, 2, 0])
    found = look(permuted([1, 0, 2, 3, 4, 5]), batches(scores, 3, labels))
    for reading in (found.deployed, found.literal):
        (votes,) = reading.classes
        assert (votes.output, votes.samples) == ("y", 4)
        assert (votes.agreement, votes.agreement5) == (50.0, 100.0)
        # Float is right on samples 0 and 2, quantized on 1 and 2.
        assert (votes.top1_float, votes.top1) == (50.0, 50.0)
        # The label of sample 3 is the lowest of six for float alone.
        assert (votes.top5_float, votes.top5) == (75.0, 100.0)


@pytest.mark.parametrize(
    ("labels", "wrong"),
    [([0, 1, 2, 6], 1), ([0, -1, 2, 7], 2), ([0.0, 0.5, 1.0, 2.0], 1), (["0", "1", "2", "a"], 4)],
)
def test_labels_that_are_no_class_are_refused(labels: list[object], wrong: int) -> None:
    """Six classes: one off is what counting from 1 gives."""
    scores = np.eye(4, 6, dtype=np.float32)
    with pytest.raises(DataError, match=f"^{wrong} of 4 labels are not classes .* from 0 to 5$"):
        look(permuted([0, 1, 2, 3, 4, 5]), batches(scores, 2, np.asarray(labels)))


def test_without_labels_there_is_agreement_and_no_accuracy() -> None:
    (votes,) = look(permuted([1, 0, 2, 3, 4, 5]), batches(X, 8)).literal.classes
    both = (X.argmax(axis=1) == X[:, [1, 0, 2, 3, 4, 5]].argmax(axis=1)).mean()
    assert votes.agreement == pytest.approx(100 * both)
    assert (votes.top1, votes.top1_float, votes.top5, votes.top5_float) == (None,) * 4


def test_the_float_choice_may_be_anywhere_among_five() -> None:
    scores = np.asarray([[9, 5, 4, 3, 2, 1]], np.float32)

    def share(order: list[int]) -> float:
        return look(permuted(order), batches(scores, 1)).literal.classes[0].agreement5

    # Class 0 comes last of six, though all between keep their places; then last but one.
    assert share([5, 1, 2, 3, 4, 0]) == 0.0
    assert share([4, 1, 2, 3, 0, 5]) == 100.0


def test_ties_among_many_classes() -> None:
    net = Net()
    many = net.model(net.node("Identity", [net.input("x", ("n", 1000))], "y"))
    scores = np.tile(np.arange(1000, dtype=np.float32) % 2, (2, 1))
    data = [Batch({"x": scores}, np.asarray([1, 11]))]
    (votes,) = compare(many, many, data, latency=False).literal.classes
    assert (votes.top1, votes.top5) == (50.0, 50.0)


def test_ties_go_to_the_lower_class() -> None:
    tied = np.ones((2, 6), np.float32)
    (votes,) = look(identity(), batches(tied, 2, np.asarray([0, 5]))).literal.classes
    assert (votes.top1, votes.top5) == (50.0, 50.0)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((8, 10), True),
        ((8, 10, 1, 1), True),
        ((8, 2), True),
        ((8, 1), False),
        ((8,), False),
        ((8, 10, 2), False),
        ((8, 3, 16, 16), False),
    ],
)
def test_what_is_a_classifier(shape: tuple[int, ...], expected: bool) -> None:
    assert is_classifier(np.zeros(shape, np.float32)) == expected
    assert not is_classifier(np.zeros(shape, bool)), "a mask has no classes"


# ---- the two readings


def pairs(*scales: float) -> onnx.ModelProto:
    """One Q/DQ pair behind the other."""
    net = Net()
    end = net.input("x", SHAPE)
    net.constant("zero", 0, np.int8)
    for i, scale in enumerate(scales):
        grid = [net.constant(f"s{i}", scale), "zero"]
        codes = net.node("QuantizeLinear", [end, *grid], f"q{i}")
        end = net.node("DequantizeLinear", [codes, *grid], f"d{i}")
    return net.model(end)


@pytest.mark.parametrize("scales", [(0.03, 0.05), (0.05, 0.03)])
def test_the_double_pair_remover_is_caught(scales: tuple[float, float]) -> None:
    """onnxruntime runs one pair where the file says two, silently."""
    x = RANDOM.uniform(-3, 3, (200, 6)).astype(np.float32)
    float_model = identity()
    float_model.graph.output[0].name = float_model.graph.node[0].output[0] = "d1"
    found = compare(float_model, pairs(*scales), batches(x, 50), latency=False)
    assert found.readings_differ
    # The literal reading is what the file says.
    said = x
    for scale in np.asarray(scales, np.float32):
        said = np.rint(said / scale).clip(-128, 127) * scale
    assert found.literal.outputs[0].max_abs == pytest.approx(np.abs(x - said).max(), rel=1e-4)


def test_a_single_pair_is_read_alike() -> None:
    float_model = identity()
    float_model.graph.output[0].name = float_model.graph.node[0].output[0] = "d0"
    found = compare(float_model, pairs(0.03), batches(X, 8), latency=False)
    assert found.gap[0].max_abs == 0.0 and not found.readings_differ
    assert found.literal.outputs[0].max_abs <= 0.015001


def test_readings_differ_by_the_worst_output() -> None:
    def reading(*db: float) -> tuple[OutputError, ...]:
        return tuple(OutputError(f"y{i}", 0, 0, d, 1, 0) for i, d in enumerate(db))

    found = Verification(
        samples=1,
        deployed=ReadingResult((), ()),
        literal=ReadingResult(reading(30, 20), ()),
        gap=reading(50, 40),
        kernels=Kernels(0, 0, {}),
        latency=None,
    )
    assert not found.readings_differ
    assert replace(found, gap=reading(50, 22)).readings_differ
    assert replace(found, gap=reading(31, 60)).readings_differ
    assert not replace(found, gap=reading(math.inf, math.inf)).readings_differ
    # Where nothing is quantized, another order of the same float32 sums is not a difference.
    equal = replace(found, literal=ReadingResult(reading(math.inf, math.inf), ()))
    assert not replace(equal, gap=reading(142, math.inf)).readings_differ
    assert replace(equal, gap=reading(60, math.inf)).readings_differ


def test_the_drop_is_the_worst_of_outputs_and_readings() -> None:
    found = look(identity(), batches(X, 8))
    assert found.drop is None

    def votes(before: float | None, after: float | None) -> Classification:
        return Classification("y", 10, 100.0, 100.0, before, after)

    def dropped(*deployed: Classification) -> float | None:
        literal = replace(found.literal, classes=(votes(80.0, 79.5),))
        return replace(
            found, literal=literal, deployed=replace(found.deployed, classes=deployed)
        ).drop

    assert dropped() == 0.5
    assert dropped(votes(80.0, 81.0), votes(90.0, 87.0), votes(None, None)) == 3.0


def test_an_engine_that_runs_something_else_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever runs the deployed reading, the literal one stays onnxruntime's, unfused."""
    loaded: list[onnx.ModelProto] = []

    def load(model: onnx.ModelProto, settings: Settings) -> Session:
        loaded.append(model)
        return Session(scaled(0.5), settings)

    engine = Engine(
        "wrong", load, lambda _model, _loaded: Kernels(1, 2, {}, "heavy ops", ("a", "b"))
    )
    monkeypatch.setattr("oq.comparison.compare.find_engine", {"wrong": engine}.__getitem__)
    exact, rounded = identity(), scaled(1.01)
    found = compare(exact, rounded, batches(X, 8), engine="wrong")
    assert found.engine == "wrong" and found.readings_differ
    assert found.literal.outputs[0].sqnr_db == pytest.approx(40, abs=0.01)
    assert found.deployed.outputs[0].sqnr_db == pytest.approx(20 * math.log10(2))
    assert found.kernels.left == ("a", "b")
    assert loaded == [rounded, exact, rounded]  # to run, and both for the latency


# ---- latency


def test_latency_is_positive_and_a_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    found = measure_latency(identity(), scaled(2.0), Batch({"x": X[:8]}))
    assert found.batch == 8
    assert found.float_ms > 0 and found.quantized_ms > 0 and found.ratio > 0
    # A model of a hundred layers takes longer than one that does nothing.
    net = Net()
    end = net.input("x", SHAPE)
    for i in range(100):
        end = net.node("MatMul", [end, net.weight(f"w{i}", 6, 6)], f"y{i}")
    slow = measure_latency(identity(), net.model(end), Batch({"x": X[:8]}))
    assert slow.ratio > 2


def test_a_model_onnxruntime_cannot_load() -> None:
    broken = identity()
    broken.graph.node[0].op_type = "NoSuchOp"
    with pytest.raises(ModelError, match="onnxruntime cannot load the model"):
        look(broken, batches(X, 8))


def test_progress_is_told_in_samples() -> None:
    seen: list[int] = []
    compare(identity(), identity(), batches(X, 8), latency=False, progress=seen.append)
    assert seen == [8, 16, 24, 30]


def test_a_float_model_that_answers_nan_has_not_collapsed() -> None:
    model = small("net (float[n,3] x) => (float[n,3] y) { z = Sub(x, x) y = Div(z, z) }", {})
    batches = [Batch({"x": normal(4, 3)})]
    found = compare(model, model, batches, latency=False)
    assert found.collapse == () and found.literal.outputs[0].nan_in_float == 12
    fine = small("net (float[n,3] x) => (float[n,3] y) { y = Identity(x) }", {})
    assert compare(fine, model, batches, latency=False).collapse


def test_scores_that_are_nan_in_float_have_no_class_to_agree_with() -> None:
    """A layer with NaN weights: int8 makes numbers of them, which agree with nothing."""
    scores = normal(10, 3)
    scores[2:] = np.nan
    exact = small("net (float[n,3] x) => (float[n,3] y) { y = Identity(x) }", {})
    finite = small(
        "net (float[n,3] x) => (float[n,3] y) { m = IsNaN(x) y = Where(m, o, x) }",
        {"o": np.ones(1, np.float32)},
    )
    [votes] = compare(exact, finite, [Batch({"x": scores})], latency=False).literal.classes
    assert (votes.samples, votes.agreement) == (2, 100.0)
    found = compare(exact, finite, [Batch({"x": scores[2:]})], latency=False)
    assert found.literal.classes == () and found.collapse == ()


@pytest.mark.parametrize(("turned", "lost"), [(3, False), (7, True)])
def test_classes_that_an_argmax_chose_are_counted_and_their_difference_is_not(
    turned: int, lost: bool
) -> None:
    """Class 0 for 99 is no larger an error than 98 for 99."""
    scores, other = np.eye(100, dtype=np.float32)[90:], np.eye(100, dtype=np.float32)
    other[100 - turned :, 0] = 2
    text = (
        "net (float[n,100] x) => (uint8[n] y) "
        "{ m = MatMul(x, w) i = ArgMax<axis = 1, keepdims = 0>(m) y = Cast<to = 2>(i) }"
    )
    exact, found = (small(text, {"w": w}) for w in (np.eye(100, dtype=np.float32), other))
    seen = compare(exact, found, [Batch({"x": scores}, np.arange(90, 100))], latency=False)
    [votes], [error] = seen.literal.classes, seen.literal.outputs
    assert (votes.agreement, votes.samples) == (100 - 10 * turned, 10)
    assert (votes.top1_float, votes.top1) == (100.0, 100 - 10 * turned)
    assert votes.top5 is None and error.equal == votes.agreement
    assert bool(seen.collapse) is lost and all("top-1" in text for text in seen.collapse)


def test_flags_and_indices_are_judged_by_how_many_are_equal() -> None:
    text = "net (float[n,4] x) => (bool[n,4] y) { y = Greater(x, t) }"
    x = np.tile(np.arange(4, dtype=np.float32), (5, 1))
    first, near, far = (small(text, {"t": np.array(t, np.float32)}) for t in (2.5, 1.5, -1.0))
    seen = compare(first, near, [Batch({"x": x})], latency=False)
    assert seen.literal.outputs[0].equal == 75.0
    assert seen.literal.outputs[0].sqnr_db == 0.0 and not seen.collapse
    assert compare(first, far, [Batch({"x": x})], latency=False).collapse


def test_one_class_without_axes_is_counted() -> None:
    """The ArgMax of a vector is a number."""
    model = small("net (float[5] x) => (int64 y) { y = ArgMax<axis = 0, keepdims = 0>(x) }")
    x = np.arange(5, dtype=np.float32)
    [votes] = compare(model, model, [Batch({"x": x})], latency=False).literal.classes
    assert (votes.samples, votes.agreement, votes.positions) == (1, 100.0, False)
