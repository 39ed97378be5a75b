"""Evaluates variants of a plan, in several processes of this machine or by workers elsewhere.

A **variant** is the float model with some of the sites of its plan and of those of its bodies.
Scales are computed once, for the complete plan; a variant only leaves sites out. Its error is the
mean over the outputs of

    sum (x - y)^2 / sum x^2

with x the float model's output and y the variant's, in the literal mode; as -10 log10 it is an SQNR
in decibels.  Sessions run on one thread and sums are accumulated batch by batch, so the results do
not depend on the number of processes.
"""

import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from oq.comparison.classes import class_axes, start_votes
from oq.comparison.deviation import Noise, Votes
from oq.emission.emit import emit
from oq.emission.inside import replace_body
from oq.emission.keep_float import keep_loadable
from oq.emission.solve import Solution
from oq.errors import DataError
from oq.model.files import load_model, model_bytes, save_model
from oq.model.graph import Graph
from oq.model.names import claim_name
from oq.model.session import SERIAL, Session, custom_ops, expose, use_custom_ops
from oq.model.submodels import Step, names_in, path_of
from oq.numerics.grid import Grid, fit
from oq.numerics.values import Array, Batch, Range
from oq.parallel import Tell, Workers
from oq.planning.spec import Own, Plan, Site, SiteKey, key
from oq.planning.zero_points import has_folded_zero_point

TASK_VARIANTS = 8
"""Variants per task, which share the runs of the float model."""

TASK_BYTES = 256 * 10**6
"""Maximum size of the models of one task."""

NO_SAMPLES = "there are no samples to try variants on"

OnProgress = Callable[[int], None]
"""Called with the number of variants done."""


@dataclass(frozen=True, slots=True)
class Part:
    """A site, perhaps for fewer readers than in the plan, and the plan's key of its grid; ``path``:
    that of the body of If, Loop or Scan whose plan it is, "" for the main graph's."""

    site: Site
    origin: SiteKey
    path: str = ""


@dataclass(frozen=True, slots=True)
class Variant:
    """Some of a plan's sites; ``local`` is a tensor to compare in addition to the outputs."""

    parts: tuple[Part, ...]
    local: str | None = None


@dataclass(frozen=True, slots=True)
class PlannedBody:
    """A body of If, Loop or Scan: the nodes and attributes that contain it, itself as a model, its
    plan and grids."""

    steps: tuple[Step, ...]
    model: onnx.ModelProto
    plan: Plan
    solution: Solution


@dataclass(frozen=True, slots=True)
class Effect:
    """The result of a variant: ``error`` at the outputs, as defined above; ``local``, the same for
    its local tensor; ``agreement``, percentage of samples with the float model's top-1 (None: no
    classes)."""

    error: float
    local: float | None = None
    agreement: float | None = None


