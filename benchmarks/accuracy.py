"""``make bench-accuracy``: what each refinement step gains, every model on every target.

    python -m benchmarks.accuracy [--real FOLDER] [--learned]

Each row is one ``oq quantize`` with the steps up to that row and one ``oq verify`` on the
evaluation samples, which nothing else sees: ``none`` is the bare job, and every row below adds one
of the target's own steps.  A step that does not gain on held-back calibration
samples is dropped, so its row may repeat the one above.  *gain* is in dB of those held-back
samples, as the report says it.  ``--learned`` adds the step that needs torch.
"""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.results import subjects
from benchmarks.subjects import Subject
from oq import pipeline
from oq.planning import registry
from oq.refine.order import STEPS

LEARNED = "adaround"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy")
    parser.add_argument("--real", default="", help="folder of real models and data")
    parser.add_argument("--learned", action="store_true", help="the step that needs torch, too")
    parser.add_argument("--target", action="append", help="only this one; repeatable")
    given = parser.parse_args()
    found = subjects(Path(given.real) if given.real else None)
    targets = given.target or registry.names("targets")
    for line in markdown(found, targets, learned=given.learned):
        print(line, flush=True)


def ladder(default: Sequence[str], learned: bool) -> Iterable[tuple[str, tuple[str, ...]]]:
    """(name of the row, its steps): none, then one step more at a time."""
    yield "none", ()
    steps = [s for s in STEPS if s in default]
    for count, step in enumerate(steps, 1):
        yield f"+ {step}", tuple(steps[:count])
    if learned:
        yield f"+ {LEARNED}", (*steps, LEARNED)


def markdown(
    found: Iterable[Subject], targets: Sequence[str], *, learned: bool = False
) -> Iterable[str]:
    """One row per model, target and step."""
    yield "| model | target | refinement | top-1 float | top-1 int8 | agree | SQNR dB | gain | s |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for subject in found:
        calibration, evaluation = subject.calibration(), subject.evaluation()
        for target in targets:
            for name, steps in ladder(registry.target(target).refine, learned):
                result = pipeline.quantize(
                    subject.model,
                    target,
                    {"input": calibration.input},
                    verify=False,
                    refine=steps or "none",
                )
                judged = pipeline.verify(
                    subject.model, result.model, evaluation.data, latency=False
                )
                reading = judged.deployed if target == "ort" else judged.literal
                votes, error = reading.classes[0], reading.outputs[0]
                last = result.report.refinement[-1:]
                gain = f"{last[0].after_db - last[0].before_db:+.1f}" if last else ""
                if last and not last[0].kept:
                    gain = "" if gain == "+nan" else f"({gain})"
                seconds = sum(result.report.seconds.values())
                yield (
                    f"| {subject.name} | {target} | {name} | {votes.top1_float or 0:.2f} "
                    f"| {votes.top1 or 0:.2f} | {votes.agreement:.1f} % | {error.sqnr_db:.1f} "
                    f"| {gain} | {seconds:.1f} |"
                )


if __name__ == "__main__":
    main()
