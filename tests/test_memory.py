"""Peak memory is that of a batch: 16,384 samples take no more than 64."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import oq

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
    """Kept, the activations of 16,384 samples would be several hundred MB."""
    few = largest(peak(tmp_path, "callable", n, what) for n in (64, 64, 1024))
    many = peak(tmp_path, "callable", 16_384, what, int(1.05 * few.space))
    assert many.resident < 1.05 * few.resident


@pytest.mark.slow
@needs_proc
def test_a_compressed_file_is_streamed(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for count in (64, 16_384):
        images = random.random((count, 1, 8, 8), np.float32)
        np.savez_compressed(tmp_path / f"{count}.npz", input=images)
    few = largest(peak(tmp_path, "64.npz", 64, "percentile") for _ in range(3))
    many = peak(tmp_path, "16384.npz", 16_384, "percentile")
    assert many.resident < 1.05 * few.resident
