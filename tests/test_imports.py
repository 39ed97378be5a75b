"""Modules of the current folder can be imported for a while, and the path is as it was after it."""

import importlib
import sys
from pathlib import Path

import pytest

from oq.imports import current_folder_importable


def test_the_current_folder_is_importable_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "beside_me.py").write_text("VALUE = 7\n")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    with current_folder_importable():
        assert importlib.import_module("beside_me").VALUE == 7
    assert sys.path == before
    sys.modules.pop("beside_me")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("beside_me")


def test_an_import_that_cleans_the_path_itself_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with current_folder_importable():
        sys.path.remove(str(tmp_path))
    assert str(tmp_path) not in sys.path