@dataclass(frozen=True, slots=True)
class Bench:
    """Evaluates variants, in ``pool``, by ``workers``, or in this process where both are None."""

    worker: "_Worker"
    pool: Executor | None
    workers: Workers | None = None

    def run(self, variants: Sequence[Variant], done: OnProgress | None = None) -> list[Effect]:
        """The effect of each variant, in order.

        Raises:
            DataError: the model fails on a batch.
        """
        size = min(TASK_VARIANTS, max(1, TASK_BYTES // max(1, self.worker.bytes)))
        if self.workers is not None:
            size = min(size, -(-len(variants) // self.workers.slots))
        tasks = [variants[i : i + size] for i in range(0, len(variants), size)]
        found: list[Effect] = []
        for part in self._map(tasks):
            found += part
            if done is not None:
                done(len(found))
        return found

    def _map(self, tasks: Sequence[Sequence[Variant]]) -> Iterable[list[Effect]]:
        if self.workers is not None:
            return self.workers.map(_Sent(self.worker, custom_ops()), tasks)
        return map(self.worker.run, tasks) if self.pool is None else self.pool.map(_run, tasks)


@contextmanager
def open_bench(
    model: onnx.ModelProto,
    plan: Plan,
    solution: Solution,
    batches: Iterable[Batch],
    jobs: int = 1,
    workers: Workers | None = None,
    bodies: Sequence[PlannedBody] = (),
) -> Iterator[Bench]:
    """A :class:`Bench` for variants of ``model`` (the prepared float model of ``plan``) and of its
    ``bodies``.

    The model and the batches are on disk meanwhile; with ``workers``, in their memory.  With
    ``jobs`` above 1 that many processes are spawned, so the calling script needs ``if __name__ ==
    "__main__":``.

    Raises:
        DataError: there are no samples.
    """
    if workers is not None:
        held = tuple(dict(batch.feeds) for batch in batches)
        if not held:
            raise DataError(NO_SAMPLES)
        yield Bench(_Worker(model, plan, solution, bodies, held), None, workers)
        return
    with tempfile.TemporaryDirectory(prefix="oq-") as name:
        folder = Path(name)
        save_model(model, folder / "model.onnx")
        count = 0
        for batch in batches:
            feeds: dict[str, Any] = {f"feed_{n}": v for n, v in batch.feeds.items()}
            np.savez(folder / f"{count}.npz", **feeds)
            count += 1
        if count == 0:
            raise DataError(NO_SAMPLES)
        worker = _open_worker(folder, plan, solution, bodies, count)
        if jobs <= 1:
            yield Bench(worker, None)
            return
        context = get_context("spawn")
        known = folder, plan, solution, bodies, count, custom_ops()
        with ProcessPoolExecutor(jobs, context, initializer=_start, initargs=known) as pool:
            yield Bench(worker, pool)


_here: list["_Worker"] = []
"""The worker of this process, if it belongs to the pool."""


def _start(
    folder: Path,
    plan: Plan,
    solution: Solution,
    bodies: Sequence[PlannedBody],
    count: int,
    libraries: Sequence[Path],
) -> None:
    use_custom_ops(libraries)
    _here.append(_open_worker(folder, plan, solution, bodies, count))


def _open_worker(
    folder: Path, plan: Plan, solution: Solution, bodies: Sequence[PlannedBody], count: int
) -> "_Worker":
    """The worker with the model and the ``count`` batches in ``folder``."""
    model = load_model(folder / "model.onnx")
    return _Worker(model, plan, solution, bodies, _Stored(folder, count))


@dataclass(frozen=True, slots=True)
class _Stored:
    """Batches on disk, one read at a time."""

    folder: Path
    count: int

    def __iter__(self) -> Iterator[Mapping[str, Array]]:
        for i in range(self.count):
            with np.load(self.folder / f"{i}.npz") as archive:
                yield {n.removeprefix("feed_"): archive[n] for n in archive.files}


@dataclass(frozen=True, slots=True)
class _Sent:
    """A worker on its way, and the libraries that its models need."""

    worker: "_Worker"
    libraries: tuple[Path, ...]

    def __call__(self, variants: Sequence[Variant], tell: Tell) -> list[Effect]:
        use_custom_ops(self.libraries)
        return self.worker.run(variants)


def _run(variants: Sequence[Variant]) -> list[Effect]:
    return _here[0].run(variants)


@dataclass(slots=True)
class _Worker:
    """The model, the batches, and how to make and run variants."""

    model: onnx.ModelProto
    plan: Plan
    solution: Solution
    bodies: Sequence[PlannedBody]
    batches: Iterable[Mapping[str, Array]]
    bytes: int = field(init=False)
    carried: frozenset[SiteKey] = field(init=False)

    def __post_init__(self) -> None:
        self.carried = frozenset(key(s) for s in self.plan.sites if has_folded_zero_point(s))
        self.bytes = model_bytes(self.model)

    def run(self, variants: Sequence[Variant]) -> list[Effect]:
        outputs = Session(self.model, SERIAL).arrays
        local = {v.local for v in variants if v.local is not None} - set(outputs)
        wanted = [*outputs, *sorted(local)]
        reference = Session(expose(self.model, wanted), SERIAL)
        names = [
            [*outputs, v.local] if v.local is not None and v.local not in outputs else outputs
            for v in variants
        ]
        sessions = [
            Session(expose(self._build(v), n), SERIAL) for v, n in zip(variants, names, strict=True)
        ]
        errors = [{n: Noise() for n in ns} for ns in names]
        votes: list[dict[str, Votes]] = [{} for _ in variants]
        axes = class_axes(self.model)
        for feeds in self.batches:
            exact = dict(zip(wanted, reference.run(feeds, wanted), strict=True))
            for i, session in enumerate(sessions):
                found = dict(zip(names[i], session.run(feeds, names[i]), strict=True))
                for name, error in errors[i].items():
                    error.add(exact[name], found[name])
                for name in outputs:
                    vote = votes[i].get(name) or start_votes(exact[name], name, axes)
                    if vote is not None:
                        votes[i][name] = vote
                        vote.add(exact[name], found[name], None)
        return [
            _effect(outputs, v.local, e, w) for v, e, w in zip(variants, errors, votes, strict=True)
        ]

    def _build(self, variant: Variant) -> onnx.ModelProto:
        made = self._quantize(self.model, self.plan, self.solution, variant.parts, "").to_model()
        taken = names_in(made.graph)
        for body in self.bodies:
            path = path_of(body.steps)
            if any(part.path == path for part in variant.parts):
                given = body.model, body.plan, body.solution
                graph = self._quantize(*given, variant.parts, path, taken)
                taken |= replace_body(made, body.steps, graph, partial(claim_name, taken=taken))
        return made

    def _quantize(
        self,
        model: onnx.ModelProto,
        plan: Plan,
        solution: Solution,
        parts: Sequence[Part],
        path: str,
        taken: Collection[str] = (),
    ) -> Graph:
        """``model`` with those of ``parts`` that are at ``path``, under names that are not
        ``taken``."""
        graph, own = Graph(model), [part for part in parts if part.path == path]
        graph.reserve(taken)
        grids = {key(p.site): self._grid(p, solution) for p in own}
        emit(
            *(graph, replace(plan, sites=tuple(p.site for p in own))),
            replace(solution, grids=grids),
        )
        keep_loadable(graph)
        return graph

    def _grid(self, part: Part, solution: Solution) -> Grid:
        """The grid of ``part``: symmetric again where biases cannot carry its zero point any more,
        since the layer in front of it or one behind it stays in float."""
        grid, spec = solution.grids[part.origin], part.site.spec
        if (
            not part.path
            and part.origin in self.carried
            and isinstance(spec, Own)
            and not has_folded_zero_point(part.site)
        ):
            return fit(Range(grid.lowest, grid.highest), spec.qtype)
        return grid


def _effect(
    outputs: Sequence[str], local: str | None, errors: dict[str, Noise], votes: dict[str, Votes]
) -> Effect:
    agreements = [v.result(n).agreement for n, v in votes.items() if v.samples]
    return Effect(
        sum(errors[o].ratio for o in outputs) / len(outputs),
        None if local is None else errors[local].ratio,
        min(agreements, default=None),
    )
