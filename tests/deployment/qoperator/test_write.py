"""``oq deploy --to qoperator`` as a user meets it."""

from pathlib import Path

import numpy as np
import onnx
import pytest

import oq
from oq.model.session import optimized_ops
from tests.graphs import Net
from tests.qdq_cases import CASES, LEFT, Pairs
from tests.small import floats, normal, ops, random_feeds, reference, small

BUNDLED = Path(oq.__file__).parents[1] / "models" / "bundled"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The bundled residual network, and its Q/DQ file."""
    made = tmp_path_factory.mktemp("deployed") / "r.int8.onnx"
    calib = BUNDLED / "digits_calib.npz"
    oq.quantize(BUNDLED / "residual.onnx", "ort", calib, refine="none", verify=False).save(made)
    return BUNDLED / "residual.onnx", made


def test_the_file_has_the_kernels_that_onnxruntime_fuses(files: tuple[Path, Path]) -> None:
    found = oq.deploy(files[1], "qoperator", data=BUNDLED / "digits_calib.npz")
    assert found.output == str(files[1].with_name("r.int8.qoperator.onnx"))
    model = onnx.load(found.output)
    onnx.checker.check_model(model, full_check=True)
    fused = optimized_ops(onnx.load(files[1]))
    assert {op: n for op, n in fused.items() if op.startswith("Q")} == {
        op: ops(model).count(op) for op in set(ops(model)) if op.startswith("Q")
    }
    assert found.facts["onnx"] == "8 QLinearConv"
    assert found.facts["microsoft"] == "1 QGemm, 3 QLinearAdd, 1 QLinearGlobalAveragePool"
    assert found.bytes < found.before
    assert all("all equal" in p.figures for p in found.proofs)
    assert "onnxruntime" in found.next_step
    again = oq.deploy(files[1], "qoperator", files[1].with_name("again.onnx"))
    assert Path(again.output).read_bytes() == Path(found.output).read_bytes()


def test_verify_takes_the_file_by_layer_too(files: tuple[Path, Path]) -> None:
    made = oq.deploy(files[1], "qoperator", files[1].with_name("v.onnx")).output
    data = BUNDLED / "digits_eval.npz"
    pairs, codes = (
        oq.verify(files[0], m, data, samples=16, latency=False, per_layer=True)
        for m in (files[1], made)
    )
    assert [e.sqnr_db for e in codes.deployed.outputs] == [
        e.sqnr_db for e in pairs.deployed.outputs
    ]
    assert codes.kernels is not None and codes.kernels.integer == 13
    tensors = {layer.tensor for layer in codes.layers or ()}
    assert {"relu", "mean", "logits"} <= tensors


def test_onnx_s_own_operators_alone(files: tuple[Path, Path]) -> None:
    place = files[1].with_name("plain.onnx")
    found = oq.deploy(files[1], "qoperator", place, operators="onnx")
    assert {n.domain for n in onnx.load(place).graph.node} == {""}
    assert found.facts["microsoft"] == "none of them"
    assert all(p.passed for p in found.proofs)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"operators": "tflite"}, r"--operators 'tflite' is unknown; available: microsoft, onnx"),
        ({"platform": "riscv"}, r"--platform 'riscv' is unknown; available: x86, arm"),
    ],
)
def test_unknown_values(files: tuple[Path, Path], options: dict[str, str], said: str) -> None:
    with pytest.raises(oq.OptionError, match=said):
        oq.deploy(files[1], "qoperator", files[1].with_name("no.onnx"), **options)  # type: ignore[arg-type]
    assert not files[1].with_name("no.onnx").exists()


def test_nothing_to_convert(tmp_path: Path) -> None:
    onnx.save(LEFT["no integer form"](), tmp_path / "a.onnx")
    with pytest.raises(oq.ModelError, match=r"integer form: ConvTranspose .* has none; docs"):
        oq.deploy(tmp_path / "a.onnx", "qoperator")
    onnx.save(CASES["conv"]().model, tmp_path / "b.onnx")
    made = oq.deploy(tmp_path / "b.onnx", "qoperator").output
    with pytest.raises(oq.ModelError, match="holds integer operators already"):
        oq.deploy(made, "qoperator")


def test_bodies_are_left_alone(tmp_path: Path) -> None:
    """Codes that a body reads, through their DequantizeLinear, are still there."""
    p = Pairs()
    total = p.net.node("Add", [p.input("x", 2, 3), p.input("a", 2, 3)], "sum")
    real = p.pair(total, "y")
    make = onnx.helper.make_node
    value = onnx.helper.make_tensor_value_info("z", 1, [2, 3])
    branches = {
        f"{name}_branch": onnx.helper.make_graph([make(op, [real], ["z"])], name, [], [value])
        for name, op in (("then", "Neg"), ("else", "Identity"))
    }
    p.net.constant("c", True, bool)
    p.net.nodes.append(make("If", ["c"], ["out"], "if", **branches))
    model = p.model("out")
    onnx.save(model, tmp_path / "m.onnx")
    found = oq.deploy(tmp_path / "m.onnx", "qoperator")
    made, feeds = onnx.load(found.output), random_feeds(model)
    assert "QLinearAdd" in ops(made)
    np.testing.assert_allclose(
        reference(made, feeds)["out"], reference(model, feeds)["out"], rtol=0, atol=0.0501
    )


def test_a_transformer_s_products_take_their_bias_in(tmp_path: Path) -> None:
    """For onnxruntime's Q/DQ the bias is a pass of its own."""
    net = Net()
    data = net.input("x", (2, 5, 16))
    weight, bias = net.weight("w", 16, 8), net.weight("b", 8)
    net.node("Add", [net.node("MatMul", [data, weight], "m"), bias], "y")
    onnx.save(net.model("y"), tmp_path / "f.onnx")
    samples = {"x": normal(8, 5, 16)}
    result = oq.quantize(net.model("y"), "ort", [samples], refine="none", verify=False)
    assert "Add" in optimized_ops(result.model)
    found = result.deploy("qoperator", tmp_path / "m.onnx")
    made = onnx.load(found.output)
    assert ops(made) == ["QuantizeLinear", "MatMulIntegerToFloat"]
    assert "Add" not in optimized_ops(made)


