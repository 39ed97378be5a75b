"""Whole runs on trained models: accuracy, the laws, and what each target's file must look like."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import oq
from oq.engines.engine import DEFAULT
from oq.model.session import optimized_ops
from oq.numerics.values import Array
from oq.planning import registry
from tests.cores import ALL, on
from tests.shown import BUNDLED, GROUP, Demo, quantized

MODELS = sorted(p.stem for p in BUNDLED.glob("*.onnx"))
TARGETS = registry.names("targets")
pytestmark = GROUP
every = pytest.mark.parametrize(
    ("name", "target"), [(name, target) for name in MODELS for target in TARGETS]
)


def constants(model: onnx.ModelProto) -> dict[str, Array]:
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def nodes(model: onnx.ModelProto, op: str) -> list[onnx.NodeProto]:
    return [n for n in model.graph.node if n.op_type == op]


@every
def test_accuracy_stays_within_a_point(demo: Demo, name: str, target: str) -> None:
    found = demo.row(name, target).verification
    for reading in (found.deployed, found.literal):
        (votes,) = reading.classes
        assert votes.top1 is not None and votes.top1_float is not None
        assert votes.top1 >= votes.top1_float - 1.0
        assert votes.agreement >= 98.0
        assert reading.outputs[0].sqnr_db > 25
        assert reading.outputs[0].nonfinite == 0
    if registry.target(target).verified_in == DEFAULT:  # others round otherwise
        assert not found.readings_differ


@every
def test_two_runs_write_the_same_bytes(demo: Demo, name: str, target: str, tmp_path: Path) -> None:
    quantized(name, target).save(tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == Path(
        demo.row(name, target).output
    ).read_bytes()


@pytest.mark.skipif(len(ALL) < 2, reason="needs two cores")
def test_the_number_of_cores_changes_nothing() -> None:
    """The dpu has the most steps of refinement, and they and calibration use all cores."""
    with on({min(ALL)}):
        one = quantized.__wrapped__("residual", "dpu").model
    with on(ALL):
        many = quantized.__wrapped__("residual", "dpu").model
    assert one.SerializeToString(deterministic=True) == many.SerializeToString(deterministic=True)


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


def test_ort_runs_the_residual_network_in_integers(demo: Demo) -> None:
    ops = demo.row("residual", "ort").verification.kernels.ops
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
