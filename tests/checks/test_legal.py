"""Each check on a graph that violates it and nothing else; files of oq and of other tools."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from oq import pipeline
from oq.checks.legal import ALWAYS, CHECKS, check
from oq.errors import ModelError
from oq.model.graph import Graph
from oq.numerics.values import Array
from oq.planning import registry
from oq.planning.check import Finding
from tests.checks.test_placement import PLACEMENT
from tests.graphs import Net
from tests.pairs import conv, pair

SCALE = np.float32(0.1)
U8, U128, S8 = np.uint8(0), np.uint8(128), np.int8(0)
OUT = 4
WEIGHT_SCALE = np.linspace(0.01, 0.04, OUT, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Layer:
    """``x -> pair -> Conv -> Relu -> pair -> y`` as ort wants it; every field can be spoilt.

    Fields that end in ``zero`` are zero points; a None there leaves the input or the pair out.
    """

    op: str = "Conv"
    scale: Any = SCALE
    zero: Any = U128
    read_scale: Any = None
    read_zero: Any = None
    codes: Any = field(default_factory=lambda: np.ones((OUT, 3, 1, 1), np.int8))
    weight_scale: Any = field(default_factory=lambda: WEIGHT_SCALE)
    axis: int | None = 0
    bias: bool = True
    bias_scale: Any = field(default_factory=lambda: WEIGHT_SCALE * SCALE)
    between: bool = False
    output: Any = U8
    relu: bool = True
    extra: bool = False
    dangling: bool = False
    attributes: dict[str, int] = field(default_factory=dict)
    shape: tuple[int | str, ...] = ("n", 3, 4, 4)

    def model(self) -> onnx.ModelProto:
        """Without the types of inner tensors: other tools do not write them either."""
        net = Net()
        x = net.input("x", self.shape)
        axis = {} if self.axis is None else {"axis": self.axis}
        per_channel = axis if np.ndim(self.scale) else {}
        codes = net.node("QuantizeLinear", self._grid(net, x, "x", self.scale, self.zero), "xq",
                         **per_channel)  # fmt: skip
        scale = self.scale if self.read_scale is None else self.read_scale
        zero = self.zero if self.read_zero is None else self.read_zero
        data = net.node("DequantizeLinear", self._grid(net, codes, "r", scale, zero), "xd",
                        **per_channel)  # fmt: skip
        w = net.constant("w", self.codes, np.int8)
        zeros = np.zeros(np.shape(self.weight_scale), np.int8)
        inputs = [data, net.node("DequantizeLinear", self._grid(net, w, "w", self.weight_scale,
                                                                zeros), "wd", **axis)]  # fmt: skip
        if self.bias:
            b = net.constant("b", np.arange(OUT), np.int32)
            zeros32 = np.zeros(np.shape(self.bias_scale), np.int32)
            grid = self._grid(net, b, "b", self.bias_scale, zeros32)
            inputs.append(net.node("DequantizeLinear", grid, "bd", axis=0))
        end = net.node(self.op, inputs, "c", **self.attributes)
        if self.between:
            end = self._pair(net, end, "i", self.output if self.output is not None else S8)
        if self.relu:
            end = net.node("Relu", [end], "a")
        outputs = []
        if self.extra:
            outputs.append(net.node("Exp", [end], "e"))
        if self.dangling:
            net.node("QuantizeLinear", self._grid(net, end, "l", SCALE, self.zero), "lq")
        if self.output is not None:
            end = self._pair(net, end, "y", self.output)
        model = onnx.ModelProto()
        model.CopyFrom(net.model(end, *outputs))
        del model.graph.value_info[:]
        return model

    def findings(self, target: str) -> tuple[Finding, ...]:
        return check(Graph(self.model()).view(), registry.target(target))

    @staticmethod
    def _grid(net: Net, data: str, label: str, scale: Any, zero: Any) -> list[str]:
        names = [data, net.constant(f"{label}_scale", scale, np.asarray(scale).dtype)]
        if zero is not MISSING:
            names.append(net.constant(f"{label}_zero", zero, np.asarray(zero).dtype))
        return names

    def _pair(self, net: Net, data: str, label: str, zero: Any) -> str:
        grid = self._grid(net, data, label, SCALE, zero)
        codes = net.node("QuantizeLinear", grid, f"{label}q")
        return net.node("DequantizeLinear", [codes, *grid[1:]], f"{label}d")


MISSING = object()
ORT = Layer()
TRT = Layer(zero=S8, bias=False, output=None)
GEMM = Layer(op="Gemm", codes=np.ones((3, OUT), np.int8), axis=1, shape=("n", 3))
MATMUL = replace(GEMM, op="MatMul", bias=False, relu=False)


@pytest.mark.parametrize(
    ("target", "layer"),
    [
        ("ort", ORT),
        ("ort", replace(ORT, zero=np.int8(3), output=np.int8(-128))),
        ("ort", replace(ORT, relu=False, output=np.uint8(7))),
        ("ort", replace(ORT, bias=False)),
        ("ort", replace(ORT, weight_scale=SCALE, axis=None, bias_scale=SCALE * SCALE)),
        ("ort", GEMM),
        ("ort", replace(GEMM, codes=np.ones((OUT, 3), np.int8), axis=0, attributes={"transB": 1})),
        ("ort", MATMUL),
        ("ort", replace(MATMUL, axis=-1)),
        ("trt", TRT),
        ("trt", replace(TRT, relu=False)),
        ("trt", replace(TRT, extra=True)),
    ],
    ids=str,
)
def test_a_legal_file_has_no_findings(target: str, layer: Layer) -> None:
    assert layer.findings(target) == ()


VIOLATIONS: list[tuple[str, str, Layer, str, str]] = [
    ("scale", "ort", replace(ORT, scale=np.float32(0), bias=False), "n_xq", "x_scale"),
    (
        "scale",
        "trt",
        replace(TRT, weight_scale=np.full(OUT, np.nan, np.float32)),
        "n_wd",
        "not finite and > 0",
    ),
    ("scale", "trt", replace(TRT, scale=np.float32(np.inf)), "n_xd", "not finite and > 0"),
    (
        "scale",
        "trt",
        replace(TRT, weight_scale=WEIGHT_SCALE - np.float32(0.02)),
        "n_wd",
        "w_scale",
    ),
    ("axis", "trt", replace(TRT, weight_scale=WEIGHT_SCALE[:3]), "n_wd", "3 scales along axis 0"),
    ("ends", "trt", replace(TRT, dangling=True), "n_lq", "its output is not read"),
    ("zero-point-present", "trt", replace(TRT, zero=MISSING), "n_xq", "no zero point"),
    (
        "pair",
        "ort",
        replace(ORT, read_scale=np.float32(0.2), bias_scale=WEIGHT_SCALE * np.float32(0.2)),
        "n_xd",
        "its scale differs from that of 'n_xq'",
    ),
    ("pair", "ort", replace(ORT, read_zero=np.uint8(127)), "n_xd", "its zero point differs"),
    ("zero-point-is-zero", "trt", replace(TRT, zero=np.int8(5)), "n_xq", "zero point 5"),
    ("no-uint8", "trt", replace(TRT, zero=U8), "n_xq", "it is uint8"),
    ("float8-kind", "trt", replace(TRT, zero=np.zeros((), "float8_e5m2")), "n_xq", "float8_e5m2"),
    ("no-int32-bias", "trt", replace(TRT, bias=True), "n_bd", "int32 tensor 'b'"),
    (
        "activations-per-tensor",
        "trt",
        replace(TRT, scale=np.full(3, SCALE), zero=np.zeros(3, np.int8), axis=1,
                weight_scale=np.full(3, SCALE), codes=np.ones((OUT, 3, 1, 1), np.int8)),
        "n_xq",
        "activation 'x' has 3 scales",
    ),
    (
        "weight-axis",
        "ort",
        replace(ORT, axis=1, weight_scale=WEIGHT_SCALE[:3], bias=False),
        "n_wd",
        "axis 1 of Conv 'n_c', whose axis is 0",
    ),
    (
        "weight-axis",
        "ort",
        replace(MATMUL, axis=0, weight_scale=WEIGHT_SCALE[:3]),
        "n_wd",
        "axis 0 of MatMul 'n_c', whose axis is 1",
    ),
    (
        "weight-axis",
        "ort",
        replace(GEMM, attributes={"transB": 1}, codes=np.ones((OUT, 3), np.int8), axis=1,
                weight_scale=WEIGHT_SCALE[:3], bias=False),
        "n_wd",
        "axis 1 of Gemm 'n_c', whose axis is 0",
    ),
    ("output-is-float", "trt", replace(TRT, output=S8), "n_yd", "graph output 'yd' is quantized"),
    ("fusion-is-whole", "trt", replace(TRT, between=True), "n_a", "between Conv 'n_c' and it"),
    ("one-reader", "ort", replace(ORT, relu=False, extra=True), "n_c", "'c' is read by a Quant"),
    ("one-reader", "ort", replace(ORT, extra=True), "n_a", "'a' is read by a QuantizeLinear"),
    ("relu-grid", "ort", replace(ORT, zero=S8, output=S8), "n_a", "zero point 0 leaves room for"),
    ("relu-grid", "ort", replace(ORT, output=np.uint8(1)), "n_a", "zero point 1 leaves room for"),
    (
        "bias-scale",
        "ort",
        replace(ORT, bias_scale=WEIGHT_SCALE * SCALE * np.float32(1.01)),
        "n_c",
        "not scale(data) * scale(weight)",
    ),
    ("bias-scale", "ort", replace(ORT, bias_scale=np.full(3, SCALE)), "n_c", "scale of its bias"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "target", "layer", "node", "message"), VIOLATIONS)
def test_violation(name: str, target: str, layer: Layer, node: str, message: str) -> None:
    findings = layer.findings(target)
    allowed = {name}
    if (name, target) == ("activations-per-tensor", "trt"):
        allowed.add("weight-axis")  # onnx infers nothing otherwise: one axis for all in Layer
    if name == "bias-scale" and np.size(layer.bias_scale) == 3:
        allowed.add("axis")
    assert {f.check for f in findings} <= allowed
    found = next(f for f in findings if f.check == name and f.node == node)
    assert message in found.message
    assert found.severity == CHECKS[name].severity and found.remedy


def test_a_float_layer_between_pairs_is_quantized_anyway() -> None:
    """onnxruntime's optimized graph of such a file holds a QLinearConv: the trap is real."""
    model = ORT.model()
    conv = next(n for n in model.graph.node if n.op_type == "Conv")
    weight = numpy_helper.from_array(np.ones((OUT, 3, 1, 1), np.float32), "float_weight")
    model.graph.initializer.append(weight)
    conv.input[1] = "float_weight"
    del conv.input[2:]
    findings = pipeline.check(model, "ort")
    assert [(f.check, f.node) for f in findings if f.check != "ends"] == [("stays-float", "n_c")]
    assert "float weights between integer neighbours" in findings[-1].message


