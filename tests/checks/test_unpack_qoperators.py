"""Integer operators read as Q/DQ: the same numbers and forecast, whichever tool wrote them."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

import oq
from oq.checks.unpack_qoperators import as_qdq, unpack_qoperators
from oq.deployment.qoperator.convert import convert
from oq.model.graph import Graph
from oq.model.qdq import PAIR
from oq.model.qoperators import BY_NAME
from oq.numerics.values import Array
from tests.graphs import Net
from tests.qdq_cases import CASES
from tests.small import ops, random_feeds, reference


@pytest.mark.parametrize("name", CASES)
def test_what_is_unpacked_computes_what_the_pairs_did(name: str) -> None:
    """Beside the Q/DQ model that it was made from, literally: no kernel rounds in between."""
    model = CASES[name]().model
    found = as_qdq(convert(model).model)
    onnx.checker.check_model(found, full_check=True)
    assert not set(ops(found)) & set(BY_NAME)
    assert set(ops(model)) - set(ops(found)) <= {"Relu", "Clip"}
    feeds = random_feeds(model)
    wanted, got = reference(model, feeds), reference(found, feeds)
    for output, values in got.items():
        np.testing.assert_allclose(values, wanted[output], rtol=0, atol=1e-5)


SCALED = "gemm, transA, alpha, beta"
"""No row of target ``ort`` takes it."""


@pytest.mark.parametrize("name", [n for n in CASES if n != SCALED])
def test_the_forecast_is_that_of_the_pairs(name: str) -> None:
    model = CASES[name]().model
    made = convert(model, platform="arm").model
    before, after = oq.judge(model, "ort"), oq.judge(made, "ort")
    errors = [f for f in after.findings if f.severity == "error"]
    assert errors == [f for f in before.findings if f.severity == "error"]
    if "Concat" not in CASES[name]().ops:  # on one grid it only moves codes
        assert after.forecast.kernels >= before.forecast.kernels
    assert after.forecast.kernels == len([op for op in CASES[name]().ops if op in BY_NAME])


def test_other_targets_refuse_integer_operators() -> None:
    made = convert(CASES["conv"]().model).model
    assert {f.check for f in oq.check(made, "trt")} >= {"only-qdq"}


def test_tensors_get_their_names_back() -> None:
    made = convert(CASES["residual"]().model).model
    tensors = {t for n in as_qdq(made).graph.node for t in n.output}
    assert {"x_quantized", "x_dequantized", "p0_quantized", "y_dequantized"} <= tensors


def test_a_scale_that_is_computed_leaves_the_operator() -> None:
    made = convert(CASES["add"]().model).model
    node = next(n for n in made.graph.node if n.op_type == "QLinearAdd")
    made.graph.node.insert(0, onnx.helper.make_node("Identity", [node.input[6]], ["late"]))
    node.input[6] = "late"
    assert unpack_qoperators(Graph(made)) == 0


def test_a_model_without_such_operators_is_given_back() -> None:
    model = CASES["add"]().model
    assert as_qdq(model) is model


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """Four random samples."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self.rest = [random.normal(size=(1, 4, 8, 8)).astype(np.float32) for _ in range(4)]

    def get_next(self) -> dict[str, Array] | None:
        return {"x": self.rest.pop()} if self.rest else None


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network with a skip connection in onnxruntime's own QOperator format."""
    net = Net()
    data = net.node("Relu", [net.conv(net.input("x", (1, 4, 8, 8)), "a")], "ar")
    total = net.node("Add", [net.conv(data, "b"), data], "sum")
    pooled = net.node("MaxPool", [total], "pool", kernel_shape=[2, 2], strides=[2, 2])
    mean = net.node("GlobalAveragePool", [pooled], "mean")
    net.gemm(net.node("Flatten", [mean], "flat"), "y")
    folder = tmp_path_factory.mktemp("foreign")
    onnx.save(net.model("y", opset=17), folder / "float.onnx")
    quantize_static(
        *(folder / "float.onnx", folder / "made.onnx", Reader()),
        quant_format=QuantFormat.QOperator,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
    )
    return folder / "made.onnx"


def test_a_file_of_another_tool_is_read(foreign: Path) -> None:
    model = onnx.load(foreign)
    assert {"QLinearConv", "QLinearAdd", "QGemm"} <= set(ops(model))
    found = oq.judge(foreign, "ort")
    assert not [f for f in found.findings if f.severity == "error"]
    kernels = [op for op in ops(model) if op in BY_NAME]
    assert found.forecast.kernels == len(kernels)
    runs = {n.op: n.runs for n in found.forecast.nodes}
    assert runs == dict.fromkeys(runs, "int8")
    plain = as_qdq(model)
    assert set(ops(plain)) - PAIR == {
        *("Conv", "Add", "MaxPool", "GlobalAveragePool", "Flatten", "Gemm")
    }
    feeds = random_feeds(model)
    wanted, got = reference(model, feeds)["y"], reference(plain, feeds)["y"]
    scale = max(float(np.abs(wanted).max()) / 100, 1e-3)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=scale)


def test_float_files_of_such_operators_are_refused_by_name(foreign: Path) -> None:
    with pytest.raises(oq.ModelError, match="quantized already"):
        oq.quantize(foreign, "ort", "random")
