"""The stand-in for tensorrt, anew for each test that asks for it."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

STANDIN = Path(__file__).with_name("standin.py")


@pytest.fixture
def tensorrt(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModuleType]:
    """A function (version, fault) -> the stand-in, installed as tensorrt."""

    def install(version: str = "10.3.0", fault: str = "") -> ModuleType:
        monkeypatch.setenv("STANDIN_VERSION", version)
        monkeypatch.setenv("STANDIN_FAULT", fault)
        spec = importlib.util.spec_from_file_location("tensorrt", STANDIN)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setitem(sys.modules, "tensorrt", module)
        return module

    return install
