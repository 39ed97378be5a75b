"""Peak memory is that of a batch: 4,096 samples take no more than 64."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

import oq
from tests.small import small

ROOT = Path(oq.__file__).parents[1]

RUN = """
    import resource
    import sys
    import numpy as np
    import oq

    model, cache, data, count, what, limit = sys.argv[1:]
    if int(limit):
        resource.setrlimit(resource.RLIMIT_AS, (1024 * int(limit),) * 2)

    def feeds():
        random = np.random.default_rng(0)
        for _ in range(int(count) // 8):
            yield {"input": random.random((8, 1, 8, 8), np.float32)}

    source = feeds if data == "callable" else data
    if what == "calibrate":
        found = oq.calibrate(model, "trt", source, cache).samples
    else:
        options = dict(calibrator=what, verify=False, refine="none")
        found = oq.quantize(model, "trt", source, **options).report.samples
    assert found == int(count), found
    status = open("/proc/self/status").read()
    print(*(status.split(name)[1].split()[0] for name in ("VmHWM:", "VmPeak:")))
"""


@dataclass(frozen=True, slots=True)
class Peak:
    """In kB: the largest resident size, and the largest address space."""

    resident: int
    space: int


def peak(folder: Path, data: str | Path, count: int, what: str, limit: int = 0) -> Peak:
    """Of a process that calibrates on ``count`` samples with ``limit`` kB of address space."""
    (folder / "run.py").write_text(textwrap.dedent(RUN))
    model = ROOT / "models" / "bundled" / "residual.onnx"
    args = (model, f"{count}.cache", data, count, what, limit)
    done = subprocess.run(
        [sys.executable, "run.py", *map(str, args)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "MALLOC_ARENA_MAX": "2"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return Peak(*map(int, done.stdout.split()))


def largest(peaks: Iterable[Peak]) -> Peak:
    """Of several runs: with few samples it is chance whether every core gets a batch at all, and
    with it the buffers of a second worker."""
    return max(peaks, key=lambda p: p.resident)


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/status").is_file(), reason="reads Linux's /proc"
)


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize("what", ["percentile", "moving_average", "calibrate"])
def test_memory_does_not_depend_on_the_number_of_samples(tmp_path: Path, what: str) -> None:
    """Kept, the activations of 4,096 samples would be more than 100 MB."""
    few = largest(peak(tmp_path, "callable", n, what) for n in (64, 1024))
    many = peak(tmp_path, "callable", 4_096, what, int(1.05 * few.space))
    assert many.resident < 1.05 * few.resident


# ---- samples of any size

SIZED = """
    import sys
    import numpy as np
    import onnx
    import oq

    onnx_file, what, limit = sys.argv[1:]
    options = {"max_memory": int(limit) or None, "refine": "none"}
    if what == "refine":
        options["refine"] = "bias,equalize"
    found = oq.quantize(onnx_file, "ort", "images.npz", verify=what == "verify", **options)
    print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
    onnx.save(found.model, f"{what}.{limit}.onnx")
"""

SIDES = (192, 256)
SAMPLE_MB = 4 * 192 * 256 * (3 + 8 * 16) / 1e6
"""Of all tensors of a sample: an image, and eight of 16 channels."""


def any_size(folder: Path) -> None:
    """A convolutional network that takes images of any size, and images that are large for it."""
    random = np.random.default_rng(0)
    lines, weights, channels, name = [], {}, 3, "x"
    for i in range(4):
        weights[f"w{i}"] = random.normal(0, 0.2, (16, channels, 3, 3)).astype(np.float32)
        lines.append(f"c{i} = Conv <pads = [1, 1, 1, 1]> ({name}, w{i}) r{i} = Relu(c{i})")
        channels, name = 16, f"r{i}"
    weights["v"] = random.normal(0, 0.2, (1, 16, 1, 1)).astype(np.float32)
    text = (
        f"net (float[n,3,h,w] x) => (float[n,1,h,w] y) {{ {' '.join(lines)} y = Conv({name}, v) }}"
    )
    onnx.save(small(text, weights), folder / "sized.onnx")
    np.savez(folder / "images.npz", x=random.random((40, 3, *SIDES), np.float32))


def peak_mb(folder: Path, what: str, limit: int) -> float:
    (folder / "sized.py").write_text(textwrap.dedent(SIZED))
    done = subprocess.run(
        [sys.executable, "sized.py", "sized.onnx", what, str(limit)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "MALLOC_ARENA_MAX": "2"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout) / 1e3


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize("what", ["calibrate", "verify", "refine"])
def test_memory_is_that_of_the_samples_real_size(tmp_path: Path, what: str) -> None:
    """In batches of 8 and 16, whatever their size, it would be 680 to 760 MB."""
    any_size(tmp_path)
    bare = 160  # Python, NumPy, ONNX and onnxruntime
    assert peak_mb(tmp_path, what, 100) < bare + 100 + 3 * SAMPLE_MB


@pytest.mark.slow
@needs_proc
def test_a_limit_of_memory_changes_no_result(tmp_path: Path) -> None:
    any_size(tmp_path)
    for limit in (0, 30):
        peak_mb(tmp_path, "calibrate", limit)
    assert (tmp_path / "calibrate.0.onnx").read_bytes() == (
        tmp_path / "calibrate.30.onnx"
    ).read_bytes()
