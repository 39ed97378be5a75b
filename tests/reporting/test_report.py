"""Words of 80 columns, JSON that any parser takes, and numbers counted by hand."""

import json
import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from oq import pipeline
from oq.checks.describe import finding_lines
from oq.comparison.collapse import ReadingResult
from oq.comparison.compare import Latency, Verification
from oq.comparison.deviation import Classification, OutputError
from oq.engines.engine import Kernels
from oq.numerics.values import INT8, INT32
from oq.planning.check import Finding
from oq.planning.explain import own_layers, skip_lines, weighted_layers
from oq.planning.spec import Fixed, Group, Own, Plan, Product, Share, Site, Skip
from oq.reporting.report import Report
from oq.reporting.summary import summarize
from oq.reporting.verification import verification_lines
from oq.wording import to_json
from tests.graphs import Net

LONG = "because " * 40


def reading(db: float, lost: int = 0, votes: tuple[Classification, ...] = ()) -> ReadingResult:
    return ReadingResult((OutputError("logits", 1.26, 0.198, db, 0.99912, lost),), votes)


VOTES = Classification("logits", 64, 98.4375, 100.0, 80.9, 80.6, 99.1, 99.0)
FOUND = Verification(
    samples=1234,
    deployed=reading(27.5, votes=(VOTES,)),
    literal=reading(math.inf, lost=3, votes=(replace(VOTES, top1=None, top5=None),)),
    gap=(OutputError("logits", 0, 0, math.inf, 1, 0),),
    kernels=Kernels(29, 1, {"QLinearConv": 29, "Softmax": 1}),
    latency=Latency(8, 3.69, 1.81, 0.49, 0.48, 0.50),
)
PLAN = Plan(
    target="ort",
    sites=(
        Site("x", Own(INT8), "activation", "Conv", ("c",)),
        Site("y", Share("x"), "activation", "MaxPool"),
        Site("s", Fixed(INT8, 1 / 256, 0), "activation", "Sigmoid"),
        Site("b", Product(INT32, "x", "w"), "bias", "Conv", ("c",)),
    ),
    groups=(Group(("c", "r"), ("Conv", "Relu"), "Conv+Relu"), Group(("m",), ("MaxPool",), "m")),
    skips=(
        Skip("t", "ConvTranspose", LONG),
        *(Skip(f"n{i}", "LayerNormalization", "no kernel") for i in range(5)),
    ),
)
FINDING = Finding("relu-grid", "warning", "r", LONG, "use the affine grid")
REPORT = Report(
    version="0.1.0",
    model="model.onnx",
    output="model.int8.onnx",
    target="ort",
    summary="onnxruntime " * 10,
    calibrator="minmax",
    data="calib.npz",
    samples=1448,
    bytes_before=1088705,
    bytes_after=320163,
    plan=PLAN,
    notes=(LONG,),
    findings=(FINDING, replace(FINDING, severity="error")),
    verification=FOUND,
    seconds={"calibrate": 0.3456},
    next_step="trtexec --onnx=model.int8.onnx",
)


@pytest.mark.parametrize(
    "report",
    [
        REPORT,
        replace(REPORT, verification=None, seconds={}, findings=(), notes=(), output=None),
        replace(REPORT, plan=replace(PLAN, skips=(), groups=()), next_step=""),
        replace(REPORT, bytes_before=0),
    ],
)
def test_words_fit_80_columns(report: Report) -> None:
    lines = str(report).splitlines()
    assert max(map(len, lines)) <= 80
    assert all(line == line.rstrip() for line in lines)


def test_the_first_screen_says_what_happened() -> None:
    text = re.sub(r"\s+", " ", str(REPORT))
    for words in (
        "oq 0.1.0 model.onnx -> model.int8.onnx",
        "calibrated minmax on 1,448 samples of calib.npz in 0.35 s",
        "quantized 1 of 2 weighted layers; 6 nodes left in float",
        "size 1,088,705 -> 320,163 bytes (29 %)",
        "rules 1 error, 1 warning",
        "LayerNormalization x5: no kernel n0, n1, n2, and 2 more",
        "warning [relu-grid] r: because",
        "verified on 1,234 samples against the float model",
        "logits deployed 27.5 1.26 0.198 0.99912",
        "logits literal equal 1.26 0.198 0.99912 3 values above are NaN or infinite",
        "top-1 of mode agree % float % int8 % drop top-5 %",
        "logits deployed 98.4 80.90 80.60 0.30 99.00",
        "logits literal 98.4 kernels",
        "kernels 29 of 30 compute nodes in integers (97 %) in onnxruntime",
        "latency 2.0x faster than float (1.81 against 3.69 ms, batch 8) in onnxruntime",
        "next trtexec --onnx=model.int8.onnx",
    ):
        assert words in text, words