def test_integer_operators_are_not_qdq() -> None:
    model = TRT.model()
    model.graph.node.append(helper.make_node("QLinearAdd", ["y"] * 8, ["z"], "n_z", domain="m"))
    findings = check(Graph(model).view(), registry.target("trt"))
    assert ("only-qdq", "n_z") in {(f.check, f.node) for f in findings}


@pytest.mark.parametrize(("op", "said"), [("HardSwish", []), ("Sigmoid", ["one-reader"])])
def test_a_float_node_may_have_several_readers(op: str, said: list[str]) -> None:
    """A QuantizeLinear among them: onnxruntime has no integer kernel to lose there."""
    net = Net()
    end = net.node(op, [pair(net, net.input("x", ("n", 4, 8, 8)), "x")], "h")
    model = net.model(conv(net, pair(net, end, "h"), "c"), net.node("Sin", [end], "s"))
    assert [f.check for f in pipeline.check(model, "ort")] == said


def test_a_layer_whose_weight_is_computed_may_have_several_readers() -> None:
    net = Net()
    data = pair(net, net.input("x", ("n", 4, 8, 8)), "x")
    weight = net.node("Sin", [net.constant("w", np.ones((4, 4, 1, 1), np.float32))], "u")
    end = net.node("Conv", [data, weight], "c")
    model = net.model(conv(net, pair(net, end, "c"), "d"), net.node("Sin", [end], "s"))
    assert pipeline.check(model, "ort") == ()


