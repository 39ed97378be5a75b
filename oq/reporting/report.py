"""The report of a run as text of 80 columns: what was quantized, what stays in float and why,
errors."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isnan
from typing import Any, ClassVar

from oq.checks.describe import conformance, finding_lines
from oq.comparison.compare import Verification
from oq.planning.check import Finding
from oq.planning.explain import layer_words, own_layers, skip_lines
from oq.planning.spec import Own, Plan
from oq.refine.outcome import Outcome
from oq.reporting.provenance import final_ranges
from oq.reporting.search import Searched
from oq.reporting.verdict import amount, told_drop
from oq.reporting.verification import verification_lines
from oq.wording import Told, counted, item, row

NAMED = 8
"""Maximum number of float layers named; the config and JSON list all."""


@dataclass(frozen=True, slots=True, repr=False)
class Report(Told):
    """The result of a run.  ``seconds`` maps a stage to its wall time; ``remedy`` is the command to
    try if the quantized model has collapsed; ``options`` are those of the run, as
    :mod:`oq.options.config` writes them."""

    WORDS: ClassVar[str] = "oq.reporting.report:report_lines"
    HTML: ClassVar[str] = "oq.page.notebook:report_html"

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
    written: tuple[str, ...] = ()
    """The files that were written, where the command or :func:`oq.search` has written them."""

    @property
    def ranges(self) -> str:
        """The calibrator of the ranges as they are in the file, after refinement."""
        return final_ranges(self.refinement) or self.calibrator

    def short(self) -> str:
        """Target, layers, size, and the figures of the verification."""
        done, total = own_layers(self.plan)
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
    left = counted(len(report.plan.skips), "node")
    yield from row("quantized", f"{layer_words(report.plan)}; {left} left in float")
    yield from row("size", _size(report))
    for i, words in enumerate(_refinement(report.refinement)):
        yield from row("refined" if i == 0 else "", words)
    yield from row("rules", conformance(report.findings))
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
    if report.written or report.next_step:
        yield ""
    if report.written:
        yield from row("wrote", ", ".join(report.written))
    if report.next_step:
        yield from row("next", report.next_step)


def _refinement(outcomes: Sequence[Outcome]) -> Iterable[str]:
    """A line for every step; one in all where none was tried, for one reason."""
    reasons = {outcome.note for outcome in outcomes}
    if len(outcomes) > 1 and len(reasons) == 1 and all(isnan(o.after_db) for o in outcomes):
        return (f"no step was tried: {reasons.pop()}",)
    return map(str, outcomes)


def _size(report: Report) -> str:
    """The sizes of both files, and why the second may be larger."""
    before, after = report.bytes_before, report.bytes_after
    text = f"{before:,} -> {after:,} bytes ({100 * after / before if before else 0:.0f} %)"
    return f"{text}: {LARGER}" if after > before else text


LARGER = "larger, since the model has few weights to shrink and Q/DQ nodes take space"
"""Said of a file that has grown."""


def _calibration(report: Report) -> str:
    """The calibrator and its data."""
    if not any(isinstance(s.spec, Own) and s.role == "activation" for s in report.plan.sites):
        return "nothing: no activation has a range that is measured"
    took = report.seconds.get("calibrate")
    seconds = "" if took is None else f" in {took:.2f} s"
    ranges = final_ranges(report.refinement)
    then = "" if ranges is None else f"; then ranges by {ranges}"
    return f"{report.calibrator} on {report.samples:,} samples of {report.data}{seconds}{then}"


def _search_lines(found: Searched) -> Iterable[str]:
    """Whether the budget was met, what was kept float for it, and what that costs."""
    yield ""
    verdict, limit = "met" if found.met else "MISSED", amount(found.metric, found.max_drop)
    told = f"{verdict}: {told_drop(found.metric, found.drop)}, limit {limit}"
    if found.kept:
        told += f"; with everything in int8, {told_drop(found.metric, found.plain_drop)}"
    yield from row("budget", told)
    yield from row("", f"measured: {found.judged}")
    kept, many = found.kept, len(found.kept)
    named = ", ".join(kept[:NAMED]) + (f", and {many - NAMED} more" if many > NAMED else "")
    yield from row("kept float", f"{counted(many, 'layer')}: {named}" if kept else "none")
    share = f"{found.int8_share:.1f} % of multiply-accumulates"
    more = f"; with everything in int8 {found.plain_share:.1f} %" if kept else ""
    yield from row("int8 share", share + more)
    before = f", {found.resumed} of them by an earlier run" if found.resumed else ""
    stopped = f"; stopped early: {found.stopped}" if found.stopped else ""
    tried = counted(found.tried, "configuration")
    journal = f"; journal {found.journal}" if found.journal else ""
    yield from row("searched", f"{tried}{before}{stopped}{journal}")


def missed_budget(found: Searched) -> str:
    """One line for a search whose best file exceeds the budget."""
    early = f" ({found.stopped}: run it again to resume)" if found.stopped else ""
    return (
        f"no file meets --max-drop {found.max_drop:g}: in the best one, which was written, "
        f"{told_drop(found.metric, found.drop)}{early}"
    )
