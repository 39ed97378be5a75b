"""Every light model of the onnx package comes out legal for every target, and with its options.

``make soak`` runs all of them; ``make test`` leaves out what repeats the structure of others.
"""

import os

import numpy as np
import onnx
import pytest

from oq import pipeline
from oq.checks.judgement import judge
from oq.emission.solve import solve
from oq.emission.write import write_graph
from oq.model.files import load_model
from oq.model.session import Session, Settings
from oq.numerics.values import Range
from oq.planning import registry
from oq.planning.overrides import Overrides
from oq.planning.setup import make_methods, own_target, plan_model, tensors_to_calibrate
from oq.prepare.order import QUANTIZED
from oq.refine.subject import Subject
from tests.light import FOLDER, HUGE, LIGHT, light, narrow
from tests.test_odd_models import quantized
from tests.test_targets import NEEDED

TARGETS = registry.names("targets")
LAYERS = {
    "bvlc_alexnet": 8,
    "densenet121": 121,
    "inception_v1": 58,
    "inception_v2": 70,
    "resnet50": 54,
    "shufflenet": 50,
    "squeezenet": 26,
    "vgg19": 19,
    "zfnet512": 8,
}
"""Convolutions and linear layers, as counted in the files."""

DPU = {"bvlc_alexnet": 3, "densenet121": 62, "shufflenet": 32 * 3}
"""Convolutions more on AMD's DPU: one per group, and those that normalize."""

ADDED = {"dpu": DPU, "ort": {"densenet121": 62}}

OPTIONS = tuple(
    (target, key, value)
    for target in TARGETS
    for key, values in (registry.target(target).options or {}).items()
    for value in list(values)[1:]
    if key not in {"attention", "conv_transpose", "sigmoid"} and (target, key) not in NEEDED
)
"""Every value that is not the default of the options that touch a convolutional network."""

VARIED = ("bvlc_alexnet", "densenet121", "shufflenet")
"""Linear layers and LRN; BatchNormalization and Concat at every depth; groups, residual sums and
averages: the other six are chains of the same."""

NO_LINEAR_LAYER: dict[str, tuple[str, ...]] = {"ort": ("densenet121", "squeezenet")}
NO_LINEAR_LAYER["trt"] = (*NO_LINEAR_LAYER["ort"], "shufflenet")
"""Nothing in them has weights in blocks (ShuffleNet's one product has no whole ones for trt)."""


LARGE = {
    "densenet121": ("dpu", "ort"),
    "resnet50": ("coreml", "trt"),
    "inception_v2": ("ort",),
    "vgg19": ("openvino",),
}
"""The targets of the large ones in every run: more nodes, of the kinds that the others have."""

SOAK = bool(os.environ.get("OQ_SOAK"))
LONG = pytest.mark.skipif(not SOAK, reason="make soak runs it")


def model_of(name: str) -> onnx.ModelProto:
    """The model as it is, or with narrow linear layers where those are 90 % of it."""
    return narrow(name) if name in HUGE else load_model(light(name))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "target"),
    [
        pytest.param(name, target, marks=() if target in LARGE.get(name, TARGETS) else LONG)
        for name in LAYERS
        for target in TARGETS
    ],
)
def test_light_models(name: str, target: str) -> None:
    """Everything the target can run; the weights are all alike, so the numbers mean nothing."""
    plan = quantized(model_of(name), target, verify=False, mode="naive").report.plan
    weighted = {"Conv", "Gemm"}
    assert [s for s in plan.skips if s.op in weighted] == []
    added = ADDED.get(target, {}).get(name, 0)
    assert sum(op in weighted for g in plan.groups for op in g.ops) == LAYERS[name] + added


def written(model: onnx.ModelProto, target: str, settings: dict[str, str]) -> onnx.ModelProto:
    """``model`` quantized on made-up ranges, [-1, 1] everywhere: no sample is run."""
    planned = plan_model(model, own_target(target, settings), Overrides())
    known = {
        t: Range(np.asarray(-1.0), np.asarray(1.0))
        for t in tensors_to_calibrate(planned.plan, planned.view)
    }
    calibrator = make_methods("minmax", {}, Overrides()).default
    solution = solve(
        planned.plan, planned.view, {}, calibrator, known=known, legalize=planned.target.legalize
    )
    subject = Subject(planned.model, planned.view, planned.plan, solution, ())
    return write_graph(planned, subject.constants, subject.solution, {}).model


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=LONG if name in LARGE else ()) for name in VARIED]
)
@pytest.mark.parametrize(("target", "key", "value"), OPTIONS)
def test_light_models_with_options(name: str, target: str, key: str, value: str) -> None:
    made = written(model_of(name), target, {key: value})
    onnx.checker.check_model(made, full_check=True)
    Session(made, Settings("literal"))
    if key in {"weights", "dynamic"} and name in NO_LINEAR_LAYER[target]:
        assert not QUANTIZED & {n.op_type for n in made.graph.node}
        return
    found = judge(made, own_target(target, {key: value}))
    assert [f for f in found.findings if f.severity == "error"] == []


@pytest.mark.slow
@pytest.mark.skipif(not SOAK, reason="make soak runs it; test_large_models.py makes one of 200 MB")
def test_a_light_model_of_full_size() -> None:
    """AlexNet: 244 MB of weights."""
    result = quantized(light("bvlc_alexnet"), "trt", verify=False, mode="naive")
    assert sum(len(t.raw_data) for t in result.model.graph.initializer) < 70e6


def test_every_light_model_is_here() -> None:
    found = {p.stem.removeprefix("light_") for p in FOLDER.glob("light_*.onnx")}
    assert found == set(LAYERS) == {*LIGHT, *HUGE}


def test_folded_steps_and_sums_of_the_light_models() -> None:
    """Inception v2 normalizes in three nodes and ResNet-50 adds by Sum: both are undone."""
    for name in ("inception_v2", "resnet50"):
        skipped = {skip.op for skip in pipeline.make_plan(light(name), "ort").skips}
        assert not skipped & {"Add", "BatchNormalization", "Mul", "Relu", "Sum"}, name
