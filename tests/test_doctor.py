"""What ``oq doctor`` says is what is installed, and what pyproject.toml asks for."""

import json
import re
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy
import onnx
import onnxruntime
import pytest

import oq
from oq import doctor
from oq.doctor import diagnose, diagnosis_lines
from oq.errors import EXTRAS
from oq.wording import to_json

PROJECT: dict[str, Any] = tomllib.loads(
    (Path(oq.__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
)["project"]


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=\[ ;]", r)[0] for r in requirements}


def test_the_tables_are_those_of_the_project() -> None:
    assert set(doctor.CORE) == names(PROJECT["dependencies"])
    extras = PROJECT["optional-dependencies"]
    assert set(EXTRAS) == set(doctor.PURPOSES) == set(extras) - {"all", "dev", "docs"}
    for name, packages in EXTRAS.items():
        assert set(packages) == names(extras[name])


def test_versions_and_providers_are_the_imported_ones() -> None:
    found = diagnose()
    assert found.oq == oq.__version__
    assert found.packages["numpy"] == numpy.__version__
    assert found.packages["onnx"] == onnx.__version__
    assert (found.packages["onnxruntime"] or "").split("+")[0] in onnxruntime.__version__
    assert list(found.providers) == onnxruntime.get_available_providers()
    assert found.threads >= 1


def test_a_missing_extra_is_named_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def without_pillow(package: str) -> str:
        if package == "pillow":
            raise PackageNotFoundError(package)
        return version(package) if package == "numpy" else "1.0"

    monkeypatch.setattr(doctor, "version", without_pillow)
    found = diagnose()
    assert found.extras["images"].missing == ("pillow",)
    assert found.extras["torch"].missing == ()
    lines = list(diagnosis_lines(found))
    assert "images     missing pillow: pip install pillow" in lines
    assert "torch      torch 1.0, onnxscript 1.0, safetensors 1.0" in lines
    assert max(map(len, lines)) <= 80
    told = json.loads(json.dumps(to_json(found)))
    assert told["extras"]["images"]["packages"] == {"pillow": None}


def test_onnxruntime_under_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def gpu(package: str) -> str:
        if package == "onnxruntime-gpu":
            return "9.9"
        raise PackageNotFoundError(package)

    monkeypatch.setattr(doctor, "version", gpu)
    assert diagnose().packages["onnxruntime"] == "9.9"
