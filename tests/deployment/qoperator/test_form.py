"""``oq quantize --format qoperator``."""

from pathlib import Path

import onnx
import pytest

import oq
from oq.deployment.formats import Proof
from oq.deployment.qoperator import form
from oq.options.config import read_config
from tests.graphs import Net
from tests.small import ops


def two_layers() -> onnx.ModelProto:
    net = Net()
    net.conv(net.node("Relu", [net.conv(net.input("x", (1, 4, 8, 8)), "a")], "r"), "y")
    return net.model("y")


def test_the_model_is_made_of_integer_operators() -> None:
    result = oq.quantize(
        two_layers(), "ort", "random", samples=16, refine="none", mode="naive", format="qoperator"
    )
    assert ops(result.model) == [
        *("QuantizeLinear", "QLinearConv", "QLinearConv", "DequantizeLinear")
    ]
    assert any(
        "integer operators in place of Q/DQ: 2 QLinearConv" in n for n in result.report.notes
    )
    found = result.report.verification
    assert found is not None and found.kernels is not None and found.kernels.integer == 2
    plain = oq.quantize(two_layers(), "ort", "random", samples=16, refine="none", mode="naive")
    other = plain.report.verification
    assert other is not None
    assert found.deployed.outputs == other.deployed.outputs


def test_on_arm_activations_stay_int8() -> None:
    result = oq.quantize(
        two_layers(), "ort", "random", samples=8, refine="none", mode="naive",
        format="qoperator", settings={"platform": "arm"}, verify=False,
    )  # fmt: skip
    node = next(n for n in result.model.graph.node if n.op_type == "QLinearConv")
    zero = next(t for t in result.model.graph.initializer if t.name == node.input[2])
    assert zero.data_type == onnx.TensorProto.INT8


@pytest.mark.parametrize("target", ["trt", "coreml", "dpu"])
def test_other_targets_have_none(target: str) -> None:
    with pytest.raises(oq.OptionError, match=f"is for target ort; a file for {target} is Q/DQ"):
        oq.quantize(two_layers(), target, "random", format="qoperator")


@pytest.mark.parametrize("settings", [{"weights": "int4"}, {"dynamic": "on"}])
def test_it_needs_calibrated_activations(settings: dict[str, str]) -> None:
    with pytest.raises(oq.OptionError, match="needs calibrated activations"):
        oq.quantize(two_layers(), "ort", settings=settings, format="qoperator")


def test_an_unknown_form() -> None:
    with pytest.raises(oq.OptionError, match="'qlinear' is unknown; available: qdq, qoperator"):
        oq.quantize(two_layers(), "ort", "random", format="qlinear")  # type: ignore[arg-type]


def test_the_config_key(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("target: ort\nformat: qoperator\n")
    assert read_config(tmp_path / "c.yaml")["format"] == "qoperator"


def test_a_difference_is_a_fault_of_oq(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Proof("codes of 2 tensors", "1 % of the codes differ, by at most 3 steps", False)
    monkeypatch.setattr(form, "prove", lambda *_: (wrong,))
    with pytest.raises(RuntimeError, match="at most 3 steps"):
        oq.quantize(
            two_layers(),
            "ort",
            "random",
            samples=8,
            refine="none",
            format="qoperator",
            mode="naive",
        )
