"""Whole runs on trained models: accuracy, the laws, and what each target's file must look like."""

from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import oq
from oq.comparison.compare import Verification
from oq.model.session import optimized_ops
from oq.numerics.values import Array
from oq.planning import registry
from oq.planning.explain import weighted_layers
from tests.real import CIFAR, IMAGENET, needs_real

BUNDLED = Path(__file__).parents[1] / "models" / "bundled"
MODELS = sorted(p.stem for p in BUNDLED.glob("*.onnx"))
TARGETS = registry.names("targets")
every = pytest.mark.parametrize(
    ("name", "target"), [(name, target) for name in MODELS for target in TARGETS]
)


@cache
def quantized(name: str, target: str) -> oq.Result:
    return oq.quantize(BUNDLED / f"{name}.onnx", target, BUNDLED / "digits_calib.npz", verify=False)


@cache
def verified(name: str, target: str) -> Verification:
    return oq.verify(
        BUNDLED / f"{name}.onnx",
        quantized(name, target).model,
        BUNDLED / "digits_eval.npz",
        latency=False,
    )


def constants(model: onnx.ModelProto) -> dict[str, Array]:
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def nodes(model: onnx.ModelProto, op: str) -> list[onnx.NodeProto]:
    return [n for n in model.graph.node if n.op_type == op]


@every
def test_accuracy_stays_within_a_point(name: str, target: str) -> None:
    found = verified(name, target)
    for reading in (found.deployed, found.literal):
        (votes,) = reading.classes
        assert votes.top1 is not None and votes.top1_float is not None
        assert votes.top1 >= votes.top1_float - 1.0
        assert votes.agreement >= 98.0
        assert reading.outputs[0].sqnr_db > 25
        assert reading.outputs[0].nonfinite == 0
    assert not found.readings_differ


@every
def test_two_runs_write_the_same_bytes(name: str, target: str, tmp_path: Path) -> None:
    files = [tmp_path / "a.onnx", tmp_path / "b.onnx"]
    quantized(name, target).save(files[0])
    again = oq.quantize(
        BUNDLED / f"{name}.onnx", target, BUNDLED / "digits_calib.npz", verify=False
    )
    again.save(files[1])
    assert files[0].read_bytes() == files[1].read_bytes()


@every
def test_a_file_is_legal_and_loads(name: str, target: str, tmp_path: Path) -> None:
    file = tmp_path / "out.onnx"
    quantized(name, target).save(file)
    assert oq.check(file, target) == ()
    onnx.checker.check_model(str(file), full_check=True)
    assert sum(optimized_ops(onnx.load(file)).values()) > 0


@every
def test_interface_and_names_survive(name: str, target: str) -> None:
    before, after = onnx.load(BUNDLED / f"{name}.onnx"), quantized(name, target).model
    for kind in ("input", "output"):
        sides = [getattr(m.graph, kind) for m in (before, after)]
        assert [v.name for v in sides[0]] == [v.name for v in sides[1]]
        assert [v.type for v in sides[0]] == [v.type for v in sides[1]]


@every
def test_weights_are_stored_as_int8_and_their_float_copies_are_gone(name: str, target: str) -> None:
    result = quantized(name, target)
    stored = constants(result.model)
    for node in nodes(result.model, "DequantizeLinear"):
        if node.input[0] in stored:
            assert stored[node.input[0]].dtype in (np.int8, np.uint8, np.int32)
    read = {t for n in result.model.graph.node for t in n.input}
    assert set(stored) <= read
    # A quarter of the bytes and some for scales and nodes; these models are tiny.
    assert result.report.bytes_after < 0.55 * result.report.bytes_before


