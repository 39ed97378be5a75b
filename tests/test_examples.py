"""The examples run as they are, in processes of their own, on the bundled models."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import oq

ROOT = Path(oq.__file__).parents[1]
EXAMPLES, BUNDLED = ROOT / "examples", ROOT / "models" / "bundled"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(BUNDLED / "residual.onnx", tmp_path / "model.onnx")
    for given, made in (("digits_calib.npz", "calib.npz"), ("digits_eval.npz", "eval.npz")):
        with np.load(BUNDLED / given) as arrays:
            np.savez(tmp_path / made, **{key: arrays[key][:128] for key in arrays})
    command = tmp_path / "bin" / "oq"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m oq "$@"\n')
    command.chmod(0o755)
    return tmp_path


def start(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((str(folder / "bin"), os.environ["PATH"]))
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    return subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, timeout=600)


def run(folder: Path, *words: str) -> str:
    done = start(folder, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def example(name: str) -> str:
    return str(EXAMPLES / name)


def test_every_example_is_told_of_and_run() -> None:
    told = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    here = Path(__file__).read_text(encoding="utf-8")
    for file in EXAMPLES.iterdir():
        if file.suffix in {".py", ".sh"}:
            assert f"[{file.name}]({file.name})" in told
            assert f'example("{file.name}")' in here


def test_five_lines(folder: Path) -> None:
    assert "quantized   9 of 9 weighted layers" in run(
        folder, sys.executable, example("five_lines.py")
    )
    assert {"QuantizeLinear"} <= {
        n.op_type for n in onnx.load(folder / "model.int8.onnx").graph.node
    }


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_the_files_that_devices_take(folder: Path) -> None:
    pytest.importorskip("coremltools")
    said = run(folder, "bash", example("deploy.sh"), "model.onnx", "calib.npz")
    for name in ("coreml.mlpackage", "dpu.xmodel", "ort.qoperator.onnx"):
        assert (folder / f"deployed.{name}").exists() and f"wrote       deployed.{name}" in said
    assert said.count("proven") >= 3


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_training_without_a_loop(folder: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    words = ("model.onnx", "calib.npz", "eval.npz", "2")
    said = run(folder, "bash", example("finetune.sh"), *words)
    assert "finetune: " in said and said.count("simulate the device") == 2 and "PASS" in said
    assert not list(folder.glob("*.safetensors"))


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_the_pipeline_step_passes_and_fails(folder: Path) -> None:
    words = ("bash", example("ci_budget.sh"), "model.onnx", "ort", "calib.npz", "eval.npz")
    assert "model.ort.onnx is within 1.0 points" in run(folder, *words)
    assert json.loads((folder / "check.json").read_text())["findings"] == []
    # No quantized model gains 50 points, so a budget of -50 is always missed.
    assert start(folder, *words, "-50").returncode == 1


def test_a_calibrator_of_ones_own(folder: Path) -> None:
    plugin = ("oq", "--plugin", example("sigma.py"))
    asked = (*plugin, "quantize", "model.onnx", "-t", "ort", "-d", "calib.npz", "--no-verify")
    ask = (*asked, "--refine", "none", "--calibrator", "sigma", "--save-ranges", "ranges.json")
    assert "calibrated  sigma on 128 samples" in run(folder, *ask, "--set", "k=1")
    narrow = json.loads((folder / "ranges.json").read_text())
    run(folder, *ask, "--set", "k=1000")
    wide = json.loads((folder / "ranges.json").read_text())
    assert narrow != wide
    refused = start(folder, *ask, "--set", "k=0")
    assert refused.returncode == 2 and "k is 0, not above 0" in refused.stderr


def test_the_range_of_that_calibrator_is_mean_and_deviations() -> None:
    import importlib.util

    from oq.numerics.statistics import observe
    from oq.numerics.values import INT8

    spec = importlib.util.spec_from_file_location("sigma", example("sigma.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sigma"] = module
    spec.loader.exec_module(module)
    values = np.random.default_rng(0).normal(1.0, 2.0, 200_000).astype(np.float32)
    found = module.Sigma(k=3.0).range(observe(values, frozenset(module.Sigma.needs)), INT8)
    assert float(found.hi) == pytest.approx(1.0 + 3 * 2.0, rel=0.01)
    assert float(found.lo) == pytest.approx(1.0 - 3 * 2.0, rel=0.01)


def test_a_target_of_ones_own(folder: Path) -> None:
    plugin = ("oq", "--plugin", example("mychip.py"))
    assert "9 of 9 weighted layers" in run(
        folder, *plugin, "plan", "model.onnx", "--target", "mychip"
    )
    words = ("quantize", "model.onnx", "-t", "mychip", "-d", "calib.npz", "--refine", "none")
    assert "mychipc model.mychip.onnx" in run(folder, *plugin, *words)


def test_all_calibrators_from_one_pass(folder: Path) -> None:
    words = ("model.onnx", "ort", "calib.npz", "eval.npz")
    head, *rows = run(
        folder, sys.executable, example("compare_calibrators.py"), *words
    ).splitlines()
    assert head.split()[0] == "calibrator"
    found = {row.split()[0]: float(row.split()[1]) for row in rows}
    assert {"minmax", "percentile", "entropy", "mse", "auto"} <= set(found)
    assert all(20 < db < 60 for db in found.values())


@pytest.mark.slow
def test_resnet50(folder: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    words = ("--size", "32", "--samples", "4", "--refine", "none")
    printed = run(folder, sys.executable, example("resnet50.py"), *words)
    assert "54 of 54 weighted layers" in printed
    assert "saved and checked, 0 findings" in printed and "peak memory" in printed
    # 25.6 million weights (He et al. 2016) in one byte each, and little else.
    size = (folder / "resnet50.int8.onnx").stat().st_size
    assert 25.5e6 < size < 26.5e6
