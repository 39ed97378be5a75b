"""``oq deploy --to trt``: the file, the facts, and the engine of a stand-in for TensorRT."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import onnx
import pytest

import oq
from oq.deployment.trt import build
from oq.deployment.trt.script import constants_of
from tests.command import commands
from tests.graphs import Net

Standin = Callable[..., ModuleType]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two convolutions, the first with a ReLU, for ``trt``."""
    net = Net()
    x = net.input("x", ("n", 32, 8, 8))
    for i in "ab":
        net.node("Conv", [x, net.weight(f"w_{i}", 32, 32, 3, 3)], i, pads=[1, 1, 1, 1])
        x = net.node("Relu", [i], f"r{i}")
    onnx.save(net.model(x), tmp_path / "m.onnx")
    made = tmp_path / "m.int8.onnx"
    oq.quantize(tmp_path / "m.onnx", "trt", "random", samples=8, refine="none", verify=False).save(
        made
    )
    return made


@pytest.fixture(autouse=True)
def _absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT is not installed, wherever the tests run."""
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", None)


def layer(precision: str, *nodes: str) -> dict[str, object]:
    told = "\x1e".join(f"[ONNX Layer: {n}]" for n in nodes)
    return {"Inputs": [{"Format/Datatype": precision}], "Metadata": told}


def test_the_script_finds_the_file_from_where_it_lies(file: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    place = tmp_path / "out" / "m.trt.py"
    found = oq.deploy(file, "trt", place, max_shape={"x": (16, None, None, None)})
    constants = constants_of(place.read_text())
    assert constants["ONNX"] == "../m.int8.onnx"
    assert constants["PROFILE"] == {"x": ((1, 32, 8, 8), (8, 32, 8, 8), (16, 32, 8, 8))}
    assert constants["FLAGS"] == ("INT8", "FP16")
    assert found.facts["shapes"] == "x min 1x32x8x8, opt 8x32x8x8, max 16x32x8x8"
    assert all(f"--onnx={file}" in line for line in found.commands.values())
    assert any("tensorrt is not installed here" in note for note in found.notes)
    assert any("which TensorRT 8 does not read" in note for note in found.notes)


def test_where_tensorrt_is_installed_layers_stand_beside_the_forecast(
    file: Path, tensorrt: Standin
) -> None:
    trt = tensorrt("10.3.0")
    trt.LAYERS[:] = [layer("Int8 CHW32", "n_a", "n_ra"), layer("Half CHW", "n_b"), "copy"]
    found = oq.deploy(file, "trt")
    assert found.facts["engine"] == "TensorRT 10.3.0, 3 layers"
    assert found.facts["precision"] == "2 of 3 nodes as oq check forecasts"
    assert "'n_b' runs in float16, and was forecast in int8" in found.notes
    assert "no layer of the engine names 1 node of the forecast" in found.notes
    assert ("shape", "x", ((1, 32, 8, 8), (8, 32, 8, 8), (32, 32, 8, 8))) in trt.CALLS


def test_a_file_that_the_parser_refuses_is_an_error(file: Path, tensorrt: Standin) -> None:
    tensorrt(fault="refused")
    with pytest.raises(oq.ModelError, match=r"TensorRT 10.3.0 does not read it: In node 3"):
        oq.deploy(file, "trt")
    assert not file.with_name("m.int8.trt.py").exists()


def test_without_a_gpu_there_is_a_note(file: Path, tensorrt: Standin) -> None:
    tensorrt(fault="no gpu")
    found = oq.deploy(file, "trt")
    assert any("built no engine here: pybind11" in note for note in found.notes)
    assert Path(found.output).is_file()


def test_a_model_in_memory_is_to_be_saved(file: Path, tmp_path: Path) -> None:
    found = oq.deploy(onnx.load(file), "trt", tmp_path / "k.trt.py")
    assert "save the model there" in " ".join(found.notes)


def test_the_command_prints_lines_that_can_be_copied(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(file.parent)
    run = commands(monkeypatch, capsys)
    shape = "x=4x?x?x?"
    done = run("deploy", file.name, "--to", "trt", "--opt-shape", shape, "--max-shape", shape)
    assert done.code == 0 and max(map(len, done.out.splitlines())) <= 82
    line = done.out.split("10.12+")[1].split("10.0-10.11")[0].replace("\\\n", " ").split()
    assert line[:2] == ["trtexec", "--onnx=m.int8.onnx"] and line[-1] == "--stronglyTyped"
    assert "--optShapes=x:4x32x8x8" in line
    bad = run("deploy", file.name, "--to", "trt", "--opt-shape", "x")
    assert bad.code == 2 and "expected NAME=1x3x224x224" in bad.err
    other = run("deploy", file.name, "--to", "openvino", "--opt-shape", shape)
    assert other.code == 2 and "--opt-shape is for --to trt" in other.err


def test_the_package_is_imported_in_one_place() -> None:
    assert build._import() is None
