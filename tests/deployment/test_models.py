"""Real structures through every format that takes them: each proof holds, nothing else is left."""

import os
from pathlib import Path

import numpy as np
import pytest

import oq
from oq.deployment.formats import FORMATS, find_format
from oq.model.files import load_model
from oq.model.session import Session
from oq.numerics.values import Array
from tests.light import light
from tests.real import CIFAR, mobilenet, needs_real, resnet20, together

SOAK = bool(os.environ.get("OQ_SOAK"))

TARGETS = {
    "coreml": "coreml",
    "openvino": "ort",
    "pt2": "coreml",
    "qoperator": "ort",
    "torchscript": "ort",
    "trt": "trt",
    "xmodel": "dpu",
}

LIGHT: list[tuple[str, str, dict[str, object]]] = [
    ("coreml", "shufflenet", {}),
    ("openvino", "shufflenet", {}),
    ("pt2", "squeezenet", {}),
    ("qoperator", "inception_v2", {}),
    ("torchscript", "squeezenet", {}),
    ("trt", "squeezenet", {}),
    ("xmodel", "squeezenet", {}),
]
"""One per format in every run; ``make soak`` has all of them in ``test_every_model.py``."""

IMAGES = 64 if SOAK else 16


PACKAGES = {"coreml": "coremltools", "openvino": "openvino", "pt2": "torch", "torchscript": "torch"}


def need(form: str) -> None:
    package = PACKAGES.get(form)
    if package is not None:
        pytest.importorskip(package)


def deployed(result: oq.Result, form: str, folder: Path, **options: object) -> Path:
    """The file that ``form`` writes of ``result``, alone in ``folder``."""
    folder.mkdir()
    place = folder / f"m{find_format(form).suffix}"
    found = result.deploy(form, place, samples=1, **options)  # type: ignore[arg-type]
    assert found.proofs and all(p.passed for p in found.proofs)
    beside = {place.with_suffix(s).name for s in find_format(form).beside}
    assert {f.name for f in folder.iterdir()} == {place.name, *beside}
    return place


def test_every_format_is_tried_here() -> None:
    assert set(TARGETS) == set(FORMATS)


@pytest.mark.slow
@pytest.mark.parametrize(("form", "name", "options"), LIGHT)
def test_light_models(form: str, name: str, options: dict[str, object], tmp_path: Path) -> None:
    need(form)
    result = oq.quantize(
        load_model(light(name)), TARGETS[form], "random", samples=2, refine="none", verify=False
    )
    deployed(result, form, tmp_path / "out", **options)


@needs_real
@pytest.mark.slow
@together("mobilenet", "coreml")
def test_mobilenet_as_a_package(tmp_path: Path) -> None:
    need("coreml")
    deployed(mobilenet("coreml"), "coreml", tmp_path / "out")


def images() -> dict[str, Array]:
    with np.load(CIFAR / "eval.npz") as arrays:
        return {"input": arrays["input"][:IMAGES], "labels": arrays["labels"][:IMAGES]}


@needs_real
@pytest.mark.slow
@pytest.mark.skipif(not SOAK, reason="make soak runs it; test_every_model.py has smaller ones")
@together("mobilenet", "dpu")
def test_mobilenet_as_torchscript(tmp_path: Path) -> None:
    """Code for code."""
    need("torchscript")
    found = deployed(mobilenet("dpu"), "torchscript", tmp_path / "out")
    assert found.stat().st_size < 600_000


@needs_real
@pytest.mark.slow
@together("resnet20", "coreml")
def test_resnet20_as_a_package(tmp_path: Path) -> None:
    """The package of float16 answers as the Q/DQ file does in onnxruntime."""
    need("coreml")
    same_answers(resnet20("coreml"), "coreml", tmp_path)


@needs_real
@pytest.mark.slow
@together("resnet20", "ort")
@pytest.mark.parametrize("form", ["openvino", "pt2", "qoperator", "torchscript"])
def test_resnet20_for_processors(form: str, tmp_path: Path) -> None:
    need(form)
    same_answers(resnet20("ort"), form, tmp_path)


INTEGER = {"pt2": 0, "torchscript": 0}
"""Formats whose arithmetic is float32, on dequantized codes."""


def same_answers(result: oq.Result, form: str, folder: Path) -> None:
    place, seen = deployed(result, form, folder / "out"), images()
    found = oq.verify(CIFAR / "resnet20.onnx", place, seen, latency=False)
    logits = Session(result.model).run({"input": seen["input"]})[0]
    right = 100 * float((logits.argmax(axis=1) == seen["labels"]).mean())
    assert found.deployed.classes[0].top1 == pytest.approx(right, abs=100 * 2 / 64 if SOAK else 0)
    assert found.kernels.integer >= INTEGER.get(form, 20)