def test_a_float_result_is_named(tmp_path: Path) -> None:
    """Files for TensorRT and OpenVINO quantize inputs alone."""
    constants = {"s": floats(0.1)[0], "z": np.asarray(0, np.int8), "w": normal(4, 3, 1, 1)}
    text = """net (float[n,3,4,4] x) => (float[n,4,4,4] y) {
        q = QuantizeLinear(x, s, z)
        d = DequantizeLinear(q, s, z)
        wq = QuantizeLinear(w, s, z)
        wd = DequantizeLinear(wq, s, z)
        c = Conv(d, wd)
        y = Tanh(c)
    }"""
    with pytest.raises(oq.ModelError, match=r"Conv '.*' has a result that is not quantized"):
        oq.deploy(small(text, constants), "qoperator", tmp_path / "m.onnx")


def test_a_sum_beyond_int32_is_refused_by_name(tmp_path: Path) -> None:
    """onnxruntime's QLinearAdd gives the smallest code where the largest is right."""
    text = """net (float[n,4] x) => (float[n,4] y) {
        q = QuantizeLinear(x, s, z)
        d = DequantizeLinear(q, s, z)
        c = Add(d, d)
        cq = QuantizeLinear(c, t, z)
        y = DequantizeLinear(cq, t, z)
    }"""
    model = small(text, {"s": floats(1)[0], "t": floats(1e-7)[0], "z": np.asarray(0, np.uint8)})
    model.graph.node[2].name = "sum"
    with pytest.raises(oq.ModelError, match=r"'sum' has no integer form.* 5.1e\+09 steps"):
        oq.deploy(model, "qoperator", tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