def test_a_pair_before_an_activation_is_right_where_others_read_it() -> None:
    net = Net()
    middle = pair(net, conv(net, pair(net, net.input("x", ("n", 4, 8, 8)), "x", "int8"), "c"),
                  "c", "int8")  # fmt: skip
    net.node("Tanh", [middle], "t")
    alone = pipeline.check(net.model("t"), "coreml")
    assert "fusion-is-whole" in {f.check for f in alone}
    both = pipeline.check(net.model("t", net.node("Sin", [middle], "s")), "coreml")
    assert "fusion-is-whole" not in {f.check for f in both}


def test_a_float_model_is_no_subject() -> None:
    net = Net()
    with pytest.raises(ModelError, match="it is a float model, and there is nothing to check"):
        pipeline.check(net.model(net.conv(net.input("x"), "c")), "ort")


COREML = {"float16-scale", "sides", "sum-in-float16"}
"""Violated in tests/checks/test_float16.py."""

ELSEWHERE = {"loads-bodies", "only-qdq", "stays-float", "steps-in-int32", *PLACEMENT} | COREML
"""Checks whose violations are tests of their own."""


def test_every_check_has_a_violation_above_and_a_target_that_uses_it() -> None:
    assert {row[0] for row in VIOLATIONS} | ELSEWHERE == set(CHECKS)
    named = {c for t in registry.names("targets") for c in registry.target(t).checks}
    used = {c for c in named if isinstance(c, str)}
    assert used | set(ALWAYS) == set(CHECKS)
    assert not used & set(ALWAYS) or used & set(ALWAYS) == {"zero-point-present"}


