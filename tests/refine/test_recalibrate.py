"""Float models that steps make are calibrated anew only where their tensors have moved."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import pytest

from oq.calibration.job import Job
from oq.data.source import Fitted, open_source
from oq.model.proto_fields import inputs_of
from oq.model.session import Session, Settings, expose
from oq.numerics.statistics import EMPTY
from oq.planning import registry
from oq.planning.overrides import Overrides
from oq.planning.setup import make_methods, needs_of, plan_model
from oq.refine.absorb import absorb
from oq.refine.equalize import equalize
from oq.refine.recalibrate import Calibration
from oq.refine.rescale import rescale
from oq.refine.subject import Change, Subject
from tests.graphs import Net
from tests.refine.nets import NETS, batches, subject
from tests.refine.test_equalize import far, relu_chain
from tests.refine.test_rescale import clipped


def matrices() -> onnx.ModelProto:
    """Two MatMuls with their biases in Adds, a Relu between them that never cuts."""
    net = Net()
    net.node("MatMul", [net.input("x"), net.weight("w_a", 8, 8)], "a")
    net.node("Relu", [net.node("Add", ["a", net.constant("b_a", np.full(8, 9))], "s")], "r")
    net.node("MatMul", ["r", net.weight("w_b", 8, 8)], "b")
    net.node("Add", ["b", net.weight("b_b", 8)], "y")
    return net.model("y")


CASES = [
    (absorb, matrices, "dpu"),
    (equalize, NETS["separable"], "trt"),
    (equalize, NETS["residual"], "dpu"),
    (equalize, relu_chain, "trt"),
    (equalize, clipped, "dpu"),
    (absorb, NETS["separable"], "dpu"),
    (absorb, clipped, "trt"),
    (rescale, clipped, "dpu"),
]


@pytest.mark.parametrize(("step", "net", "target"), CASES)
def test_steps_name_every_tensor_that_moves(
    step: Callable[[Subject], Change], net: Callable[[], onnx.ModelProto], target: str
) -> None:
    before = subject(net(), target)
    change = step(before)
    assert change.constants and change.moved is not None
    after = before.remade(change)
    tensors = [t for n in before.view.nodes for t in n.outputs if before.view.is_float(t)]
    assert change.moved < set(tensors)
    values = [Session(expose(s.model, tensors)).run(batches()[0], tensors) for s in (before, after)]
    moved = {t for t, a, b in zip(tensors, *values, strict=True) if far(b, a) > 1e-5}
    assert moved <= change.moved


def recalibration(target: str) -> tuple[Calibration, Subject, Fitted]:
    """Of the equalized net of three layers, with the statistics of the float model."""
    model = relu_chain()
    planned = plan_model(model, registry.target(target), Overrides())
    data = {"x": np.concatenate([b["x"] for b in batches(8)])}
    source = open_source(data, inputs_of(model))
    methods = make_methods("minmax", {}, Overrides())
    job = Job(planned.model, planned.view, needs_of(planned, methods), None, Settings())
    made = Calibration(planned, methods, job, {}, "max", calibrated=False)
    seen = made.measure(source, None).statistics
    begun = Subject(
        *(planned.model, planned.view, planned.plan, made.solve(seen), batches(), source), seen=seen
    )
    return made, begun, source


def test_what_has_not_moved_is_not_measured_again() -> None:
    made, before, source = recalibration("trt")
    *_, last = before.seen
    change = replace(equalize(before), moved=frozenset({last}), seen={})
    marked = replace(before, seen={t: replace(EMPTY, count=1, lo=-2, hi=3) for t in before.seen})
    after = made.recalibrate(marked.remade(change), source, None)
    assert {t for t in after.seen if after.seen[t] is not marked.seen[t]} == {last}


def test_extremes_of_scaled_channels_follow_from_those_before() -> None:
    """Nothing is measured again for them, and they are what a measurement gives."""
    made, before, source = recalibration("trt")
    change = equalize(before)
    after = before.remade(change)
    assert set(change.seen) == {"lb", "rc", "rg"} & set(before.seen)
    measured = made.recalibrate(replace(after, seen={}), source, None).seen
    for tensor, found in change.seen.items():
        assert after.seen[tensor] is found
        assert found.count == measured[tensor].count
        ends, wanted = ([s.lo, s.hi] for s in (found, measured[tensor]))
        np.testing.assert_allclose(ends, wanted, rtol=1e-5, atol=1e-6)
    masked = {t: replace(s, masked=1) for t, s in before.seen.items()}
    assert not equalize(replace(before, seen=masked)).seen
    assert not equalize(replace(before, source=None)).seen  # of some samples alone


@pytest.mark.parametrize("calibrator", [None, "mse"])
def test_the_grids_are_those_of_all_measured_again(calibrator: str | None) -> None:
    made, before, source = recalibration("trt")
    partly = made.recalibrate(before.remade(equalize(before)), source, calibrator)
    wholly = made.recalibrate(replace(before.remade(equalize(before)), seen={}), source, calibrator)
    for site, grid in wholly.solution.grids.items():
        np.testing.assert_allclose(partly.solution.grids[site].scale, grid.scale, rtol=1e-5)


def test_known_ranges_are_not_measured() -> None:
    made, before, source = recalibration("trt")
    whole = made.recalibrate(replace(before, seen={}), source, None)
    known = {"rc": whole.solution.ranges["rc"]}
    found = made.recalibrate(replace(before, seen={}, known=known), source, None)
    assert set(whole.seen) - set(found.seen) == {"rc"}
    assert found.solution.grids == whole.solution.grids
