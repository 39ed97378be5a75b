"""Calibrate and solve: for the prepared model, and again for the float models of early steps."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from oq.calibration.apart import layers_unseen
from oq.calibration.job import Job, Measured, size_batches
from oq.calibration.measure import Shared, measure, measure_missing
from oq.data.source import Fitted
from oq.emission.solve import Solution, solve
from oq.model.view import GraphView
from oq.numerics.calibrator import Methods
from oq.numerics.statistics import Statistics
from oq.numerics.values import Range
from oq.planning import registry
from oq.planning.setup import Planned, needs_of, replan
from oq.refine.subject import Subject

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Calibration:
    """From a float model to its grids, with the settings of the run.

    ``known`` are ranges from a file, ``weights`` is the method for the ranges of constants.
    """

    planned: Planned
    methods: Methods
    job: Job
    known: Mapping[str, Range]
    weights: str
    calibrated: bool
    """Whether the user chose a calibrator, so that no step may use another."""

    def measure(self, source: Fitted | None, cache: Path | Shared | None) -> Measured:
        """The statistics of the prepared model."""
        return measure(self.job, source, cache)

    def of_seen(self, statistics: Mapping[str, Statistics]) -> "Calibration":
        """With the layers of bodies in float that no sample runs, by ``statistics``."""
        unseen = layers_unseen(self.planned.inside, statistics, self.known)
        return replace(self, planned=replan(self.planned, unseen)) if unseen else self

    def solve(self, statistics: Mapping[str, Statistics]) -> Solution:
        """The grids of the prepared model."""
        return self._solve(self.planned.view, self.methods, statistics, self.known)

    def solve_inside(self, statistics: Mapping[str, Statistics]) -> tuple[Solution, ...]:
        """The grids of the bodies of If, Loop and Scan that are planned, from ``statistics`` whose
        names have the path of the body in front."""
        return tuple(
            solve(
                *(body.plan, body.view, behind(body.path, statistics), self.methods.default),
                named=self.methods.named,
                known=behind(body.path, self.known),
                weights=self.weights,
                legalize=self.planned.target.legalize,
            )
            for body in self.planned.inside
        )

    def recalibrate(self, subject: Subject, source: Fitted, calibrator: str | None) -> Subject:
        """``subject`` with its grids computed again, by ``calibrator`` if given; missing statistics
        are measured."""
        methods = self.methods
        if calibrator is not None:
            methods = replace(methods, default=registry.calibrator(calibrator))
        planned = replace(self.planned, model=subject.model, view=subject.view)
        known = {**self.known, **subject.known}
        needs = {t: n for t, n in needs_of(planned, methods).items() if t not in known}
        job = replace(
            self.job,
            model=subject.model,
            view=subject.view,
            needs=needs,
            sizing=size_batches(self.job),  # that of the run, which some calibrators see
        )
        seen = measure_missing(job, source, subject.seen)
        solution = self._solve(subject.view, methods, seen, known)
        return replace(subject, solution=solution, seen=seen)

    def _solve(
        self,
        view: GraphView,
        methods: Methods,
        statistics: Mapping[str, Statistics],
        known: Mapping[str, Range],
    ) -> Solution:
        return solve(
            self.planned.plan,
            view,
            statistics,
            methods.default,
            named=methods.named,
            known=known,
            weights=self.weights,
            legalize=self.planned.target.legalize,
        )


def behind(path: str, named: Mapping[str, Value]) -> dict[str, Value]:
    """What ``named`` holds of the body at ``path``, by the names that it has there."""
    return {name.removeprefix(path): v for name, v in named.items() if name.startswith(path)}
