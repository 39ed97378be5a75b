"""The forecast against what onnxruntime's optimized graph really holds, and against known sizes."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

import oq
from models.digits import BUNDLED
from oq.checks.forecast import Forecast, forecast
from oq.engines.onnxruntime import INTEGER_KERNELS
from oq.model.graph import Graph
from oq.model.session import optimized_ops
from oq.planning import registry
from oq.prepare.infer_types import infer_types
from tests.graphs import Net
from tests.light import light
from tests.pairs import ZERO, conv, dequantize, pair, quantize, stored
from tests.real import CIFAR, IMAGENET, needs_real
from tests.small import normal, random_feeds, small

REAL_MODELS = [*CIFAR.glob("*.onnx"), *IMAGENET.glob("*.onnx")]
NAMES = ("residual", "separable", "transformer")


def foresee(model: onnx.ModelProto, target: str = "ort") -> Forecast:
    graph = Graph(model)
    infer_types(graph)
    return forecast(graph.view(), registry.target(target))


def integer_kernels(model: onnx.ModelProto) -> int:
    found = optimized_ops(model)
    return sum(count for op, count in found.items() if op in INTEGER_KERNELS)


def reason(model: onnx.ModelProto, node: str, target: str = "ort") -> str:
    """Why ``node`` runs in float; "" when it does not."""
    fate = next(f for f in foresee(model, target).nodes if f.node == node)
    assert (fate.runs == "int8") == (fate.reason == "")
    return fate.reason


def quantized(model: Path | onnx.ModelProto, target: str) -> onnx.ModelProto:
    return oq.quantize(model, target, "random", samples=4, refine="none", verify=False).model


# -- whole models: the number of integer kernels is onnxruntime's ---------------------------------


@pytest.mark.parametrize("target", ["ort", "trt"])
@pytest.mark.parametrize("name", NAMES)
def test_bundled_models(name: str, target: str) -> None:
    model = quantized(BUNDLED / f"{name}.onnx", target)
    assert foresee(model).kernels == integer_kernels(model)


def test_a_linear_layer_of_fixed_size_and_the_shape_of_its_bias() -> None:
    """oq writes the shape that keeps the integer kernel; of the other it says what it costs."""
    text = (
        "net (float[2,3,4] x) => (float[2,3,6] y) { m = MatMul(x, w) s = Add(m, b) y = Softmax(s) }"
    )
    model = quantized(small(text, {"w": normal(4, 6), "b": normal(6, seed=1)}), "ort")
    node = next(n.name for n in model.graph.node if n.op_type == "MatMul")
    assert foresee(model).kernels == integer_kernels(model) == 1
    bias = next(t for t in model.graph.initializer if list(t.dims) == [1, 6])
    del bias.dims[0]
    assert foresee(model).kernels == integer_kernels(model) == 0
    assert "into a Gemm, which reads 'b_matrix' in float" in reason(model, node)


@pytest.mark.parametrize("shape", ["n,6", "6", "1,6", "n,1", "m,6", "2,n,6", "1"])
def test_a_sum_of_two_activations(shape: str) -> None:
    """onnxruntime makes a float Gemm of some; oq writes a Sum, and says what an Add costs."""
    body = "m = MatMul(x, w) a = Add(h, m) y = Tanh(a)"
    text = f"net (float[n,4] x, float[{shape}] h) => (float y) {{ {body} }}"
    weight = {"w": normal(4, 6)}
    model = quantized(small(text, weight), "ort")
    assert foresee(model).kernels == integer_kernels(model) == 1
    node = next(n for n in model.graph.node if n.op_type in {"Add", "Sum"})
    node.op_type = "Add"
    assert foresee(model).kernels == integer_kernels(model)
    assert foresee(model).kernels == (shape in {"m,6", "2,n,6", "1"})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["squeezenet", "shufflenet", "inception_v1", "resnet50"])
def test_light_models(name: str) -> None:
    """For `trt`; all nine are foreseen for `ort` in tests/test_light_models.py."""
    model = quantized(light(name), "trt")
    assert foresee(model).kernels == integer_kernels(model)


@needs_real
@pytest.mark.parametrize("target", ["ort", "trt"])
@pytest.mark.parametrize(
    "path", [*CIFAR.glob("*.onnx"), *IMAGENET.glob("*.onnx")], ids=lambda p: p.stem
)
def test_real_models(path: Path, target: str) -> None:
    model = quantized(path, target)
    assert foresee(model).kernels == integer_kernels(model)


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, model: onnx.ModelProto) -> None:
        self.feeds: Iterator[dict[str, np.ndarray]] = iter(
            [random_feeds(model, free=1, seed=seed) for seed in range(2)]
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.feeds, None)


SETTINGS = {
    "default": {},
    "symmetric": {"ActivationSymmetric": True},
    "dedicated pairs": {"DedicatedQDQPair": True},
    "relus kept": {"QDQKeepRemovableActivations": True},
    "weights as Q and DQ": {"AddQDQPairToWeight": True},
    "float bias": {"QuantizeBias": False},
}


@pytest.mark.parametrize("name", ["residual", "transformer"])
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize(
    ("activations", "per_channel"), list(itertools.product(("QUInt8", "QInt8"), (False, True)))
)
def test_files_of_onnxruntimes_quantizer(
    name: str, setting: str, activations: str, per_channel: bool, tmp_path: Path
) -> None:
    path = BUNDLED / f"{name}.onnx"
    quantize_static(
        path,
        tmp_path / "q.onnx",
        _Reader(onnx.load(path)),
        activation_type=QuantType[activations],
        weight_type=QuantType.QInt8,
        per_channel=per_channel,
        extra_options=SETTINGS[setting],
    )
    model = onnx.load(tmp_path / "q.onnx")
    found = foresee(model)
    assert found.kernels == integer_kernels(model)
    assert found.kernels > 0


# -- one kernel, every surrounding ----------------------------------------------------------------


@pytest.mark.parametrize("readers", [1, 2])
@pytest.mark.parametrize("behind", [True, False])
@pytest.mark.parametrize("grid", ["uint8", "uint8 at 128", "int8", "int8 at -128"])
@pytest.mark.parametrize("op", ["Conv", "MatMul", "Add", "Mul", "Softmax", "Sigmoid", "Gemm"])
def test_one_op_between_pairs(op: str, grid: str, behind: bool, readers: int) -> None:
    net = Net()
    shape = ("n", 4, 8, 8) if op == "Conv" else ("n", 8)
    data, outputs = pair(net, net.input("x", shape), "x", grid), []
    for i in range(readers):
        if op == "Conv":
            made = conv(net, data, f"y{i}")
        elif op in {"Gemm", "MatMul"}:
            made = net.node(op, [data, stored(net, f"w{i}", 8, 8)], f"y{i}")
        elif op in {"Add", "Mul"}:
            other = pair(net, net.input(f"o{i}", shape), f"o{i}", grid)
            made = net.node(op, [data, other], f"y{i}")
        else:
            made = net.node(op, [data], f"y{i}")
        outputs.append(pair(net, made, f"y{i}", grid) if behind else made)
    model = net.model(*outputs)
    assert foresee(model).kernels == integer_kernels(model)


@pytest.mark.parametrize("bounds", [(None, 6), (0, 6), (-1, 1), (0, None), (0, 3), None])
@pytest.mark.parametrize(
    ("grid", "scale"),
    [("uint8", 6 / 255), ("uint8", 0.05), ("uint8 at 128", 0.05), ("int8", 0.05),
     ("uint8 at 128", 6.019 / 127), ("int8 at -128", 0.01)],
)  # fmt: skip
def test_clips_and_relus(
    bounds: tuple[float | None, float | None] | None, grid: str, scale: float
) -> None:
    net = Net()
    made = conv(net, pair(net, net.input("x"), "x"), "y")
    if bounds is None:
        made = net.node("Relu", [made], "r")
    else:
        names = ["" if b is None else net.constant(f"b{i}", b) for i, b in enumerate(bounds)]
        made = net.node("Clip", [made, *names], "r")
    model = net.model(pair(net, made, "r", grid, scale))
    assert foresee(model).kernels == integer_kernels(model)


@pytest.mark.parametrize("op", ["MaxPool", "Transpose", "Flatten", "DepthToSpace"])
@pytest.mark.parametrize("before", [True, False])
def test_moves_on_either_side(op: str, before: bool) -> None:
    """A pair crosses MaxPool and Transpose, but not Flatten and DepthToSpace."""
    net = Net()
    settings: dict[str, Any] = {}
    settings |= {"kernel_shape": [1, 1]} if op == "MaxPool" else {}
    settings |= {"blocksize": 1} if op == "DepthToSpace" else {}
    data = pair(net, net.input("x"), "x")
    if before and op != "Flatten":
        data = net.node(op, [data], "m", **settings)
    made = conv(net, data, "y")
    if not before:
        made = net.node(op, [made], "m", **settings)
    model = net.model(pair(net, made, "y"))
    found = foresee(model)
    assert found.kernels == integer_kernels(model)
    assert found.kernels == (op in {"MaxPool", "Transpose"} or (before and op == "Flatten"))


# -- reasons --------------------------------------------------------------------------------------


def test_reasons_name_the_tensor() -> None:
    net = Net()
    x = net.input("x")
    conv(net, x, "a")
    conv(net, pair(net, "a", "a"), "b")
    wide = pair(net, "b", "b", "uint16")
    c = pair(net, conv(net, wide, "c"), "c")
    net.node("MatMul", [c, net.weight("w", 8, 8)], "m")
    model = net.model("m", "b")
    assert (
        reason(model, "n_a") == "its input 'x' is float: it does not come from a DequantizeLinear"
    )
    assert reason(model, "n_b") == "its output is uint16, for which there is no integer kernel"
    assert reason(model, "n_c") == "its input 'd_b' is uint16, for which there is no integer kernel"
    assert reason(model, "n_m") == "its weight 'w' is float"


def test_both_operands_of_a_product_have_to_be_codes() -> None:
    net = Net()
    data = pair(net, net.input("x", (1, 3, 4)), "x")
    other = net.node("Transpose", [net.input("a", (1, 3, 4))], "t", perm=[0, 2, 1])
    net.node("MatMul", [data, other], "y")
    model = net.model("y")
    assert integer_kernels(model) == 0
    assert (
        reason(model, "n_y") == "its input 't' is float: it does not come from a DequantizeLinear"
    )


def test_reasons_of_the_output() -> None:
    net = Net()
    data = pair(net, net.input("x"), "x")
    conv(net, data, "a")
    conv(net, data, "b")
    pair(net, "b", "b")
    net.node("Erf", ["b"], "e")
    conv(net, data, "c")
    model = net.model("a", "d_b", "e", pair(net, "c", "c"), "c")
    assert reason(model, "n_a") == "no QuantizeLinear reads its output 'a'"
    assert reason(model, "n_b") == "its output 'b' is read by a QuantizeLinear and by Erf"
    assert "and by a graph output" in reason(model, "n_c")
    assert reason(model, "n_e") == "target ort does not support Erf in int8"
    assert foresee(model).kernels == integer_kernels(model) == 0


def test_fused_nodes_share_a_fate() -> None:
    net = Net()
    made = net.node("Relu", [conv(net, pair(net, net.input("x"), "x"), "c")], "r")
    fates = {f.node: f for f in foresee(net.model(pair(net, made, "r"))).nodes}
    assert (fates["n_c"].kernel, fates["n_c"].with_nodes) == ("Conv+Relu", ("n_r",))
    assert (fates["n_r"].kernel, fates["n_r"].with_nodes) == ("Conv+Relu", ("n_c",))
    assert {f.runs for f in fates.values()} == {"int8"}


def test_a_pair_ends_a_chain() -> None:
    """Conv, pair, Relu: the ReLU is not part of the convolution's kernel."""
    net = Net()
    made = pair(net, conv(net, pair(net, net.input("x"), "x", "int8"), "c"), "c", "int8")
    found = foresee(net.model(net.node("Relu", [made], "r")), "trt")
    assert [(f.node, f.runs, f.kernel) for f in found.nodes] == [
        ("n_c", "int8", "Conv"),
        ("n_r", "float", ""),
    ]


