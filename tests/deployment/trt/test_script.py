"""The script runs as it stands, and nothing of a model is code in it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from oq.deployment.trt.script import constants_of, write_script

STANDIN = Path(__file__).with_name("standin.py")
EVIL = "x'); raise SystemExit('owned') #\n\"\"\"\nraise SystemExit('owned')\n\u2028\u00e9"


def run(script: Path, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(STANDIN, script.parent / "tensorrt.py")
    return subprocess.run(
        [sys.executable, "-I", "-c", LAUNCH, str(script), *args],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


LAUNCH = """
import runpy, sys
sys.argv = sys.argv[1:]
sys.path[:0] = [sys.argv[0].rpartition("/")[0]]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_it_builds_tells_and_says_what_is_missing(tmp_path: Path) -> None:
    """No GPU will run the stand-in's plan, so it ends where that would be timed."""
    (tmp_path / "m.onnx").write_bytes(b"onnx")
    shapes = {"x": ((1, 3), (2, 3), (4, 3))}
    text = write_script("m.onnx", "m.plan", shapes, ("INT8", "FP16"))
    (tmp_path / "m.trt.py").write_text(text)
    done = run(tmp_path / "m.trt.py")
    assert done.stdout.splitlines()[1:] == ["int8      n_conv + n_relu", "-         reformat"]
    assert (tmp_path / "m.plan").read_bytes() == b"plan"
    assert done.returncode == 1 and "CUDA's" in done.stderr
    refused = run(tmp_path / "m.trt.py", STANDIN_FAULT="refused")
    assert refused.returncode == 1 and refused.stderr.count("\n") == 1


def test_names_are_literals_whatever_they_hold(tmp_path: Path) -> None:
    text = write_script(EVIL, "m.plan", {EVIL: ((1,), (2,), (3,))}, ("INT8",))
    assert text.isascii()
    found = constants_of(text)
    assert found["ONNX"] == EVIL and found["PROFILE"] == {EVIL: ((1,), (2,), (3,))}
    (tmp_path / "m.trt.py").write_text(text)
    done = run(tmp_path / "m.trt.py", "--help")
    assert done.returncode == 0 and "owned" not in done.stdout + done.stderr
