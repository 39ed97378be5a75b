"""Whole runs on real models and images: one file per model and target for all that is asked."""

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import oq
from oq.dpu.simulate import Simulator
from oq.planning import registry
from oq.planning.explain import weighted_layers
from tests.real import CIFAR, IMAGENET, mobilenet, needs_real, resnet20, together

pytestmark = [needs_real, pytest.mark.slow]
TARGETS = registry.names("targets")


@pytest.mark.parametrize(
    "target", [pytest.param(target, marks=together("resnet20", target)) for target in TARGETS]
)
def test_resnet20(target: str) -> None:
    model, calib = CIFAR / "resnet20.onnx", CIFAR / "calib.npz"
    result = resnet20(target)
    layers = {"ort": 22}.get(target, 20)  # there the two padded shortcuts are convolutions
    assert weighted_layers(result.report.plan) == (layers, layers)
    assert oq.check(result.model, target) == ()
    onnx.checker.check_model(result.model, full_check=True)
    on_calib = oq.verify(model, result.model, calib, samples=128, latency=False)
    assert on_calib.literal.outputs[0].sqnr_db >= {"dpu": 20}.get(target, 25)
    found = oq.verify(model, result.model, CIFAR / "eval.npz", samples=200, latency=False)
    (votes,) = found.literal.classes
    assert votes.top1_float is not None and votes.top1 is not None
    assert votes.top1 >= votes.top1_float - 3.0  # six images of 200
    if target == "ort":
        assert found.kernels.share >= 95
        assert not found.readings_differ


def test_both_exports_of_resnet20_become_the_same_numbers() -> None:
    """The exporters write different graphs; their kernels and scales must be the same."""
    found = []
    for file in ("resnet20.onnx", "resnet20_torchscript_opset13.onnx"):
        result = oq.quantize(CIFAR / file, "ort", CIFAR / "calib.npz", samples=64, verify=False)
        assert oq.check(result.model, "ort") == ()
        onnx.checker.check_model(result.model, full_check=True)
        values = [numpy_helper.to_array(t) for t in result.model.graph.initializer]
        weights = [v for v in values if v.dtype == np.int8 and v.ndim >= 2]
        found.append(
            (
                Counter(g.ops for g in result.report.plan.groups if g.ops[0] != "Slice"),
                sorted(hash(w.tobytes()) for w in weights),
            )
        )
    assert found[0][1] == found[1][1]
    assert found[0][0]["Conv", "Relu"] == found[1][0]["Conv", "Relu"]


@together("resnet20", "dpu")
def test_resnet20_stays_within_half_a_point_on_the_dpu_and_in_integers_too() -> None:
    made = resnet20("dpu").model
    data = np.load(CIFAR / "eval.npz")
    images_, labels = data["input"][:256], data["labels"][:256]
    found = oq.verify(
        CIFAR / "resnet20.onnx", made, CIFAR / "eval.npz", samples=1000, latency=False
    )
    (votes,) = found.literal.classes
    assert votes.top1 is not None and votes.top1_float is not None
    assert votes.top1 >= votes.top1_float - 0.5
    simulator = Simulator(made)
    scores = [simulator.run({"input": images_[i : i + 16]})[0] for i in range(0, 256, 16)]
    top1 = 100 * np.mean(np.concatenate(scores).argmax(axis=1) == labels)
    assert top1 >= 78.0, "float has 80.90 on all 2,000"
    assert simulator.floats == {}


@together("resnet20", "coreml")
def test_resnet20_agrees_on_coreml() -> None:
    found = oq.verify(
        CIFAR / "resnet20.onnx",
        resnet20("coreml").model,
        CIFAR / "eval.npz",
        samples=512,
        latency=False,
    )
    (output,) = found.literal.outputs
    assert output.sqnr_db > 25
    (accuracy,) = found.literal.classes
    assert accuracy.agreement > 95


@pytest.mark.parametrize(
    "target", [pytest.param(target, marks=together("mobilenet", target)) for target in TARGETS]
)
def test_mobilenet(target: str) -> None:
    result = mobilenet(target)
    done, total = weighted_layers(result.report.plan)
    # Two first layers see 3 and 8 channels; 22 uneven ones get a convolution that scales them.
    assert (done, total) == {"ort": (26, 28), "dpu": (50, 50)}.get(target, (28, 28))
    assert oq.check(result.model, target) == ()
    onnx.checker.check_model(result.model, full_check=True)
    found = oq.verify(
        IMAGENET / "mobilenetv1_025.onnx",
        result.model,
        IMAGENET / "eval",
        preprocess="imagenet-tf",
        labels=str(IMAGENET / "eval_labels.csv"),
        samples=64,
        latency=False,
    )
    (votes,) = found.literal.classes
    # Unrefined, 76 to 78 agree, and 31 on the dpu: one power of two per tensor, int8 biases.
    # (Top-1 of 64 photographs says less: three of them are five points.)
    assert votes.agreement >= (70 if target == "dpu" else 83)
    assert found.literal.outputs[0].nonfinite == 0
