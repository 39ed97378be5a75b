"""The table of engines: every row loads, says its own name, and unknown names are refused."""

from pathlib import Path

import pytest

from oq.artifacts.artifact import READERS
from oq.engines import engine
from oq.engines.engine import ENGINES, Kernels, find_engine
from oq.errors import OptionError


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_is_found_without_its_package(name: str) -> None:
    assert find_engine(name).name == name


def test_every_file_is_a_row() -> None:
    """But for what an engine does to what it loads, which is named after it."""
    files = Path(engine.__file__).parent.glob("*.py")
    others = {"__init__", "engine", "openvino_network"}
    readers = {module.rpartition(".")[2] for module in READERS.values()}
    assert {p.stem for p in files} - others - readers == set(ENGINES)


def test_an_unknown_engine() -> None:
    with pytest.raises(OptionError, match="no engine 'tvm'; available: dpu, onnxruntime, openvino"):
        find_engine("tvm")


def test_the_share_is_of_what_is_counted() -> None:
    assert Kernels(3, 1, {"Reshape": 40}).share == 75.0
    assert Kernels(0, 0, {}).share == 100.0
