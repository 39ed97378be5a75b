"""``make results``: the README's tables, every model on every target, as Markdown.

    python -m benchmarks.results [--real FOLDER]

Each row is one ``oq quantize`` on the calibration samples and one ``oq verify`` on the evaluation
samples, which nothing else sees: without refinement, and then the real models with the default one.

A few hundred samples tell accuracy to a point at best, so the second table looks at each of them
through six views (:func:`views`), too: *drop* is the mean loss of top-1 over all of them.
"""

import argparse
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx

from benchmarks.subjects import BUNDLED, Samples, Subject, find_subjects, read_npz
from oq import pipeline
from oq.comparison.collapse import ReadingResult
from oq.comparison.compare import Verification
from oq.comparison.deviation import Classification, OutputError
from oq.planning import registry


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.results")
    parser.add_argument("--real", default="", help="folder of real models and data")
    real = parser.parse_args().real
    folder = Path(real) if real else None
    for line in markdown(subjects(folder)):
        print(line, flush=True)
    if folder is not None:
        print()
        for line in refined(s for s in subjects(folder) if s.model.parent != BUNDLED):
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
                judged = pipeline.verify(
                    subject.model, output, evaluation.data, engine="onnxruntime"
                )
            report = result.report
            size = 100 * report.bytes_after / report.bytes_before
            yield _row(subject.name, target, judged, size, sum(report.seconds.values()))


def refined(found: Iterable[Subject]) -> Iterable[str]:
    """One row per model and target, with the default refinement."""
    yield "| model | target | top-1 float | top-1 int8 | agree | SQNR dB | drop | refinement |"
    yield "|---|---|---|---|---|---|---|---|"
    for subject in found:
        calibration, evaluation = subject.calibration(), subject.evaluation()
        seen = views(evaluation)
        for name in registry.names("targets"):
            result = pipeline.quantize(
                subject.model, name, {"input": calibration.input}, verify=False
            )
            votes, error = count_votes(subject, result.model, evaluation, name)
            over, _ = count_votes(subject, result.model, seen, name)
            drop = (over.top1_float or 0) - (over.top1 or 0)
            yield (
                f"| {subject.name} | {name} | {votes.top1_float or 0:.2f} | {votes.top1 or 0:.2f} "
                f"| {votes.agreement:.1f} % | {error.sqnr_db:.1f} | {drop:.2f} "
                f"| {result.report.seconds['refine']:.1f} s |"
            )


def views(samples: Samples) -> Samples:
    """Every image six times: as it is, mirrored, and shifted by 1/28 of its size to each side."""
    far = max(samples.input.shape[-1] // 28, 1)
    shifts = [(axis, by) for axis in (2, 3) for by in (far, -far)]
    seen = [samples.input, samples.input[..., ::-1]]
    seen += [np.roll(samples.input, by, axis) for axis, by in shifts]
    labels = None if samples.labels is None else np.tile(samples.labels, len(seen))
    return Samples(np.concatenate(seen), labels)


def count_votes(
    subject: Subject, model: onnx.ModelProto, samples: Samples, target: str
) -> tuple[Classification, OutputError]:
    """Accuracy and error of ``model`` as its ``target`` computes it."""
    judged = pipeline.verify(subject.model, model, samples.data, target=target, latency=False)
    reading = reading_of(judged, target)
    return reading.classes[0], reading.outputs[0]


def reading_of(judged: Verification, target: str) -> ReadingResult:
    """The reading that ``target`` means: onnxruntime's own kernels, the simulated DPU, or the Q/DQ
    as ONNX defines them."""
    return judged.deployed if target in ("ort", "dpu") else judged.literal


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
