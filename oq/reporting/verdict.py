"""What ``oq verify`` ends with: PASS or FAIL, and the figures it rests on."""

from collections.abc import Iterable
from dataclasses import dataclass

from oq.comparison.collapse import uncompared
from oq.comparison.compare import TOP1, Verification
from oq.reporting.search import Searched
from oq.reporting.verification import verification_lines

AGREEMENT = "agreement with float"
POINTS = (TOP1, AGREEMENT, "top1", "top5", "miou", "boxes", "text", "embedding")
"""Metrics in percent, whose differences are points."""

SAME = 0.005
"""Less than the second decimal that is printed."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a quantized model is within the ``limit`` (None: none was given) of what ``metric``
    may lose, and has not collapsed.  ``drop``: what it lost in the worse of both modes, negative
    where it gained; None where the data has no labels and no metric was asked for."""

    passed: bool
    metric: str | None
    drop: float | None
    limit: float | None
    reason: str

    def __str__(self) -> str:
        return f"{'PASS' if self.passed else 'FAIL'} {self.reason}"


def judged_lines(found: Verification) -> Iterable[str]:
    """The figures, and the verdict on them."""
    return (*verification_lines(found), "", str(judge_drop(found)))


def judge_drop(found: Verification) -> Verdict:
    """The verdict on ``found``: a collapsed model fails, with or without a limit."""
    metric, lost = found.largest_drop or (None, None)
    limit = found.limit
    bound = "no limit given" if limit is None else f"limit {amount(metric, limit)}"
    said = [] if metric is None or lost is None else [f"{told_drop(metric, lost)} ({bound})"]
    if found.collapse:
        said.insert(0, f"collapsed: {found.collapse[0]}")
    if 0 < len(found.literal.outputs) == len(uncompared(found.literal)):
        said.append("no output could be compared: each has another shape than in float")
    reason = "; ".join(said or ["not collapsed; the data has no labels"])
    return Verdict(found.passed, metric, lost, limit, reason)


def judge_search(found: Searched) -> Verdict:
    """The verdict on the file of a search within a budget."""
    told = f"{told_drop(found.metric, found.drop)} (limit {amount(found.metric, found.max_drop)})"
    return Verdict(found.met, found.metric, found.drop, found.max_drop, told)


def told_drop(metric: str, lost: float) -> str:
    """``top-1 fell 1.00 points``, or ``rose`` for a negative drop."""
    points = metric in POINTS
    if abs(lost) < SAME if points else lost == 0:
        return f"{metric} is unchanged"
    way = "fell" if lost > 0 else "rose"
    return f"{metric} {way} {amount(metric, abs(lost))}{' points' if points else ''}"


def amount(metric: str | None, value: float) -> str:
    """Points with two decimals, other figures with four digits."""
    return f"{value:.2f}" if metric in POINTS else f"{value:.4g}"