def test_a_scale_computed_at_run_time() -> None:
    model = TRT.model()
    model.graph.node.insert(0, helper.make_node("Exp", ["x_scale"], ["s"], "n_s"))
    model.graph.node[1].input[1] = "s"
    findings = check(Graph(model).view(), registry.target("trt"))
    assert [(f.check, f.message) for f in findings] == [("scale", "scale 's' is not a constant")]


def test_constants_may_be_nodes() -> None:
    """As the TorchScript exporter writes them."""
    model = ORT.model()
    for tensor in model.graph.initializer:
        node = helper.make_node("Constant", [], [tensor.name], f"make_{tensor.name}", value=tensor)
        model.graph.node.insert(0, node)
    del model.graph.initializer[:]
    assert pipeline.check(model, "ort") == ()
    spoilt = replace(ORT, bias_scale=WEIGHT_SCALE).model()
    for tensor in spoilt.graph.initializer:
        spoilt.graph.node.insert(0, helper.make_node("Constant", [], [tensor.name], value=tensor))
    del spoilt.graph.initializer[:]
    assert [f.check for f in pipeline.check(spoilt, "ort")] == ["bias-scale"]


def test_a_dequantize_without_a_source() -> None:
    model = TRT.model()
    model.graph.node[1].input[0] = "lost"
    findings = check(Graph(model).view(), registry.target("trt"))
    assert ("ends", "n_xd") in {(f.check, f.node) for f in findings}


