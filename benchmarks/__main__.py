"""``make bench``: every tool on every subject, one table, in one run.

    python -m benchmarks [--real FOLDER] [--runs N] [--only TEXT]

Time and memory are medians of ``--runs`` processes, the tools in turn so that a slow moment of the
machine hits all of them.  Accuracy and latency are measured by ``oq verify`` on the files.
"""

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.subjects import Subject, find_subjects
from benchmarks.tools import TOOLS, Tool
from benchmarks.worker import FLOAT
from oq import pipeline
from oq.compare import Verification


@dataclass(frozen=True, slots=True)
class Measurement:
    """Medians over the runs; memory is the rise during the call."""

    seconds: float
    peak_mb: float


def main() -> None:
    """Measure everything and print the tables."""
    arguments = _arguments()
    real = Path(arguments.real) if arguments.real else None
    subjects = find_subjects(real)
    tools = [t for t in TOOLS.values() if arguments.only in t.name]
    missing = [t.name for t in tools if importlib.util.find_spec(t.package) is None]
    with tempfile.TemporaryDirectory(prefix="oq-bench-") as folder:
        for subject in subjects.values():
            present = [t for t in tools if t.name not in missing]
            for line in table(subject, present, arguments.runs, real, Path(folder)):
                print(line, flush=True)
    if missing:
        print(f"not installed, so not measured: {', '.join(missing)}")


def table(
    subject: Subject, tools: Iterable[Tool], runs: int, real: Path | None, folder: Path
) -> Iterable[str]:
    """The lines of one subject's table."""
    names = [FLOAT, *(t.name for t in tools)]
    outputs = {n: folder / f"{subject.name}-{n.replace(' ', '-')}.onnx" for n in names}
    record: dict[str, list[Measurement]] = {n: [] for n in names}
    for _ in range(runs):
        for name in names:
            record[name].append(measure(name, subject, outputs[name], real))
    base = _median(record[FLOAT])
    yield f"{subject.name}: {len(subject.calibration().input)} calibration samples"
    yield (
        f"  {'tool':<22} {'seconds':>8} {'memory MB':>10} {'float %':>8} {'int8 %':>7} "
        f"{'SQNR dB':>8} {'latency':>8}"
    )
    yield f"  {FLOAT:<22} {base.seconds:>8.2f} {base.peak_mb:>10.0f}"
    for name in names[1:]:
        found = _median(record[name])
        above = found.peak_mb - base.peak_mb
        yield f"  {name:<22} {found.seconds:>8.2f} {above:>+10.0f} " + _quality(
            judge(subject, outputs[name])
        )
    yield ""


def measure(tool: str, subject: Subject, output: Path, real: Path | None) -> Measurement:
    """One process: seconds and memory of one quantize call."""
    command = [sys.executable, "-m", "benchmarks.worker", tool, subject.name, str(output)]
    done = subprocess.run(
        [*command, "" if real is None else str(real)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{tool} on {subject.name} failed:\n{done.stderr[-2000:]}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return Measurement(found["seconds"], found["peak_mb"])


def judge(subject: Subject, output: Path) -> Verification:
    """Accuracy, error and latency of one file."""
    samples = subject.evaluation()
    data = {"input": samples.input}
    if samples.labels is not None:
        data["labels"] = samples.labels
    return pipeline.verify(subject.model, output, data)


def _quality(found: Verification) -> str:
    votes = found.deployed.classes[0]
    ratio = "" if found.latency is None else f"{found.latency.ratio:.2f}x"
    return (
        f"{votes.top1_float or 0:>8.2f} {votes.top1 or 0:>7.2f} "
        f"{found.deployed.outputs[0].sqnr_db:>8.1f} {ratio:>8}"
    )


def _median(runs: list[Measurement]) -> Measurement:
    return Measurement(
        statistics.median(r.seconds for r in runs), statistics.median(r.peak_mb for r in runs)
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--real", default="", help="folder of real models and data")
    parser.add_argument("--runs", type=int, default=3, help="processes per tool")
    parser.add_argument("--only", default="", help="tools whose name contains this")
    return parser.parse_args()


if __name__ == "__main__":
    main()
