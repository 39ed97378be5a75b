"""``make bench-accuracy``, first table: accuracy over several draws of the calibration samples.

    python -m benchmarks.draws [--real FOLDER] [--draws 5] [--samples 128] [--target NAME]

One draw says little: a tool can be lucky with its samples.  Each row is ``--draws`` runs of
``oq quantize`` with its defaults, each on ``--samples`` samples drawn by another seed, each
followed by ``oq verify`` on the evaluation samples as the target computes it.  *drop* is what
top-1 loses, in points: the mean over the draws, and the worst draw; *agree* and *SQNR* likewise.
Fewer than :data:`FEW` evaluation samples are looked at through six views each
(:func:`benchmarks.results.views`), since they tell accuracy to a point at best.
"""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean

from benchmarks.results import count_votes, subjects, views
from benchmarks.subjects import Samples, Subject
from oq import pipeline
from oq.planning import registry

FEW = 1000


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.draws")
    parser.add_argument("--real", default="", help="folder of real models and data")
    parser.add_argument("--draws", type=int, default=5, help="runs per row")
    parser.add_argument("--samples", type=int, default=128, help="calibration samples of a draw")
    parser.add_argument("--target", action="append", help="only this one; repeatable")
    parser.add_argument("--model", action="append", help="only this one; repeatable")
    given = parser.parse_args()
    found = subjects(Path(given.real) if given.real else None)
    wanted = (s for s in found if given.model is None or s.name in given.model)
    targets = given.target or registry.names("targets")
    for line in markdown(wanted, targets, given.draws, given.samples):
        print(line, flush=True)


def markdown(
    found: Iterable[Subject], targets: Sequence[str], draws: int, samples: int
) -> Iterable[str]:
    """One row per model and target: the mean and the worst of ``draws``."""
    yield "| model | target | top-1 float | drop | worst | agree | worst | SQNR dB | worst |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for subject in found:
        calibration, evaluation = subject.calibration(), subject.evaluation()
        seen = views(evaluation) if len(evaluation.input) < FEW else evaluation
        for target in targets:
            runs = [
                draw(subject, target, calibration, seen, min(samples, len(calibration.input)), seed)
                for seed in range(draws)
            ]
            drops, agreements, decibels = ([run[i] for run in runs] for i in range(3))
            yield (
                f"| {subject.name} | {target} | {runs[0][3]:.2f} "
                f"| {fmean(drops):.2f} | {max(drops):.2f} "
                f"| {fmean(agreements):.1f} % | {min(agreements):.1f} % "
                f"| {fmean(decibels):.1f} | {min(decibels):.1f} |"
            )


def draw(
    subject: Subject, target: str, calibration: Samples, seen: Samples, samples: int, seed: int
) -> tuple[float, float, float, float]:
    """Points of top-1 lost, agreement in percent, SQNR in dB, and top-1 of the float model, of one
    run on ``samples`` calibration samples drawn by ``seed``."""
    given = {"input": calibration.input}
    result = pipeline.quantize(
        subject.model, target, given, samples=samples, seed=seed, verify=False
    )
    voted, error = count_votes(subject, result.model, seen, target)
    exact = voted.top1_float or 0.0
    return exact - (voted.top1 or 0.0), voted.agreement, error.sqnr_db, exact


if __name__ == "__main__":
    main()
