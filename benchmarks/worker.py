"""One measurement in a process of its own.

    python -m benchmarks.worker TOOL SUBJECT OUTPUT REAL [SAMPLES.npy]

Prints one JSON object: ``seconds`` of the whole quantize call (imports and data loading excluded)
and ``peak_mb``, how far the process's resident memory rose during the call.  The tool ``float``
runs plain float inference over the same samples in the same batches, the line to compare with.
"""

import importlib
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.subjects import Subject, find_subjects
from benchmarks.tools import TOOLS
from oq.numerics.values import Array

FLOAT = "float inference"


def main() -> None:
    """Measure and print."""
    tool, subject_name, output, real = sys.argv[1:5]
    subject = find_subjects(Path(real) if real else None)[subject_name]
    samples = np.load(sys.argv[5], mmap_mode="r")[:] if len(sys.argv) > 5 else _load(subject)
    package = "onnxruntime" if tool == FLOAT else TOOLS[tool].package
    for module in _imports(package):
        importlib.import_module(module)
    reset_peak()
    before, start = memory_mb("VmRSS"), time.perf_counter()
    if tool == FLOAT:
        _infer(subject, samples)
    else:
        TOOLS[tool].quantize(subject.model, samples, subject.batch, Path(output))
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "peak_mb": memory_mb("VmHWM") - before}))


def _load(subject: Subject) -> Array:
    return subject.calibration().input


def _imports(package: str) -> tuple[str, ...]:
    extra = {
        "oq": ("oq.pipeline", "oq.targets.ort", "oq.targets.trt", "oq.calibrators.auto"),
        "onnxruntime": ("onnxruntime.quantization",),
        "onnxsim": ("onnxsim.accuracy",),
        "modelopt": ("modelopt.onnx.quantization",),
    }
    return (package, *extra.get(package, ()))


def _infer(subject: Subject, samples: Array) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(subject.model))
    for start in range(0, len(samples), subject.batch):
        session.run(None, {"input": samples[start : start + subject.batch]})


def reset_peak() -> None:
    """Let VmHWM start again from the present (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def memory_mb(field: str) -> float:
    """A field of /proc/self/status in MB (10**6 bytes)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"no {field} in /proc/self/status; the benchmark needs Linux")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count()))
    main()