def test_trt_runs_a_convolution_without_an_output_grid() -> None:
    net = Net()
    made = conv(net, pair(net, net.input("x"), "x", "int8"), "c")
    model = net.model(made)
    assert reason(model, "n_c", "trt") == ""
    assert reason(model, "n_c", "ort") == "no QuantizeLinear reads its output 'c'"


def test_trt_adds_in_float_unless_both_sides_and_the_output_are_quantized() -> None:
    net = Net()
    a, b = (pair(net, net.input(n), n, "int8") for n in "ab")
    net.node("Add", [a, b], "s")
    net.node("Mul", [a, b], "p")
    model = net.model(pair(net, "s", "s", "int8"), "p")
    assert reason(model, "n_s", "trt") == ""
    assert reason(model, "n_p", "trt") == "no QuantizeLinear reads its output 'p'"


# -- totals ---------------------------------------------------------------------------------------


def test_crossings_and_requantizations() -> None:
    """x | Q DQ Conv Q DQ Q' DQ' Conv Q DQ | Erf Q DQ | y: the bars are four nodes that no kernel
    takes in: Q of x, DQ before Erf, Q behind Erf, DQ of y."""
    net = Net()
    a = pair(net, conv(net, pair(net, net.input("x"), "x"), "a"), "a")
    b = conv(net, pair(net, a, "again", "uint8", 0.1), "b")
    e = net.node("Erf", [pair(net, b, "b")], "e")
    found = foresee(net.model(pair(net, e, "e")))
    assert (found.kernels, found.float_kernels) == (2, 1)
    assert (found.boundaries, found.requantizations) == (4, 1)


