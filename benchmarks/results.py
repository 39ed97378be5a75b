"""``make results``: the README's table, every model on every target, as Markdown.

    python -m benchmarks.results [--real FOLDER]

Each row is one ``oq quantize`` with default settings, but no refinement, on the calibration samples
and one ``oq verify`` on the evaluation samples, which nothing else sees.
"""

import argparse
import tempfile
from collections.abc import Iterable
from pathlib import Path

from benchmarks.subjects import BUNDLED, Subject, find_subjects, read_npz
from oq import pipeline, registry
from oq.comparison.compare import Verification


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.results")
    parser.add_argument("--real", default="", help="folder of real models and data")
    real = parser.parse_args().real
    for line in markdown(subjects(Path(real) if real else None)):
        print(line, flush=True)


def subjects(real: Path | None) -> Iterable[Subject]:
    """All bundled models, then the real ones."""
    for model in sorted(BUNDLED.glob("*.onnx")):
        yield Subject(
            f"digits {model.stem}",
            model,
            lambda: read_npz(BUNDLED / "digits_calib.npz"),
            lambda: read_npz(BUNDLED / "digits_eval.npz"),
        )
    yield from (s for name, s in find_subjects(real).items() if name != "digits-residual")


def markdown(found: Iterable[Subject]) -> Iterable[str]:
    """One row per model and target."""
    yield (
        "| model | target | top-1 float | top-1 int8 | agree | SQNR dB | integer kernels "
        "| latency | size | time |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for subject in found:
        calibration, evaluation = subject.calibration(), subject.evaluation()
        for target in registry.names("targets"):
            result = pipeline.quantize(
                subject.model, target, {"input": calibration.input}, verify=False, refine="none"
            )
            with tempfile.TemporaryDirectory(prefix="oq-results-") as folder:
                output = Path(folder) / "quantized.onnx"
                result.save(output)
                data = {"input": evaluation.input}
                if evaluation.labels is not None:
                    data["labels"] = evaluation.labels
                judged = pipeline.verify(subject.model, output, data)
            report = result.report
            size = 100 * report.bytes_after / report.bytes_before
            yield _row(subject.name, target, judged, size, sum(report.seconds.values()))


def _row(model: str, target: str, found: Verification, size: float, seconds: float) -> str:
    """A row; accuracy is that of the reading the target means (ort: deployed, else literal)."""
    reading = found.deployed if target == "ort" else found.literal
    votes, error = reading.classes[0], reading.outputs[0]
    on_cpu = target == "ort" and found.latency is not None
    ratio = f"{found.latency.ratio:.2f}x" if on_cpu and found.latency is not None else ""
    share = f"{found.kernels.share:.0f} %" if target == "ort" else ""
    return (
        f"| {model} | {target} | {votes.top1_float or 0:.2f} | {votes.top1 or 0:.2f} "
        f"| {votes.agreement:.1f} % | {error.sqnr_db:.1f} | {share} | {ratio} | {size:.0f} % "
        f"| {seconds:.2f} s |"
    )


if __name__ == "__main__":
    main()
