"""One run of ``oq demo`` for all tests that ask what becomes of a bundled model."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import oq
from oq.demo import DemoRow, run_demo

BUNDLED = Path(__file__).parents[1] / "models" / "bundled"
GROUP = pytest.mark.xdist_group("demo")
"""For what reads it: one worker makes it once."""


@dataclass(frozen=True, slots=True)
class Demo:
    """``told``: the words of its progress."""

    rows: tuple[DemoRow, ...]
    told: tuple[str, ...]

    def row(self, model: str, target: str) -> DemoRow:
        (found,) = (r for r in self.rows if (r.model, r.target) == (model, target))
        return found


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    told: list[str] = []
    folder = tmp_path_factory.mktemp("demo") / "new" / "folder"
    return Demo(tuple(run_demo(folder, told.append)), tuple(told))


@cache
def quantized(name: str, target: str) -> oq.Result:
    """A bundled model, quantized another time."""
    return oq.quantize(BUNDLED / f"{name}.onnx", target, BUNDLED / "digits_calib.npz", verify=False)