@pytest.mark.parametrize("name", MODELS)
def test_trt_files_hold_what_tensorrt_imports(name: str) -> None:
    model = quantized(name, "trt").model
    stored = constants(model)
    for op in ("QuantizeLinear", "DequantizeLinear"):
        assert nodes(model, op)
        for node in nodes(model, op):
            zero = stored[node.input[2]]
            assert zero.dtype == np.int8 and not zero.any()
            assert (stored[node.input[1]] > 0).all()
    weights = [v for v in stored.values() if v.dtype == np.int8 and v.ndim >= 2]
    assert weights and all(v.min() >= -127 for v in weights)
    quantized_outputs = {n.output[0] for n in nodes(model, "DequantizeLinear")}
    assert not quantized_outputs & {o.name for o in model.graph.output}


def test_ort_runs_the_residual_network_in_integers() -> None:
    ops = verified("residual", "ort").kernels.ops
    assert ops["QLinearConv"] == 8 and ops["QLinearAdd"] == 3 and ops["QGemm"] == 1
    assert not set(ops) & {"Conv", "FusedConv", "Gemm", "FusedGemm", "Add", "Relu"}
    model = quantized("residual", "ort").model
    stored = constants(model)
    zeros = [stored[n.input[2]] for n in nodes(model, "QuantizeLinear")]
    assert {zero.dtype.name for zero in zeros} == {"uint8"}
    biases = [v for v in stored.values() if v.dtype == np.int32]
    assert len(biases) >= 9


@every
def test_names_stay_unique(name: str, target: str) -> None:
    model = quantized(name, target).model
    counts = Counter(t for n in model.graph.node for t in n.output)
    assert max(counts.values()) == 1
    assert len({n.name for n in model.graph.node}) == len(model.graph.node)


# ---- real models


@needs_real
@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "target"),
    [
        *(("resnet20.onnx", target) for target in TARGETS),
        ("resnet20_torchscript_opset13.onnx", "ort"),  # the same numbers, as the next test shows
    ],
)
def test_resnet20(file: str, target: str) -> None:
    model, calib = CIFAR / file, CIFAR / "calib.npz"
    result = oq.quantize(model, target, calib, verify=False)
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


@needs_real
def test_both_exports_of_resnet20_become_the_same_numbers() -> None:
    """The exporters write different graphs; their kernels and scales must be the same."""
    calib = CIFAR / "calib.npz"
    found = []
    for file in ("resnet20.onnx", "resnet20_torchscript_opset13.onnx"):
        result = oq.quantize(CIFAR / file, "ort", calib, samples=64, verify=False)
        values = constants(result.model)
        weights = [v for v in values.values() if v.dtype == np.int8 and v.ndim >= 2]
        found.append(
            (
                Counter(g.ops for g in result.report.plan.groups if g.ops[0] != "Slice"),
                sorted(hash(w.tobytes()) for w in weights),
            )
        )
    assert found[0][1] == found[1][1]
    assert found[0][0]["Conv", "Relu"] == found[1][0]["Conv", "Relu"]


@needs_real
@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_mobilenet(target: str) -> None:
    model = IMAGENET / "mobilenetv1_025.onnx"
    result = oq.quantize(
        model,
        target,
        IMAGENET / "calib",
        preprocess="imagenet-tf",
        samples=64,
        verify=False,
    )
    done, total = weighted_layers(result.report.plan)
    # Two first layers see 3 and 8 channels; 22 uneven ones get a convolution that scales them.
    assert (done, total) == {"ort": (26, 28), "dpu": (50, 50)}.get(target, (28, 28))
    assert oq.check(result.model, target) == ()
    onnx.checker.check_model(result.model, full_check=True)
    found = oq.verify(
        model,
        result.model,
        IMAGENET / "eval",
        preprocess="imagenet-tf",
        labels=IMAGENET / "eval_labels.csv",
        samples=64,
        latency=False,
    )
    (votes,) = found.literal.classes
    # Unrefined, 76 to 78 agree, and 31 on the dpu: one power of two per tensor, int8 biases.
    # (Top-1 of 64 photographs says less: three of them are five points.)
    assert votes.agreement >= (70 if target == "dpu" else 83)
    assert found.literal.outputs[0].nonfinite == 0
