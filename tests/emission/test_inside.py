"""Calibrated layers in the bodies of If, Loop and Scan: integer kernels, and the right ranges."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest

import oq
from oq.model.footprint import Footprint
from oq.model.session import expose, optimized_ops
from oq.numerics.values import Array, Batch
from oq.pipeline import Result
from tests.small import normal, reference, small

TURNS, SAMPLES = 3, 16
Seen = dict[str, list[Array]]
MATRIX = 0.2 * normal(24, 24, seed=1)
KERNEL = 0.25 * normal(8, 8, 3, 3, seed=2)
BIAS = normal(24, seed=3)


def loop(turns: int = TURNS) -> onnx.ModelProto:
    """``u = tanh(relu(conv(u)))``, three times."""
    text = """net (float[n,8,6,6] x) => (float[n,8,6,6] y) {
        y = Loop (count, go, x) <body = turn (int64 i, bool on, float[n,8,6,6] u)
            => (bool still, float[n,8,6,6] out) {
            still = Identity(on)
            c = Conv<pads = [1, 1, 1, 1]>(u, k)
            r = Relu(c)
            out = Tanh(r)
        }>
    }"""
    given = {"k": KERNEL, "count": np.asarray(turns), "go": np.asarray(True)}
    return named(small(text, given))


def choice() -> onnx.ModelProto:
    """A Gemm in either branch, with one outer weight."""
    text = """net (float[n,24] x) => (float[n,24] y) {
        s = ReduceSum<keepdims = 0>(x)
        c = Greater(s, zero)
        y = If (c) <
            then_branch = then () => (float[n,24] t) { t = Gemm(x, w, b) },
            else_branch = other () => (float[n,24] e) { h = Mul(x, x) e = Gemm(h, w) }
        >
    }"""
    return named(small(text, {"w": MATRIX, "b": BIAS, "zero": np.asarray(0, np.float32)}))


def scan(op: str = "Mul") -> onnx.ModelProto:
    """``h = tanh(h w * x)`` over the first axis of x, h carried."""
    text = f"""net (float[5,n,24] x) => (float[n,24] last, float[5,n,24] y) {{
        z = Slice(x, start, end, start)
        h0 = Squeeze(z, start)
        last, y = Scan<num_scan_inputs = 1, body = turn (float[n,24] h, float[n,24] now)
            => (float[n,24] out, float[n,24] seen) {{
            m = MatMul(h, w)
            a = {op}(m, now)
            out = Tanh(a)
            seen = MatMul(out, w)
        }}>(h0, x)
    }}"""
    zero, one = np.asarray([0]), np.asarray([1])
    return named(small(text, {"w": MATRIX, "start": zero, "end": one}))


def named(model: onnx.ModelProto) -> onnx.ModelProto:
    for node in model.graph.node:
        node.name = node.op_type.lower()
    return model


def conv(x: Array) -> Array:
    text = """net (float[n,8,6,6] u) => (float[n,8,6,6] r) {
        c = Conv<pads = [1, 1, 1, 1]>(u, k)
        r = Relu(c)
    }"""
    return reference(small(text, {"k": KERNEL}), {"u": x})["r"]


def inside_loop(x: Array) -> Seen:
    found: Seen = {"loop/body/u": [], "loop/body/r": []}
    for _ in range(TURNS):
        r = conv(x)
        found["loop/body/u"].append(x)
        found["loop/body/r"].append(r)
        x = np.tanh(r)
    return found


def inside_choice(x: Array) -> Seen:
    if x.sum() > 0:
        return {"if/then_branch/x": [x], "if/else_branch/h": []}
    return {"if/then_branch/x": [], "if/else_branch/h": [x * x]}


def inside_scan(x: Array, join: Callable[[Array, Array], Array] = np.multiply) -> Seen:
    h, found = x[0], Seen({"scan/body/h": [], "scan/body/out": []})
    for now in x:
        found["scan/body/h"].append(h)
        h = np.tanh(join(h @ MATRIX, now))
        found["scan/body/out"].append(h)
    return found


Inner = Callable[[Array], Seen]
Case = tuple[onnx.ModelProto, Result, list[dict[str, Array]], Inner, str, int]

CASES: dict[str, tuple[Callable[[], onnx.ModelProto], Inner, tuple[int, ...], str, int]] = {
    "loop": (loop, inside_loop, (1, 8, 6, 6), "QLinearConv", 1),
    "choice": (choice, inside_choice, (1, 24), "QGemm", 2),
    "scan": (scan, inside_scan, (5, 1, 24), "MatMulIntegerToFloat", 2),
    "cell": (
        *(partial(scan, "Add"), partial(inside_scan, join=np.add)),
        *((5, 1, 24), "MatMulIntegerToFloat", 2),
    ),
}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    make, values, shape, kernel, count = CASES[request.param]
    data = [{"x": normal(*shape, seed=s)} for s in range(SAMPLES)]
    done = oq.quantize(make(), "ort", data, batch_size=1, verify=False, refine="none")
    return make(), done, data, values, kernel, count


def test_integer_kernels_and_values(case: Case) -> None:
    model, done, data, _, kernel, count = case
    onnx.checker.check_model(done.model, full_check=True)
    assert optimized_ops(done.model)[kernel] == count
    runs = [[reference(m, feeds, deployed=True) for m in (model, done.model)] for feeds in data]
    for name in runs[0][0]:
        signal = sum((wanted[name] ** 2).sum() for wanted, _ in runs)
        noise = sum(((wanted[name] - found[name]) ** 2).sum() for wanted, found in runs)
        assert noise < signal / 300, name  # 25 dB after the last turn
    judged = oq.judge(done.model, "ort")
    assert not [f for f in judged.findings if f.severity == "error"]
    assert judged.forecast.kernels >= count
    assert done.report.short().startswith(f"ort: {count} of {count} layers quantized")


def test_ranges_over_all_turns(case: Case) -> None:
    _, done, data, values, _, _ = case
    seen: Seen = {}
    for feeds in data:
        for name, arrays in values(feeds["x"]).items():
            seen.setdefault(name, []).extend(arrays)
    for name, arrays in seen.items():
        found = done.ranges[name]
        np.testing.assert_allclose(found.hi, max(a.max() for a in arrays), rtol=1e-5)
        np.testing.assert_allclose(found.lo, min(0, *(a.min() for a in arrays)), rtol=1e-5)


def test_memory_counts_the_values_of_all_turns(case: Case) -> None:
    model, done, data, _, _, _ = case
    paths = tuple(t for t in done.ranges if "/" in t)
    sizes = Footprint(model, carried=paths).of(Batch(data[0]))
    exposed = reference(expose(model, paths), data[0])
    assert {t: sizes[t] for t in paths} == {t: exposed[t].nbytes for t in paths}


def test_a_limit_of_memory_holds_for_what_leaves_a_loop() -> None:
    """Two tensors of 1 kB per sample, over 400 turns: two samples at a time would take 2 MB."""
    data = {"x": normal(8, 8, 6, 6)}
    done = oq.quantize(loop(400), "ort", data, verify=False, refine="none", max_memory=1)
    (note,) = (n for n in done.report.notes if "--max-memory" in n)
    assert note.startswith("calibrated in batches of 1")


@pytest.mark.parametrize("glob", ["loop/body/*", "Conv_c"])
def test_kept_in_float_by_name_or_path(glob: str) -> None:
    plan = oq.make_plan(loop(), "ort", keep_float=[glob])
    assert not plan.groups and any("kept in float" in s.reason for s in plan.skips)


def test_a_cache_and_a_nested_body(tmp_path: Path) -> None:
    """An If within a Loop, whose values differ in number from turn to turn."""
    text = """net (float[n,24] x) => (float[m,24] y) {
        y = Loop (count, go, x) <body = turn (int64 i, bool on, float[a,24] u)
            => (bool still, float[b,24] out) {
            still = Identity(on)
            early = Less(i, one)
            p = If (early) <
                then_branch = then () => (float[c,24] t) { t = MatMul(u, w) },
                else_branch = other () => (float[c,24] e) { e = Tanh(u) }
            >
            out = Concat<axis = 0>(p, u)
        }>
    }"""
    given = {"w": MATRIX, "count": np.asarray(2), "go": np.asarray(True), "one": np.asarray(1)}
    model = named(small(text, given))
    for attribute in model.graph.node[0].attribute:
        named(onnx.ModelProto(graph=attribute.g))
    data = [{"x": normal(1, 24, seed=s)} for s in range(SAMPLES)]
    cache = tmp_path / "cache"
    oq.calibrate(model, "ort", data, cache)
    done = oq.quantize(model, "ort", cache=str(cache), calibrator="percentile")
    assert optimized_ops(done.model)["MatMulIntegerToFloat"] == 1
    wanted, found = (reference(m, data[0], deployed=True)["y"] for m in (model, done.model))
    assert ((wanted - found) ** 2).sum() < (wanted**2).sum() / 300


def test_a_branch_that_no_sample_takes_stays_in_float() -> None:
    """Its ranges are not known: any grid would be a guess."""
    model, random = choice(), np.random.default_rng(0)
    data = [{"x": random.uniform(0, 1, (1, 24)).astype(np.float32)} for _ in range(SAMPLES)]
    done = oq.quantize(model, "ort", data, batch_size=1, verify=False, refine="none")
    assert optimized_ops(done.model)["QGemm"] == 1
    (left,) = (s for s in done.report.plan.skips if s.op == "Gemm")
    assert "no calibration sample runs it" in left.reason and "else_branch" in left.node
    feeds = {"x": -data[0]["x"]}
    wanted, found = (reference(m, feeds, deployed=True)["y"] for m in (model, done.model))
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
