"""What a mean of decibels hides: an output, or a channel, that is lost; a device's rounding."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from oq.dpu.simulate import Simulator
from oq.model.graph import Graph
from oq.model.session import run as run_model
from oq.numerics.values import Array
from oq.refine import order, run
from oq.refine.judge import Judge, Verdict, is_better
from oq.refine.run import refine
from oq.refine.step import Step
from oq.refine.subject import Change, Subject
from tests.dpu.shifts import ShiftNet
from tests.graphs import Net
from tests.refine.nets import batches, subject

HELD = batches(3, seed=11)


def heads(*, joined: bool) -> onnx.ModelProto:
    """Two heads behind a convolution; ``joined`` as channels of one output, else two outputs."""
    net = Net()
    body = net.node("Relu", [net.conv(net.input("x"), "a")], "ra")
    net.conv(body, "boxes")
    net.conv(body, "scores")
    if not joined:
        return net.model("boxes", "scores")
    net.node("Concat", ["boxes", "scores"], "y", axis=1)
    return net.model("y")


def trade(subject: Subject) -> Change:
    """The boxes become exact where their means were wrong by far; the scores are destroyed."""
    boxes, scores = subject.constant("b_boxes"), subject.constant("b_scores")
    return Change({"b_boxes": boxes - 50, "b_scores": scores + 2}, "traded")


@pytest.mark.parametrize("joined", [False, True])
def test_a_step_that_destroys_an_output_or_its_channels_is_dropped(
    joined: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "STEPS", {"trade": Step("", trade), **order.STEPS})
    before = subject(heads(joined=joined))
    spoiled = before.put({"b_boxes": before.constant("b_boxes") + 50})
    (outcome,) = refine(("trade",), spoiled, HELD, lambda s, _: s).outcomes
    assert outcome.after_db > outcome.before_db + 3, "by the mean it would be kept"
    assert not outcome.kept
    what = "channel 4 of 'y'" if joined else "output 'scores'"
    assert outcome.note.startswith(f"traded; {what} falls from ")


def test_an_output_that_is_found_again_may_cost_a_little_of_the_mean() -> None:
    lost = Verdict(30.0, ("a", "b"), (58.0, 2.0), ({}, {}))
    found = Verdict(29.2, ("a", "b"), (38.4, 20.0), ({}, {}))
    assert is_better(found, lost) and not is_better(lost, found)
    dear = Verdict(28.5, ("a", "b"), (37.0, 20.0), ({}, {}))
    assert not is_better(dear, lost)


def test_a_channel_of_few_values_or_below_the_noise_is_not_judged() -> None:
    before = Verdict(20.0, ("y",), (20.0,), ({0: 20.0, 1: 5.0},))
    assert is_better(Verdict(21.0, ("y",), (21.0,), ({0: 21.0, 1: 2.5},)), before), "by chance"
    assert not is_better(Verdict(21.0, ("y",), (21.0,), ({0: 21.0, 1: 1.5},)), before)
    assert is_better(Verdict(21.0, ("y",), (21.0,), ({0: 21.0, 2: 0.0},)), before)


def test_infinite_values_lose_an_output_and_equal_ones_are_no_error() -> None:
    net = heads(joined=False)
    judge = Judge(net, Graph(net).view(), HELD)
    assert judge.compare(net).outputs == (150.0, 150.0)
    broken = onnx.ModelProto()
    broken.CopyFrom(net)
    (bias,) = (t for t in broken.graph.initializer if t.name == "b_scores")
    bias.CopyFrom(numpy_helper.from_array(np.full(4, np.inf, np.float32), "b_scores"))
    found = judge.compare(broken)
    assert found.outputs == (150.0, -np.inf) and found.db == -np.inf
    assert not is_better(found, judge.compare(net)) and is_better(judge.compare(net), found)


def halved() -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """A ReLU that the device rounds to one position less: codes of 1 and 5 are ties."""
    net = ShiftNet()
    quantized = net.model(
        net.pair(net.node("Relu", [net.pair(net.input("x", ("n", 8)), 0)], "r"), -1)
    )
    other, name = Net(), quantized.graph.output[0].name
    other.node("Relu", [other.input("x", ("n", 8))], "r")
    other.node("Identity", ["r"], name)
    return other.model(name), quantized


def test_the_judge_rounds_as_the_device_does() -> None:
    exact, quantized = halved()
    held = ({"x": np.arange(8, dtype=np.float32).reshape(1, 8) + np.float32(0.25)},)

    def db(found: Array) -> float:
        wanted = run_model(exact, held[0])[exact.graph.output[0].name].astype(np.float64)
        return float(10 * np.log10((wanted**2).sum() / ((wanted - found) ** 2).sum()))

    view = Graph(exact).view()
    figures = {e: Judge(exact, view, held, e).compare(quantized).db for e in ("dpu", "onnxruntime")}
    simulated = Simulator(quantized).run(held[0])[0].astype(np.float64)
    literal = run_model(quantized, held[0])[quantized.graph.output[0].name].astype(np.float64)
    assert figures["dpu"] == pytest.approx(db(simulated), abs=1e-9)
    assert figures["onnxruntime"] == pytest.approx(db(literal), abs=1e-9)
    assert figures["dpu"] != pytest.approx(figures["onnxruntime"], abs=0.1)


@pytest.mark.parametrize(("last", "engine", "said"), [
    ("Softmax", "onnxruntime", "SQNR before the Softmax"),
    ("Sigmoid", "dpu", "SQNR before the Sigmoid as dpu rounds"),
    ("Relu", "onnxruntime", "output SQNR"),
])  # fmt: skip
def test_it_says_what_it_measures(last: str, engine: str, said: str) -> None:
    net = Net()
    net.node(last, [net.conv(net.input("x"), "a")], "y")
    found = subject(net.model("y"))
    assert Judge(found.model, found.view, (), engine).measure == said
