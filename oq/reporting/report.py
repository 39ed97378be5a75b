"""The report of a run as text of 80 columns: what was quantized, what stays in float and why,
errors."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from oq.checks.describe import conformance, finding_lines
from oq.comparison.compare import Verification
from oq.comparison.deviation import Classification, OutputError
from oq.comparison.layers import LayerError
from oq.planning.check import Finding
from oq.planning.explain import skip_lines, weighted_layers
from oq.planning.spec import Own, Plan
from oq.refine.outcome import Outcome
from oq.reporting.random import random_note
from oq.reporting.search import Searched, describe_drop
from oq.wording import LABEL, Told, counted, cut, db, item, row

BLAMED = 3
"""Maximum number of layers named as the cause of a collapse."""

NAMED = 8
"""Maximum number of float layers named; the config and JSON list all."""

LISTED = 15
"""Maximum number of rows in the table of layers."""


@dataclass(frozen=True, slots=True, repr=False)
class Report(Told):
    """The result of a run.  ``seconds`` maps a stage to its wall time; ``remedy`` is the command to
    try if the quantized model has collapsed; ``options`` are those of the run, as
    :mod:`oq.options.config` writes them."""

    WORDS: ClassVar[str] = "oq.reporting.report:report_lines"

    version: str
    model: str
    output: str | None
    target: str
    summary: str
    calibrator: str
    data: str
    samples: int
    bytes_before: int
    bytes_after: int
    plan: Plan
    notes: tuple[str, ...]
    findings: tuple[Finding, ...]
    verification: Verification | None
    seconds: Mapping[str, float]
    refinement: tuple[Outcome, ...] = ()
    next_step: str = ""
    remedy: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    search: Searched | None = None

    def short(self) -> str:
        """Target, layers, size, and the figures of the verification."""
        done, total = weighted_layers(self.plan)
        share = 100 * self.bytes_after / self.bytes_before if self.bytes_before else 0
        words = [f"{done} of {total} layers quantized", f"{share:.0f} % of the size"]
        if self.verification is not None:
            words.append(self.verification.short())
        return f"{self.target}: {', '.join(words)}"


def report_lines(report: Report) -> Iterable[str]:
    arrow = f" -> {report.output}" if report.output else ""
    yield f"oq {report.version}  {report.model}{arrow}"
    yield ""
    yield from row("target", f"{report.target}: {report.summary}")
    yield from row("calibrated", _calibration(report))
    done, total = weighted_layers(report.plan)
    left = counted(len(report.plan.skips), "node")
    yield from row("quantized", f"{done} of {total} weighted layers; {left} left in float")
    share = 100 * report.bytes_after / report.bytes_before if report.bytes_before else 0
    yield from row(
        "size", f"{report.bytes_before:,} -> {report.bytes_after:,} bytes ({share:.0f} %)"
    )
    for i, outcome in enumerate(report.refinement):
        yield from row("refined" if i == 0 else "", _refinement(outcome))
    yield from row("legal", conformance(report.findings))
    if report.search is not None:
        yield from _search_lines(report.search)
    yield from skip_lines(report.plan.skips)
    if report.notes:
        yield ""
        yield "notes"
        for note in report.notes:
            yield from item(note)
    yield from finding_lines(report.findings)
    if report.verification is not None:
        yield ""
        told = replace(report.verification, random=())  # a note says it
        yield from verification_lines(told, report.remedy)
        if report.verification.latency is not None and not _runs_there(report):
            yield from row(
                "",
                f"(kernels and latency are measured in {report.verification.engine} and do not "
                f"apply to {report.target}, which has its own runtime)",
            )
    if report.next_step:
        yield ""
        yield from row("next", report.next_step)


def _calibration(report: Report) -> str:
    """The calibrator and its data."""
    if not any(isinstance(s.spec, Own) and s.role == "activation" for s in report.plan.sites):
        return "nothing: no activation has a range that is measured"
    took = report.seconds.get("calibrate")
    seconds = "" if took is None else f" in {took:.2f} s"
    return f"{report.calibrator} on {report.samples:,} samples of {report.data}{seconds}"


def _runs_there(report: Report) -> bool:
    """Whether the engine that was measured is what the target is made for."""
    found = report.verification
    return found is not None and report.summary.startswith(found.engine)


def _refinement(outcome: Outcome) -> str:
    """What a step gained, or why it was dropped or not tried."""
    if math.isnan(outcome.after_db):
        return f"{outcome.step}: {outcome.verdict}, {outcome.note}"
    note = f"; {outcome.note}" if outcome.note else ""
    return (
        f"{outcome.step}: {outcome.verdict}, output SQNR "
        f"{db(outcome.before_db)} -> {db(outcome.after_db)} dB in {outcome.seconds:.1f} s{note}"
    )


def _search_lines(found: Searched) -> Iterable[str]:
    """Whether the budget was met, what was kept float for it, and what that costs."""
    yield ""
    verdict = "met" if found.met else "MISSED"
    yield from row(
        "budget",
        f"{verdict}: {describe_drop(found.drop)}, limit {found.max_drop:g}; "
        f"with everything in int8 {describe_drop(found.plain_drop)}",
    )
    yield from row("", f"points: {found.judged}")
    kept, many = found.kept, len(found.kept)
    named = ", ".join(kept[:NAMED]) + (f", and {many - NAMED} more" if many > NAMED else "")
    yield from row("kept float", f"{counted(many, 'layer')}: {named}" if kept else "none")
    share = f"{found.int8_share:.1f} % of multiply-accumulates"
    more = f"; with everything in int8 {found.plain_share:.1f} %" if kept else ""
    yield from row("int8 share", share + more)
    before = f", {found.resumed} of them by an earlier run" if found.resumed else ""
    stopped = f"; stopped early: {found.stopped}" if found.stopped else ""
    tried = counted(found.tried, "configuration")
    yield from row("searched", f"{tried}{before}{stopped}; journal {found.journal}")


def missed_budget(found: Searched) -> str:
    """One line for a search whose best file exceeds the budget."""
    early = f" ({found.stopped}: run it again to resume)" if found.stopped else ""
    return (
        f"no file meets --max-drop {found.max_drop:g}: the best one, which was written, loses "
        f"{found.drop:.2f} points{early}"
    )


def verification_lines(found: Verification, remedy: str = "") -> Iterable[str]:
    """The errors per output and mode, then kernels and latency.

    A collapse comes first, with the layers that cause most of the error and the command to try
    (``remedy``).
    """
    yield from _collapse_lines(found, remedy)
    yield f"verified on {found.samples:,} samples against the float model"
    for text in random_note(found.random):
        yield from item(text)
    columns = f"{'SQNR dB':>7} {'max err':>9} {'mean err':>9} {'cosine':>8}"
    yield f"  {'output':<22} {'mode':<9} {columns}"
    readings = [(_reading(found), found.deployed), ("literal", found.literal)]
    if found.read_once:
        readings = [("file", found.deployed)]
    for i, _ in enumerate(found.deployed.outputs):
        for name, reading in readings:
            yield _error_line(name, reading.outputs[i])
            for remark in _remarks(reading.outputs[i]):
                yield from item(remark, indent=25)
    for name, reading in readings:
        for votes in reading.classes:
            yield from item(f"{name}: {_votes(votes)}")
    for score in found.scores:
        exact = "" if score.exact is None else f"{score.exact:.4g} -> "
        yield from item(f"{score.reading}: {score.metric} {exact}{score.value:.4g}")
    if found.readings_differ and found.simulated:
        yield from item(
            f"{found.engine} rounds halves up, onnxruntime to even; rows {found.engine!r} "
            "simulate the device"
        )
    elif found.readings_differ:
        worst = min(found.gap, key=lambda g: g.sqnr_db)
        yield from item(
            f"deployed and literal differ: {worst.name!r} by {db(worst.sqnr_db)} dB, as much "
            f"as the quantization error; {found.engine} does not compute what the Q/DQ define"
        )
    for gap in found.codes:
        share = 100 * gap.differing / gap.values if gap.values else 0.0
        yield from item(
            f"{gap.name!r}: {share:.1f} % of integer values differ between {found.engine} and "
            f"literal, by {gap.largest} steps at most"
        )
    kernels = found.kernels
    total = kernels.integer + kernels.floating
    yield from row(
        "kernels",
        f"{kernels.integer} of {total} {kernels.counted} in integers ({kernels.share:.0f} %) "
        f"in {found.engine}",
    )
    for name in kernels.left:
        yield from item(f"in float: {name}", indent=LABEL)
    if found.latency is not None:
        time = found.latency
        yield from row(
            "latency",
            f"{time.quantized_ms:.2f} ms against {time.float_ms:.2f} ms per batch of "
            f"{time.batch}: {time.ratio:.2f} of float in {found.engine}",
        )


def _reading(found: Verification) -> str:
    """What the deployed reading is called: the simulated device has its own name."""
    return found.engine if found.simulated else "deployed"


def _collapse_lines(found: Verification, remedy: str) -> Iterable[str]:
    if not found.collapse:
        return
    yield "COLLAPSED: the outputs of the quantized model no longer resemble the float model's"
    for text in found.collapse:
        yield from item(text)
    guilty = [r for r in found.layers if r.share is not None and r.share > 0][:BLAMED]
    if guilty:
        named = (f"{r.node or r.tensor} ({r.share:.0f} % of the error)" for r in guilty)
        yield from item("most of it comes from " + ", ".join(named))
    if remedy:
        yield from item(f"next: {remedy}")
    yield ""


def layer_lines(rows: Sequence[LayerError]) -> Iterable[str]:
    """A table of the tensors that both models share, worst first."""
    yield "error by tensor"
    yield "  share: of the output error; added: error of this tensor's layer alone"
    yield "  share %  SQNR dB  added dB   cosine  clipped %    lowest   highest"
    for tensor in rows[:LISTED]:
        share = f"{tensor.share:.1f}" if tensor.share is not None else "n/a"
        clipped = f"{tensor.clipped:.2f}" if tensor.clipped is not None else ""
        yield (
            f"  {share:>7} {db(tensor.sqnr_db):>8} {db(tensor.added_db):>9} {tensor.cosine:>8.5f} "
            f"{clipped:>10} {tensor.lo:>9.3g} {tensor.hi:>9.3g}"
        )
        yield f"    {cut(tensor.tensor, 76)}"
    if len(rows) > LISTED:
        yield f"  and {len(rows) - LISTED} more (--json lists all)"
    if any(not tensor.alike for tensor in rows):
        yield from item(
            "n/a: the values differ by a scale and a shift per channel that a later layer "
            "compensates, as after equalization or folding, so they are not compared"
        )


def _remarks(error: OutputError) -> Iterable[str]:
    """What the figures of an output leave out, or do not say."""
    if error.nonfinite:
        own = error.nan_in_float
        so = f", {own} of them in the float model itself" if own else ""
        yield f"{error.nonfinite} values above are NaN or infinite{so}"
    if error.quiet:
        yield "all values are near 0, so its SQNR says little"
    if error.resized:
        yield f"left out: {counted(error.resized, 'run')} where it has another shape than in float"


def _error_line(reading: str, error: OutputError) -> str:
    return (
        f"  {cut(error.name, 22):<22} {reading:<9} {db(error.sqnr_db):>7} {error.max_abs:>9.3g} "
        f"{error.mean_abs:>9.3g} {error.cosine:>8.5f}"
    )


def _votes(votes: Classification) -> str:
    text = f"top-1 agrees with float on {votes.agreement:.1f} %"
    if votes.positions:
        text += f" of the {votes.samples:,} positions of {votes.output!r}"
    if votes.top1 is not None and votes.top1_float is not None:
        text += f"; accuracy {votes.top1_float:.2f} -> {votes.top1:.2f} %"
    if votes.top5 is not None and votes.top5_float is not None:
        text += f" (top-5 {votes.top5_float:.2f} -> {votes.top5:.2f})"
    return text
