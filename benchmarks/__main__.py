"""``make bench``: every tool on every subject, one table, in one run.

    python -m benchmarks [--real FOLDER] [--runs N] [--only TEXT] [--modelopt PYTHON]

Time and memory are medians of ``--runs`` processes, the tools in turn so that a slow moment of the
machine hits all of them.  Accuracy and latency are measured by ``oq verify`` on the files.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.subjects import Subject, find_subjects
from benchmarks.tools import TOOLS, Tool
from benchmarks.worker import FLOAT
from oq import pipeline
from oq.comparison.compare import Verification


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
    pythons = {"modelopt": arguments.modelopt} if arguments.modelopt else {}
    missing = [
        t.name
        for t in tools
        if t.package not in pythons and importlib.util.find_spec(t.package) is None
    ]
    with tempfile.TemporaryDirectory(prefix="oq-bench-") as folder:
        for subject in subjects.values():
            present = [t for t in tools if t.name not in missing]
            samples = Path(folder) / f"{subject.name}.npy"
            found = (
                subject.calibration().input
            )  # whole batches: not every tool takes a last short one
            np.save(samples, found[: len(found) // subject.batch * subject.batch])
            bench = Bench(subject, samples, real, Path(folder), pythons)
            for line in table(bench, present, arguments.runs):
                print(line, flush=True)
    if missing:
        print(f"not installed, so not measured: {', '.join(missing)}")


class MeasurementError(Exception):
    """A tool failed on a subject: the last line of what it said."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What every measurement of a subject shares; ``pythons`` maps a package to its interpreter."""

    subject: Subject
    samples: Path
    real: Path | None
    folder: Path
    pythons: Mapping[str, str]

    def output(self, tool: str) -> Path:
        """Where ``tool`` writes its file."""
        return self.folder / f"{self.subject.name}-{tool.replace(' ', '-')}.onnx"


def table(bench: Bench, tools: Iterable[Tool], runs: int) -> Iterable[str]:
    """The lines of one subject's table; ``ratio`` is time against the first row."""
    names = [FLOAT, *(t.name for t in tools)]
    record: dict[str, list[Measurement]] = {n: [] for n in names}
    failed: dict[str, str] = {}
    for _ in range(runs):
        for name in (n for n in names if n not in failed):
            try:
                record[name].append(measure(bench, name))
            except MeasurementError as error:
                failed[name] = str(error)
    base = _median(record[FLOAT])
    yield f"{bench.subject.name}: {len(bench.subject.calibration().input)} calibration samples"
    yield (
        f"  {'tool':<23} {'seconds':>8} {'memory MB':>10} {'float %':>8} {'int8 %':>7} "
        f"{'SQNR dB':>8} {'latency':>8}"
    )
    yield f"  {FLOAT:<23} {base.seconds:>8.2f} {base.peak_mb:>10.0f}"
    yield from (f"  {name:<23} failed: {reason}" for name, reason in failed.items())
    for name in (n for n in names[1:] if n not in failed):
        found = _median(record[name])
        above = found.peak_mb - base.peak_mb
        yield f"  {name:<23} {found.seconds:>8.2f} {above:>+10.0f} " + _quality(
            judge(bench.subject, bench.output(name))
        )
    yield ""


def measure(bench: Bench, tool: str) -> Measurement:
    """One process: seconds and memory of one quantize call."""
    package = "" if tool == FLOAT else TOOLS[tool].package
    real = "" if bench.real is None else str(bench.real)
    arguments = [tool, bench.subject.name, str(bench.output(tool)), real, str(bench.samples)]
    done = subprocess.run(
        [bench.pythons.get(package, sys.executable), "-m", "benchmarks.worker", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    if done.returncode != 0:
        raise MeasurementError(done.stderr.strip().splitlines()[-1][:120])
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return Measurement(found["seconds"], found["peak_mb"])


def judge(subject: Subject, output: Path) -> Verification:
    """Accuracy, error and latency of one file."""
    samples = subject.evaluation()
    data = {"input": samples.input}
    if samples.labels is not None:
        data["labels"] = samples.labels
    return pipeline.verify(subject.model, output, data, engine="onnxruntime")


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
    parser.add_argument("--modelopt", default="", help="interpreter that has modelopt")
    parser.add_argument("--only", default="", help="tools whose name contains this")
    return parser.parse_args()


if __name__ == "__main__":
    main()
