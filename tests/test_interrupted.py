"""Runs that are killed, and runs beside each other: the same bytes in the end.

``make test`` kills at 2 moments, ``make soak`` at 20, evenly spread over the time of a whole run.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.shown import BUNDLED

MODEL, CALIB = (str(BUNDLED / name) for name in ("residual.onnx", "digits_calib.npz"))
MOMENTS = 20 if os.environ.get("OQ_SOAK") else 2

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("interrupted")]

QUANTIZE = ("quantize", MODEL, "-t", "ort", "-d", CALIB, "-o", "o.onnx", "--samples", "64")
RUNS = {
    "quantize": (*QUANTIZE, "--cache", "c", "--no-verify"),
    "search": (*QUANTIZE, "--max-drop", "0.5", "--cache", "c", "--refine", "none"),
}
KEPT = ("o.onnx", "o.onnx.yaml")


def start(folder: Path, *args: str) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "oq", *args]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=folder, stdout=quiet, stderr=quiet)


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in KEPT if (folder / name).exists()}


@pytest.mark.parametrize("name", RUNS)
def test_a_killed_run_leaves_nothing_half_and_the_next_one_ends_the_same(
    name: str, tmp_path: Path
) -> None:
    began = time.monotonic()
    assert start(tmp_path / "whole", *RUNS[name]).wait() == 0
    whole, seconds = contents(tmp_path / "whole"), time.monotonic() - began
    assert set(whole) == set(KEPT)
    for moment in range(1, MOMENTS + 1):
        folder = tmp_path / str(moment)
        run = start(folder, *RUNS[name])
        time.sleep(seconds * moment / (MOMENTS + 1))
        run.kill()
        run.wait()
        for file, found in contents(folder).items():
            assert found == whole[file], f"{file} is half written"
        assert start(folder, *RUNS[name]).wait() == 0
        assert contents(folder) == whole
        assert not [p.name for p in folder.iterdir() if p.name.startswith(".")], "scratch files"
        shutil.rmtree(folder)


def test_two_processes_share_a_cache(tmp_path: Path) -> None:
    """Started at once, on one cache: both end, and what they made is right."""
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    assert start(alone, *RUNS["quantize"]).wait() == 0
    second = [a.replace("o.onnx", "p.onnx") for a in RUNS["quantize"]]
    runs = [start(shared, *RUNS["quantize"]), start(shared, *second)]
    assert [run.wait() for run in runs] == [0, 0]
    made = (alone / "o.onnx").read_bytes()
    assert (shared / "o.onnx").read_bytes() == (shared / "p.onnx").read_bytes() == made
