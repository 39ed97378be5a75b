"""The figures of a run in a few flat keys, first in every JSON document (docs/json.md)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oq.checks.judgement import Judgement
from oq.comparison.compare import Verification
from oq.planning.explain import weighted_layers
from oq.reporting.report import Report
from oq.reporting.verdict import Verdict, judge_drop, judge_search
from oq.wording import to_json

SCHEMA = 1
"""Rises when a key of a summary changes its name or meaning; new keys leave it."""


@dataclass(frozen=True, slots=True)
class Figures:
    """A comparison with the float model, in the mode that the target means (``mode``).

    ``passed``, ``metric``, ``drop``, ``limit``, ``reason``: the verdict, which the worse mode
    decides.  ``output``, ``sqnr_db``: the output that differs most, 10 log10 of its power over its
    error's; None for equal ones.  ``agreement``, ``top1_float``, ``top1``: percent, of the first
    output with classes.  ``latency_ratio``: time over the float model's; None if not measured, or
    not for this target.
    """

    passed: bool
    metric: str | None
    drop: float | None
    limit: float | None
    reason: str
    target: str
    engine: str
    mode: str
    samples: int
    output: str
    sqnr_db: float
    agreement: float | None
    top1_float: float | None
    top1: float | None
    latency_ratio: float | None
    collapsed: bool


@dataclass(frozen=True, slots=True)
class Made:
    """What ``oq quantize`` made.  ``layers`` of ``weighted_layers`` are quantized, of the latter
    ``made_layers`` are oq's own; ``refined``: the steps that were kept; ``calibrator``: of the
    ranges as they are in the file; ``next``: what to do now."""

    model: str
    file: str | None
    target: str
    calibrator: str
    refined: tuple[str, ...]
    layers: int
    weighted_layers: int
    made_layers: int
    float_nodes: int
    bytes_before: int
    bytes_after: int
    next: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tally:
    """What ``oq check`` found.  ``passed``: there is no error; ``int8_kernels`` of ``kernels`` run
    in integers, with ``int8_share`` percent of the multiply-accumulates."""

    passed: bool
    target: str
    errors: int
    warnings: int
    kernels: int
    int8_kernels: int
    int8_share: float


def tally(found: Judgement) -> Tally:
    """The figures of a check."""
    errors = sum(f.severity == "error" for f in found.findings)
    forecast = found.forecast
    return Tally(
        *(not errors, found.target, errors, len(found.findings) - errors),
        *(forecast.kernels + forecast.float_kernels, forecast.kernels, forecast.share),
    )


def figures_of(found: Verification, verdict: Verdict) -> Figures:
    """The figures of a comparison, with the ``verdict`` on it."""
    worst = min(found.judged.outputs, key=lambda e: e.sqnr_db)
    votes = next(iter(found.judged.classes), None)
    return Figures(
        *(verdict.passed, verdict.metric, verdict.drop, verdict.limit, verdict.reason),
        *(found.target, found.engine, found.mode, found.samples),
        output=worst.name,
        sqnr_db=worst.sqnr_db,
        agreement=None if votes is None else votes.agreement,
        top1_float=None if votes is None else votes.top1_float,
        top1=None if votes is None else votes.top1,
        latency_ratio=None if found.latency is None else found.latency.ratio,
        collapsed=bool(found.collapse),
    )


def summarize(report: Report) -> Mapping[str, Any]:
    """The summary of a run: :class:`Made`, and the :class:`Figures` where it was verified."""
    done, total = weighted_layers(report.plan)
    found = report.verification
    steps = (report.next_step, report.remedy if found is not None and found.collapse else "")
    made = Made(
        report.model,
        report.output,
        report.target,
        report.ranges,
        tuple(o.step for o in report.refinement if o.kept),
        *(
            done,
            total,
            len(report.plan.made),
            len(report.plan.skips),
            report.bytes_before,
            report.bytes_after,
        ),
        tuple(s for s in steps if s),
    )
    verdict = verdict_of(report)
    if found is None or verdict is None:
        return dict(to_json(made))
    return {**to_json(figures_of(found, verdict)), **to_json(made)}


def verdict_of(report: Report) -> Verdict | None:
    """Whether the file of a run is within what was asked of it; None where it was not verified."""
    found = report.verification
    if found is None:
        return None
    if report.search is not None and not found.collapse:
        return judge_search(report.search)
    return judge_drop(found)


def document(summary: Mapping[str, Any], details: Any) -> dict[str, Any]:
    """A JSON document: ``schema`` and ``summary`` first, then ``details``, whose keys may change
    with any version."""
    told = {"schema": SCHEMA, "summary": to_json(summary)}
    return told | {k: v for k, v in to_json(details).items() if k not in told}