def test_equal_quantizers_are_one() -> None:
    net = Net()
    x = net.input("x")
    first = quantize(net, x, "x", "int8")
    again = net.node("QuantizeLinear", [x, "s_x", "z_x"], "q_again")
    a = conv(net, dequantize(net, first, "x"), "a")
    b = conv(net, dequantize(net, again, "x", "d_again"), "b")
    model = net.model(pair(net, a, "a", "int8"), pair(net, b, "b", "int8"))
    assert foresee(model).kernels == integer_kernels(model) == 0
    assert "has several readers" in reason(model, "n_a")


def test_the_share_counts_multiply_accumulates() -> None:
    """4 in * 4 out * 9 * 64 pixels in integers, 256 * 3 in float."""
    net = Net()
    made = conv(net, pair(net, net.input("x"), "x"), "c")
    flat = net.node("Flatten", [pair(net, made, "c")], "f")
    found = foresee(net.model(net.gemm(flat, "g", features=256)))
    assert found.integer_macs == 4 * 4 * 9 * 64
    assert found.macs == found.integer_macs + 256 * 3
    assert found.share == pytest.approx(100 * 9216 / 9984)


def test_every_target_can_be_asked() -> None:
    model = quantized(BUNDLED / "residual.onnx", "ort")
    for name in registry.names("targets"):
        found = foresee(model, name)
        assert found.target == name
        assert {f.op for f in found.nodes} >= {"Conv", "Add", "Gemm"}


def test_grids_of_every_name_are_what_they_say() -> None:
    assert {name.split()[0] for name in ZERO} == {np.asarray(z).dtype.name for z in ZERO.values()}