def test_findings_of_one_file_come_in_the_order_of_the_table() -> None:
    bad = replace(TRT, zero=np.uint8(3), bias=True, output=np.uint8(3))
    order = [*ALWAYS, *registry.target("trt").checks]
    names = [f.check for f in bad.findings("trt")]
    assert names == sorted(names, key=order.index)
    assert {"no-uint8", "zero-point-is-zero", "no-int32-bias", "output-is-float"} <= set(names)


# ---- files of onnxruntime's own quantizer


class Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self._batches: Iterator[dict[str, Array]] = iter(
            [{"x": random.normal(size=(4, 4, 8, 8)).astype(np.float32)}]
        )

    def get_next(self) -> dict[str, Array] | None:
        return next(self._batches, None)


def network() -> onnx.ModelProto:
    net = Net()
    net.node("Relu", [net.conv(net.input("x"), "c")], "r")
    flat = net.node("Flatten", [net.node("GlobalAveragePool", ["r"], "p")], "f")
    return net.model(net.gemm(flat, "g"))


def static(folder: Path, **options: Any) -> onnx.ModelProto:
    onnx.save(network(), folder / "float.onnx")
    quantize_static(folder / "float.onnx", folder / "int8.onnx", Reader(), **options)
    return onnx.load(folder / "int8.onnx")


AFFINE: dict[str, Any] = {"activation_type": QuantType.QUInt8, "per_channel": True}
SYMMETRIC: dict[str, Any] = {
    "activation_type": QuantType.QInt8,
    "extra_options": {"ActivationSymmetric": True, "QuantizeBias": False},
}


@pytest.mark.parametrize(
    ("options", "target", "names"),
    [
        ({}, "ort", set()),
        (AFFINE, "ort", set()),
        ({}, "trt", {"zero-point-is-zero", "no-int32-bias", "output-is-float"}),
        (AFFINE, "trt", {"zero-point-is-zero", "no-uint8", "no-int32-bias", "output-is-float"}),
        # Symmetric grids keep the ReLU, with a pair in front of it.
        (SYMMETRIC, "trt", {"fusion-is-whole", "output-is-float"}),
        ({"quant_format": QuantFormat.QOperator}, "ort", set()),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_files_of_quantize_static(
    tmp_path: Path, options: dict[str, Any], target: str, names: set[str]
) -> None:
    findings = pipeline.check(static(tmp_path, **options), target)
    assert {f.check for f in findings} == names


# ---- files of oq


@pytest.mark.parametrize("target", registry.names("targets"))
@pytest.mark.parametrize("build", [network, lambda: onnx.load(_bundled("residual"))])
def test_files_of_oq_have_no_findings(target: str, build: Callable[[], onnx.ModelProto]) -> None:
    model = build()
    shape = [d.dim_value or 16 for d in model.graph.input[0].type.tensor_type.shape.dim]
    data = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    feeds = {model.graph.input[0].name: data}
    written = pipeline.quantize(model, target, feeds, verify=False).model
    assert pipeline.check(written, target) == ()
    # A check that finds nothing anywhere would pass too: spoil one scale.
    scale = next(t for t in written.graph.initializer if t.name.endswith("_scale"))
    values = numpy_helper.to_array(scale)
    scale.CopyFrom(numpy_helper.from_array(-values, scale.name))
    assert {f.check for f in pipeline.check(written, target)} >= {"scale"}


def _bundled(name: str) -> str:
    return str(Path(__file__).parents[2] / "models" / "bundled" / f"{name}.onnx")


@pytest.mark.parametrize(("behind", "found"), [("Relu", 1), ("Softmax", 0)])
def test_a_pair_in_front_of_a_softmax_splits_no_kernel(behind: str, found: int) -> None:
    """No layer takes a Softmax into its kernel, so the pair may stand between them."""
    net = Net()
    here = pair(net, conv(net, pair(net, net.input("x"), "x"), "c"), "y")
    findings = check(
        Graph(net.model(net.node(behind, [here], "p"))).view(), registry.target("coreml")
    )
    assert [f.check for f in findings].count("fusion-is-whole") == found
