"""Every layer in a body, at any depth, is quantized or listed with its reason."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

import oq
from oq.checks.inspection import explain
from oq.model.bodies import nodes_in
from oq.model.ops import has_weight
from oq.model.session import optimized_ops
from tests.emission.test_inside import MATRIX, choice, loop, named, scan
from tests.small import normal, reference, small

Make = Callable[[], onnx.ModelProto]

TARGETS = ("coreml", "dpu", "openvino", "ort", "trt")
VARIANTS = (
    *((target, {}) for target in TARGETS),
    ("ort", {"weights": "int4"}),
    ("ort", {"weights": "int8", "form": "qdq"}),
    ("ort", {"dynamic": "on"}),
)


def nested() -> onnx.ModelProto:
    """An If in a Scan in the main graph, layers in all of them."""
    text = """net (float[5,n,24] x, float[n,24] h0) => (float[n,24] last, float[5,n,24] y) {
        p = MatMul(h0, w)
        last, y = Scan<num_scan_inputs = 1, body = turn (float[n,24] h, float[n,24] now)
            => (float[n,24] out, float[n,24] seen) {
            s = ReduceSum<keepdims = 0>(now)
            c = Greater(s, zero)
            m = If (c) <
                then_branch = then () => (float[n,24] t) { t = MatMul(h, w) },
                else_branch = other () => (float[n,24] e) { e = Tanh(h) }
            >
            out = Tanh(m)
            seen = MatMul(out, w)
        }>(p, x)
    }"""
    return named(small(text, {"w": MATRIX, "zero": np.asarray(0, np.float32)}))


def mapped() -> onnx.ModelProto:
    """A layer in the body of a SequenceMap, which cannot be measured."""
    text = """net (float[n,24] x, float[n,24] h) => (float[n,24] y) {
        s = SequenceConstruct(x, h)
        z = SequenceMap<body = turn (float[n,24] u) => (float[n,24] o) { o = MatMul(u, w) }>(s)
        y = SequenceAt(z, first)
    }"""
    return named(small(text, {"w": MATRIX, "first": np.asarray(0)}))


def untyped() -> onnx.ModelProto:
    """A branch whose types depend on an operator that nobody knows."""
    text = """net (float[n,24] x, bool c) => (float[n,24] y) {
        y = If (c) <
            then_branch = then () => (float[n,24] t) { f = com.example.Foo(x) t = MatMul(f, w) },
            else_branch = other () => (float[n,24] e) { h = Mul(x, x) e = MatMul(h, w) }
        >
    }"""
    return named(small(text, {"w": MATRIX}))


MODELS = {f.__name__: f for f in (choice, loop, scan, nested, mapped, untyped)}


@pytest.mark.parametrize(("target", "settings"), VARIANTS)
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_no_layer_is_passed_over(model: Make, target: str, settings: dict[str, str]) -> None:
    given = model()
    plan = oq.make_plan(given, target, settings=settings)
    kernels = (p for g in plan.groups for p in zip(g.nodes, g.ops, strict=True))
    told = [*kernels, *((s.node, s.op) for s in plan.skips)]
    layers = [(name, op) for name, op in told if has_weight(op)]
    assert len({name for name, _ in layers}) == len(layers)
    wanted = Counter(n.op_type for n in nodes_in(given.graph) if has_weight(n.op_type))
    assert Counter(op for _, op in layers) == wanted
    assert all(s.reason for s in plan.skips)


@pytest.mark.parametrize(
    ("model", "target", "reason"),
    [
        (mapped, "ort", "a body of SequenceMap, whose values oq cannot measure"),
        (untyped, "ort", "the types of the tensors in its body are not known"),
        (nested, "trt", "only the main graph for target trt"),
    ],
)
def test_reasons(model: Make, target: str, reason: str) -> None:
    skips = oq.make_plan(model(), target).skips
    assert any(reason in s.reason and s.node.count("/") >= 2 for s in skips)


@pytest.mark.parametrize("settings", [{"weights": "int4"}, {"dynamic": "on"}])
def test_a_node_whose_body_is_rewritten_is_no_node_in_float(settings: dict[str, str]) -> None:
    def said(**options: Any) -> dict[str, str]:
        plan = oq.make_plan(nested(), "ort", settings=settings, **options)
        return {s.node: s.reason for s in plan.skips}

    assert not {"scan", "scan/body/If_m"} & set(said())
    kept = said(keep_float=["*MatMul_t", "*MatMul_seen"])
    assert kept["scan"] == "no layer in its bodies is quantized"


def test_what_runs_of_the_plan_of_a_nested_body() -> None:
    """Bodies within a Scan have integer kernels, with ranges over all turns that reach them."""
    model = nested()
    data = [{"x": normal(5, 1, 24, seed=s), "h0": normal(1, 24, seed=s + 99)} for s in range(8)]
    done = oq.quantize(model, "ort", data, batch_size=1, verify=False, refine="none")
    onnx.checker.check_model(done.model, full_check=True)
    assert optimized_ops(done.model)["MatMulIntegerToFloat"] == 3
    assert done.report.short().startswith("ort: 3 of 3 layers quantized")
    wanted, found = (reference(m, data[0], deployed=True)["y"] for m in (model, done.model))
    assert ((wanted - found) ** 2).sum() < (wanted**2).sum() / 300
    read = []
    for feeds in data:
        h = feeds["h0"] @ MATRIX
        for now in feeds["x"]:
            if now.sum() > 0:
                read.append(h)
            h = np.tanh(h @ MATRIX if now.sum() > 0 else np.tanh(h))
    seen = done.ranges["scan/body/If_m/then_branch/h"]
    np.testing.assert_allclose((seen.lo, seen.hi), (np.min(read), np.max(read)), rtol=1e-5)


@pytest.mark.parametrize(
    ("model", "target", "name", "said"),
    [
        (loop, "ort", "loop/body/Conv_c", "loop/body/Conv_c is quantized: rule Conv+Relu"),
        (loop, "ort", "Conv_c", "loop/body/Conv_c is quantized: rule Conv+Relu"),
        (loop, "ort", "c", "loop/body/c is internal to a fused kernel"),
        (loop, "ort", "loop/body/i", "is not a float tensor"),
        (loop, "ort", "loop", "(Loop) has bodies, and layers in them are quantized"),
        (loop, "ort", "Tanh_out", "stays in float: onnxruntime has no integer kernel"),
        (loop, "trt", "Conv_c", "(Conv) stays in float: it is in a body of Loop"),
        (nested, "ort", "MatMul_t", "node scan/body/If_m/then_branch/MatMul_t is quantized"),
        (nested, "ort", "then_branch/h", "then_branch/h is quantized: uint8 affine per tensor"),
    ],
)
def test_why_reaches_into_bodies(model: Make, target: str, name: str, said: str) -> None:
    assert said in explain(model(), target, name)[0]
