"""``oq.inspect`` and ``oq inspect``: one door to files of every kind."""

import json
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest

import oq
from oq.artifacts import artifact
from oq.artifacts.artifact import Contents
from tests.command import commands

MODEL = Path(__file__).parents[2] / "models" / "bundled" / "residual.onnx"


def test_a_path_and_a_model_in_memory_are_told_the_same() -> None:
    one, other = oq.inspect(str(MODEL)), oq.inspect(onnx.load(MODEL))
    assert one == other and one.ops["Conv"] == 8


def test_a_device_file_is_opened_by_its_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Opened:
        def __init__(self, path: Path) -> None:
            self.size = path.stat().st_size

        def contents(self) -> Contents:
            return Contents("mine", self.size)

    monkeypatch.setattr(artifact, "READERS", {".mine": "tests"})
    monkeypatch.setattr(artifact, "import_module", lambda _: SimpleNamespace(open_file=Opened))
    (tmp_path / "m.mine").write_bytes(b"abc")
    assert oq.inspect(tmp_path / "m.mine") == Contents("mine", 3)


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = commands(monkeypatch, capsys)
    done = run("inspect", MODEL)
    assert (done.code, done.err) == (0, "") and "quantized   no, a float model" in done.out
    assert json.loads(run("inspect", MODEL, "--json").out)["ops"]["Conv"] == 8
    (tmp_path / "m.onnx").write_bytes(b"no model")
    missing = run("inspect", tmp_path / "none.onnx")
    for failed in (run("inspect", tmp_path / "m.onnx"), missing):
        assert failed.code == 2 and failed.err.count("\n") == 1
