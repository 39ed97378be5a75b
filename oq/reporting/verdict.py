"""What ``oq verify`` ends with: PASS or FAIL, and the figures it rests on."""

from dataclasses import dataclass

from oq.comparison.compare import Verification

Drop = tuple[str, float]
"""What fell most, and by how much: top-1 in points, or a metric of the user's."""


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


def judge_drop(found: Verification, limit: float | None, drop: Drop | None) -> Verdict:
    """The verdict on ``found``: a collapsed model fails, with or without a ``limit``."""
    metric, lost = drop if drop is not None else (None, None)
    within = limit is None or lost is None or lost <= limit
    if found.collapse:
        return Verdict(False, metric, lost, limit, f"collapsed: {found.collapse[0]}")
    if metric is None or lost is None:
        return Verdict(True, None, None, limit, "not collapsed; the data has no labels")
    unit = " points" if metric == "top-1" else ""
    way = "fell" if lost >= 0 else "rose"
    told = f"{metric} {way} {abs(lost):.2f}{unit}"
    bound = "no limit given" if limit is None else f"limit {limit:.2f}"
    return Verdict(within, metric, lost, limit, f"{told} ({bound})")
