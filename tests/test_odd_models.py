"""Odd models, old and new opsets come out legal for every target."""

from pathlib import Path

import numpy as np
import onnx
import pytest

import oq
from oq import pipeline
from oq.checks.judgement import judge
from oq.engines.onnxruntime import INTEGER_KERNELS
from oq.model.session import Session, Settings, optimized_ops
from oq.planning import registry
from oq.planning.overrides import Mode
from oq.prepare.order import QUANTIZED
from tests.odd_models import ODD, of_opset, shared_symbol
from tests.small import normal

TARGETS = registry.names("targets")
UNLOADABLE = {"namesakes"}
"""What onnxruntime refuses as it is, and oq repairs: there is no original to compare with."""

UNTOUCHED = {"nothing_to_do"}
"""Where no target finds anything to quantize."""

DISPUTED = {"computed_weight", "other_ranks"}
"""Where some targets do."""


def quantized(
    model: Path | onnx.ModelProto, target: str, *, verify: bool = True, mode: Mode = "hybrid"
) -> pipeline.Result:
    """``model`` for ``target``: legal, checked by ONNX, loaded in both readings."""
    samples = 8 if verify else 2
    refine = None if verify else "none"
    result = oq.quantize(
        model, target, "random", samples=samples, verify=verify, refine=refine, mode=mode
    )
    onnx.checker.check_model(result.model, full_check=True)
    Session(result.model)
    Session(result.model, Settings("literal"))
    if any(n.op_type in QUANTIZED for n in result.model.graph.node):
        found = judge(result.model, registry.target(target))
        assert [f for f in found.findings if f.severity == "error"] == []
        if target == "ort":
            kernels = optimized_ops(result.model)
            integers = sum(n for op, n in kernels.items() if op in INTEGER_KERNELS)
            assert found.forecast.kernels == integers
    return result


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ODD)
def test_odd_models(name: str, target: str) -> None:
    result = quantized(ODD[name](), target, verify=name not in UNLOADABLE)
    plan = result.report.plan
    if name in UNTOUCHED:
        assert not plan.sites
    elif name not in DISPUTED:
        assert plan.sites
    assert all(skip.reason for skip in plan.skips)
    found = result.report.verification
    for output in () if found is None else found.literal.outputs:
        if output.resized:
            continue
        assert output.nonfinite == 0
        assert output.sqnr_db > (3 if name == "computed_weight" else 10)


@pytest.mark.parametrize("name", ODD)
def test_odd_models_are_what_they_claim(name: str) -> None:
    model = ODD[name]()
    onnx.checker.check_model(model, full_check=True)
    if name not in UNLOADABLE:
        Session(model)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("opset", range(7, 24))
def test_every_opset(opset: int, target: str) -> None:
    result = quantized(of_opset(opset), target)
    written = max(opset, registry.target(target).min_opset)
    assert result.model.opset_import[0].version == written
    assert {"Conv", "Gemm"} <= {op for g in result.report.plan.groups for op in g.ops}
    found = result.report.verification
    assert found is not None and found.literal.outputs[0].sqnr_db > 20


@pytest.mark.parametrize("target", TARGETS)
def test_one_name_for_axes_of_different_sizes(target: str) -> None:
    """onnxruntime believes names of axes, and shares memory between tensors of one shape."""
    model = shared_symbol()
    found = oq.quantize(model, target, {"x": normal(32, 4, 16, 16)}).report.verification
    assert found is not None and [o.resized for o in found.deployed.outputs] == [0, 0, 0]


def test_a_shared_weight_is_stored_once() -> None:
    made = quantized(ODD["shared_weight"](), "trt").model
    codes = [t for t in made.graph.initializer if t.data_type == onnx.TensorProto.INT8 and t.dims]
    assert [tuple(t.dims) for t in codes if len(t.dims) == 4] == [(4, 4, 3, 3)]


def test_a_tied_table_is_looked_up_and_multiplied() -> None:
    """Both uses survive; the product reads integer codes on both sides."""
    made = quantized(ODD["tied_gemm"](), "ort").model
    kernels = optimized_ops(made)
    assert kernels["Gather"] == 1 and kernels["QGemm"] == 1


def test_bodies_are_named_as_left_out() -> None:
    plan = pipeline.make_plan(ODD["branches"](), "trt")
    reason = next(s.reason for s in plan.skips if s.op == "If")
    assert reason == "it contains subgraphs, and oq quantizes only the main graph"
    assert not [s for s in pipeline.make_plan(ODD["branches"](), "ort").skips if s.op == "If"]


def test_outputs_keep_their_names_and_order() -> None:
    for name in ("outputs_inside", "output_twice", "many_outputs", "strange_names"):
        model = ODD[name]()
        made = oq.quantize(model, "ort", "random", samples=2, verify=False).model
        assert [o.name for o in made.graph.output] == [o.name for o in model.graph.output]
        assert [i.name for i in made.graph.input] == [i.name for i in model.graph.input]


def test_same_bytes_whatever_the_nodes_are_called() -> None:
    """Names given to nameless nodes do not depend on anything outside the file."""
    first, second = (
        oq.quantize(ODD["nameless"](), "ort", "random", samples=2, verify=False).model
        for _ in range(2)
    )
    assert first.SerializeToString() == second.SerializeToString()
    names = [n.name for n in first.graph.node]
    assert all(names) and len(names) == len(set(names))
    assert np.unique(names).size == len(names)