def test_readings_that_differ_are_said_to() -> None:
    assert "deployed and literal differ" not in " ".join(verification_lines(FOUND))
    differing = replace(FOUND, literal=reading(30), gap=reading(28).outputs)
    said = re.sub(r"\s+", " ", " ".join(verification_lines(differing)))
    assert "deployed and literal differ: 'logits' by 28.0 dB" in said


def test_what_another_engine_left_in_float_is_named() -> None:
    left = ("node_matmul (Subgraph in f32)", "/head/" + "x" * 90 + " (MatMul in f32)")
    found = replace(FOUND, kernels=Kernels(20, 2, {}, "heavy ops", left), engine="openvino")
    said = re.sub(r"\s+", " ", " ".join(verification_lines(found)))
    assert "kernels 20 of 22 heavy ops in integers (91 %) in openvino" in said
    assert all(f"in float: {name}" in said for name in left)
    assert (
        "2.0x faster than float (1.81 against 3.69 ms, batch 8) in openvino" in said
        and "onnxruntime" not in said
    )
    differing = replace(found, literal=reading(30), gap=reading(28).outputs)
    assert "openvino does not compute what" in re.sub(
        r"\s+", " ", " ".join(verification_lines(differing))
    )


def test_long_names_are_kept_whole_where_they_matter() -> None:
    node = "/backbone/stage4/block2/" + "very/" * 20 + "Conv"
    assert node in "\n".join(finding_lines([replace(FINDING, node=node)]))
    assert node in "\n".join(skip_lines([Skip(node, "Conv", "kept")]))
    named = replace(FOUND.literal.outputs[0], name="x" * 30)
    lines = list(verification_lines(replace(FOUND, literal=ReadingResult((named,), ()))))
    assert any("..." + "x" * 19 + " " in line and len(line) <= 96 for line in lines)


def test_layers_that_oq_made_are_counted_apart() -> None:
    made = replace(REPORT, plan=replace(PLAN, made=("c",)))
    assert "quantized   0 of 1 weighted layers (+1 made by oq); 6 nodes" in str(made)
    assert own_layers(replace(PLAN, made=("t",))) == (1, 1)  # one that stays in float
    assert summarize(made)["made_layers"] == 1 and summarize(made)["weighted_layers"] == 2


def test_a_file_that_grows_says_why() -> None:
    grown = " ".join(str(replace(REPORT, bytes_before=1000, bytes_after=5090)).split())
    assert "1,000 -> 5,090 bytes (509 %): larger, since the model has few weights" in grown
    assert "larger" not in str(REPORT)


def test_weighted_layers_are_counted_in_kernels_and_outside() -> None:
    assert weighted_layers(PLAN) == (1, 2)
    assert weighted_layers(replace(PLAN, skips=(), groups=())) == (0, 0)


# ---- JSON


def strict(value: Any) -> Any:
    """Through JSON text that has no NaN and no Infinity."""
    return json.loads(json.dumps(to_json(value), allow_nan=False))


def test_json_says_the_same() -> None:
    found = strict(REPORT)
    assert found["samples"] == 1448
    assert found["verification"]["deployed"]["outputs"][0]["sqnr_db"] == 27.5
    assert found["verification"]["literal"]["outputs"][0]["sqnr_db"] is None
    assert found["verification"]["kernels"]["ops"] == {"QLinearConv": 29, "Softmax": 1}
    assert found["plan"]["groups"][0]["nodes"] == ["c", "r"]
    kinds = [s["spec"]["kind"] for s in found["plan"]["sites"]]
    assert kinds == ["Own", "Share", "Fixed", "Product"]
    assert found["plan"]["sites"][0]["spec"]["qtype"]["dtype"] == "int8"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_json_cannot_say_are_null(value: float) -> None:
    assert strict({"a": [value, (1.5, value)]}) == {"a": [None, [1.5, None]]}


def test_the_json_of_a_real_run_is_plain() -> None:
    net = Net()
    net.node("Relu", [net.conv(net.input("x"), "c")], "r")
    data = {"x": np.random.default_rng(0).normal(size=(16, 4, 8, 8)).astype(np.float32)}
    report = pipeline.quantize(net.model("r"), "ort", data).report
    found = strict(report)
    assert set(found) >= {"version", "target", "plan", "findings", "verification", "seconds"}
    assert found["verification"]["samples"] == 2
    assert found["bytes_before"] > 0
    assert max(map(len, str(report).splitlines())) <= 80
