"""``deploy`` in a config file: one file from the float model to the device's."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

import oq
from oq.options.config import read_config
from tests.command import Oq, commands

BUNDLED = Path(oq.__file__).parents[1] / "models" / "bundled"


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Oq:
    monkeypatch.chdir(tmp_path)
    shutil.copy(BUNDLED / "residual.onnx", "model.onnx")
    shutil.copy(BUNDLED / "digits_calib.npz", "calib.npz")
    return commands(monkeypatch, capsys)


def configure(target: str = "ort", **deploy: object) -> None:
    asked = {"target": target, "data": "calib.npz", "samples": 16, "refine": "none",
             "verify": False, "deploy": deploy}  # fmt: skip
    Path("quant.yaml").write_text(yaml.safe_dump(asked))


QUANTIZE = ("quantize", "model.onnx", "--config", "quant.yaml", "-o", "q.onnx")


def names() -> set[str]:
    return {p.name for p in Path.cwd().iterdir()} - {"model.onnx", "calib.npz", "quant.yaml"}


def test_one_file_goes_from_float_to_the_device(call: Oq) -> None:
    configure(to="qoperator", operators="onnx")
    found = call(*QUANTIZE)
    assert found.code == 0, found.err
    assert found.out.index("wrote       q.onnx") < found.out.index("wrote       q.qoperator.onnx")
    assert "none of them" in found.out  # operators of Microsoft
    assert names() == {"q.onnx", "q.onnx.yaml", "q.qoperator.onnx"}
    # the config beside the output makes both again, byte for byte
    first = {n: Path(n).read_bytes() for n in names()}
    assert read_config("q.onnx.yaml")["deploy"]["operators"] == "onnx"
    Path("q.onnx.yaml").rename("quant.yaml")
    assert call(*QUANTIZE).code == 0
    assert {n: Path(n).read_bytes() for n in names()} == first


def test_deploy_reads_its_part_and_flags_win(call: Oq) -> None:
    configure(to="qoperator", operators="onnx", output="a.onnx")
    call("quantize", "model.onnx", "-t", "ort", "-d", "calib.npz", "--refine", "none", "-o",
         "q.onnx", "--no-verify")  # fmt: skip
    said = ("deploy", "q.onnx", "--config", "quant.yaml", "--json")
    found = json.loads(call(*said).out)
    assert (found["format"], found["output"]) == ("qoperator", "a.onnx")
    assert found["facts"]["microsoft"] == "none of them"
    found = json.loads(call(*said, "--operators", "microsoft", "-o", "b.onnx").out)
    assert found["output"] == "b.onnx"
    assert found["facts"]["microsoft"] != "none of them"


def test_json_is_one_document(call: Oq) -> None:
    configure("trt", to="trt")
    found = json.loads(call(*QUANTIZE, "--json").out)
    assert found["summary"]["file"] == "q.onnx"
    assert found["deployment"]["output"] == "q.trt.py"


REFUSED = [
    ({"to": "coreml"}, "--to coreml takes files of target coreml; this run makes one for ort"),
    ({"to": "qnn"}, "no format 'qnn'; available: coreml, openvino"),
    ({"to": "qoperator", "ios": 17}, "--ios is for --to coreml, not for qoperator"),
    ({"to": "qoperator", "operators": "all"}, "--operators 'all' is unknown"),
    ({"to": "qoperator", "output": "x.bin"}, "--to qoperator writes a .onnx"),
    ({"to": "qoperator", "output": "model.onnx"}, "'model.onnx' is the float model itself"),
    ({"to": "coreml", "weights_only": "int8"}, "--weights-only is of a float model"),
]


@pytest.mark.parametrize(("asked", "message"), REFUSED)
def test_what_cannot_be_is_refused_before_the_work(
    call: Oq, asked: dict[str, object], message: str
) -> None:
    configure(**asked)  # type: ignore[arg-type]
    found = call(*QUANTIZE)
    assert found.code == 2
    assert message in found.err and len(found.err.splitlines()) == 1
    assert names() == set()


def test_deploy_without_a_format_says_what_there_is(call: Oq) -> None:
    Path("quant.yaml").write_text("target: ort")
    assert "has no key 'deploy'" in call("deploy", "model.onnx", "--config", "quant.yaml").err
    found = call("deploy", "model.onnx")
    assert found.code == 2
    assert found.err == "oq: --to is missing; available: coreml, openvino, pt2, qoperator, " \
        "torchscript, trt, xmodel\n"  # fmt: skip
