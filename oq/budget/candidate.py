"""One candidate of a search: made by the whole pipeline and measured, here or by a worker."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from glob import escape
from pathlib import Path
from typing import Any

from oq.budget.score import Score
from oq.budget.trial import Trial
from oq.calibration.measure import Shared
from oq.checks.judgement import judge
from oq.comparison.compare import Verification
from oq.model.session import custom_ops, use_custom_ops
from oq.parallel import Tell
from oq.pipeline import Result, quantize
from oq.planning.target import Target
from oq.refine.order import NONE

Keep = tuple[str, ...]
"""Layers in float, in the order of the graph."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """What all candidates of a search have in common: the ``options`` of :func:`oq.quantize`, and
    how they are judged."""

    options: Mapping[str, Any]
    profile: Target
    score: Score

    def make(self, keep: Keep, refined: Sequence[str] | None, **more: Any) -> Result:
        """The whole pipeline, with ``keep`` in float too, and the steps of refinement that
        ``refined`` names (None: the user's)."""
        kept = (*self.options.get("keep_float", ()), *map(escape, keep))
        changed: dict[str, Any] = {**more, "keep_float": kept}
        if refined is not None:
            changed["refine"] = tuple(refined) or NONE
        return quantize(**{**self.options, **changed}, verify=True)

    def evaluate(self, keep: Keep, result: Result, begun: float) -> Trial:
        """The scores of ``result``."""
        verified = result.report.verification
        drop = self.score.drop(result.model, verified)
        share = judge(result.model, self.profile).forecast.share
        sqnr, agreement = _figures(verified)
        refined = tuple(o.step for o in result.report.refinement if o.kept)
        return Trial(keep, drop, share, sqnr, agreement, refined, time.monotonic() - begun)


@dataclass(frozen=True, slots=True)
class CandidateWork:
    """Makes and measures candidates elsewhere, from the statistics of the run."""

    candidates: Candidates
    refined: tuple[str, ...]
    libraries: tuple[Path, ...]

    def __call__(self, keep: Keep, tell: Tell) -> tuple[Trial, Result]:
        use_custom_ops(self.libraries)
        begun = time.monotonic()
        result = self.candidates.make(keep, self.refined)
        trial = self.candidates.evaluate(keep, result, begun)
        return trial, replace(result, light=result.model, spill=None)  # its files stay behind


def send(candidates: Candidates, refined: tuple[str, ...]) -> CandidateWork:
    """``candidates`` as workers get them: with what has been measured, and no workers of their
    own."""
    shared: Shared = candidates.options["cache"]
    options = {**candidates.options, "cache": replace(shared, path=None), "ray": None}
    return CandidateWork(replace(candidates, options=options), refined, custom_ops())


def _figures(verified: Verification | None) -> tuple[float | None, float | None]:
    """(lowest SQNR in dB, lowest agreement in percent) of the literal reading."""
    if verified is None:
        return None, None
    literal = verified.literal
    agreements = [votes.agreement for votes in literal.classes]
    return min(e.sqnr_db for e in literal.outputs), min(agreements, default=None)
